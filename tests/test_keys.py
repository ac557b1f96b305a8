"""Keys are values: text is taken apart where people or files give it, and nowhere else in the product."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from source import ROOT, files

METHODS = {"partition", "rpartition", "split", "rsplit", "removeprefix", "removesuffix", "startswith", "endswith"}
LIBRARIES = {"np", "jnp", "tf", "re"}  # whose functions of these names take arrays, or patterns, apart

# why text is taken apart, and where: a folder, a module, or a function or class of one
ADMITTED = {
    "names and texts in files of other programs": (
        "backends/cnnbench_jax/reading/",
        "backends/cnnbench_onnxruntime/writing.py _owner",
        "backends/cnnbench_tensorflow/keras_files.py",
        "backends/cnnbench_torch/checkpoints.py",
        "backends/cnnbench_torch/models.py",
        "backends/cnnbench_torch/plugin.py",
        "backends/cnnbench_torch/reading/",
        "backends/cnnbench_torch/tensors.py",
        "cnnbench/conformance/onnx/",
        "cnnbench/spec/interchange/",
        "cnnbench/training/datasets/coco_files.py",
        "cnnbench/training/metrics/persons.py sigmas_of",
    ),
    "files in a format of our own, at the one place that reads it": (
        "cnnbench/execution/host.py SlotName",
        "cnnbench/execution/host.py grouped",
        "cnnbench/harness/run/bundle_file.py",
        "cnnbench/harness/run/rerun.py write_attachments",
        "cnnbench/measurement/kept_rows.py KeptRows",
        "cnnbench/numerics/cache.py is_partial",
        "cnnbench/numerics/network_file.py read_network",
        "cnnbench/numerics/replay.py _reproduction",
    ),
    "lines between processes, before they are values": (
        "cnnbench/harness/worker/client.py WorkerClient",
        "cnnbench/harness/worker/process.py main",
        "cnnbench/harness/worker/protocol/messages.py",
        "cnnbench/harness/worker/server.py",
    ),
    "what a person writes: arguments, options, suites, names of files": (
        "cnnbench/addresses.py",
        "cnnbench/cli/",
        "cnnbench/execution/backends.py backend_in_mode",
        "cnnbench/execution/contract.py Device",
        "cnnbench/face/networks.py network_name",
        "cnnbench/face/porting.py port",
        "cnnbench/face/prediction.py _as_stated",
        "cnnbench/harness/suite/file.py",
        "cnnbench/harness/suite/networks.py PackageFile",
        "cnnbench/harness/suite/overrides.py",
        "cnnbench/numerics/faults/grammar/networks.py kind_of",
        "cnnbench/output/frames.py _suite_name",
        "cnnbench/plugins.py",
        "cnnbench/porting/references.py",
        "cnnbench/training/data.py dataset",
        "cnnbench/training/datasets/files.py _shown",
    ),
    "names that are paths by the graph's contract, at the one place for each": (
        "cnnbench/spec/graph/builder.py Builder",
        "cnnbench/spec/graph/names.py is_within",
        "cnnbench/spec/graph/names.py producer",
        "cnnbench/spec/graph/names.py weight_parts",
        "cnnbench/conformance/cases/case.py side_by_side",
        "cnnbench/output/folding.py",
        "cnnbench/porting/alignment.py _facts",
    ),
    "what the operating system and a framework tell": (
        "backends/cnnbench_jax/backend.py",
        "backends/cnnbench_tensorflow/framework.py",
        "cnnbench/harness/worker/errors.py oom_kills",
        "cnnbench/harness/worker/handlers/setup.py",
        "cnnbench/measurement/environment.py",
        "cnnbench/measurement/memory.py",
        "cnnbench/measurement/observation.py",
        "cnnbench/output/mlflow_ui.py",
        "cnnbench/output/recorders/",
    ),
    "modules and their source": (
        "cnnbench/conformance/cases/__init__.py _offered_kinds",
        "cnnbench/execution/culprits.py",
        "cnnbench/execution/sources.py",
        "cnnbench/numerics/answering_code.py",
        "cnnbench/numerics/faults/engine/base.py library_of",
        "cnnbench/execution/own_model.py",
        "cnnbench/spec/layers/base.py Layer",
        "cnnbench/spec/usage.py",
    ),
    "dtypes' names": (
        "cnnbench/face/foreign_arrays.py",
        "cnnbench/numerics/faults/grammar/arithmetic.py dtype_name",
    ),
    "text that is shown, or that a table of a paper holds": (
        "backends/cnnbench_onnxruntime/native.py FileRunner",
        "cnnbench/gates/agreement.py _agreement",
        "cnnbench/gates/scores.py score_change",
        "cnnbench/harness/passes/members.py GroupWork",
        "cnnbench/output/drawing.py svg",
        "cnnbench/output/figures.py budget_used",
        "cnnbench/output/github_summary.py append_summary",
        "cnnbench/output/junit.py _append",
        "cnnbench/output/text.py",
        "cnnbench/spec/architectures/lenet.py c3_connections",
        "cnnbench/spec/meanings.py Meaning",
        "cnnbench/training/datasets/figures.py paint",
    ),
    "values, which have methods of these names": (
        "backends/cnnbench_torch/ops/indexing.py split",
        "backends/cnnbench_tensorflow/ops/activation.py tanh",
    ),
}


def takes_apart(node: ast.AST) -> bool:
    """Whether a call cuts text, asks how it begins or ends, or makes text of a value's ``repr``.

    A ``repr`` that an error shows is none.
    """
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    if isinstance(called, ast.Attribute):
        return called.attr in METHODS and getattr(called.value, "id", None) not in LIBRARIES
    return isinstance(called, ast.Name) and called.id == "repr"


def uses(node: ast.AST, owner: str = "") -> Iterator[str]:
    """The functions and classes of a module in which text is taken apart; "" for the module itself."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.keyword) and child.arg == "received":
            continue
        here = owner or (child.name if isinstance(child, ast.FunctionDef | ast.ClassDef) else "")
        if takes_apart(child):
            yield here
        yield from uses(child, here)


def places() -> set[str]:
    found = set()
    for path in files().values():
        name = str(path.relative_to(ROOT))
        found |= {f"{name} {owner}".strip() for owner in uses(ast.parse(path.read_text(encoding="utf-8")))}
    return found


def admits(entry: str, place: str) -> bool:
    return place == entry or place.startswith(entry if entry.endswith("/") else f"{entry} ")


def test_text_is_taken_apart_only_where_it_comes_in():
    entries = [entry for entries in ADMITTED.values() for entry in entries]
    found = places()
    assert len(found) > 50, "the search finds them"
    new = sorted(place for place in found if not any(admits(entry, place) for entry in entries))
    assert not new, "carry a value with fields, or name here why this text is read"
    assert not [entry for entry in entries if not any(admits(entry, place) for place in found)], "remove these"


def test_what_takes_text_apart_is_found():
    text = "def f(name):\n    return name.rpartition('/')[0], key[repr(layer)], np.split(x, 2)\n"
    assert [*uses(ast.parse(text))] == ["f", "f"]
    shown = "def f(x):\n    raise FieldError('x', received=repr(x))\n"
    assert not [*uses(ast.parse(shown))]
