"""What an oracle's answers are kept by: an edit of any code that computes them makes other answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnbench import registry
from cnnbench.execution import sources
from cnnbench.execution.operations import OpResult
from cnnbench.hookspecs import hookimpl
from cnnbench.numerics import answering_code
from cnnbench.numerics.answering_code import code_digest, renew_reference
from cnnbench.numerics.reference import reference

ROOT = Path(__file__).parents[2]
LONG_AGO = time.time() - 30 * 86400

PLUGIN = """
from dataclasses import dataclass
from cnnbench.execution.operations import Gradients, OpResult
from cnnbench.hookspecs import hookimpl
from cnnbench.numerics.budgets import Budget, ForwardBudget
from cnnbench.numerics.budgets.base import forward_formula
from cnnbench.spec.composites import Composite
from cnnbench.spec.layers import Example, Layer, Linear
import numpy as np
from my_maths import scaled


@dataclass(frozen=True, kw_only=True)
class Scaling(Layer, kind="scaling"):
    "2.3 x."
    factor = 1


@dataclass(frozen=True, kw_only=True)
class Head(Composite, kind="head"):
    "A linear layer after it."
    example = Example((1, 4))

    def expand(self, builder, *inputs):
        x = builder.add("scaling", Scaling(), *inputs)
        return builder.add("fc", Linear(out_features=3), x)


@forward_formula("scaling")
def budget(setting):
    return ForwardBudget((Budget(*[np.abs(setting.values.outputs[0]) * 1e-6 + 1e-30] * 2),))


@hookimpl
def cnnbench_operations(backend, operations):
    @operations.register("scaling", backward=lambda layer, saved, g, weights, call: Gradients((2.3 * g[0],)))
    def scaling(layer, inputs, weights, state, call):
        return OpResult((scaled(inputs[0]) * layer.factor + 0,))
"""
EDITS = {
    "the op": ("my_plugin.py", "* layer.factor + 0", "* layer.factor + 1"),
    "its helper": ("my_maths.py", "2.3 * x", "3.1 * x"),
    "a table beside the helper": ("my_table.txt", "0", "1"),
    "the kind": ("my_plugin.py", "factor = 1", "factor = 5"),
    "the composite": ("my_plugin.py", "Linear(out_features=3), x", "Scaling(), x"),
    "its budget": ("my_plugin.py", "* 1e-6 + 1e-30] * 2", "* 2e-12 + 1e-30] * 2"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    (tmp_path / "my_table.txt").write_text("0")
    (tmp_path / "my_maths.py").write_text(
        "from pathlib import Path\nshift = int(Path(__file__).with_name('my_table.txt').read_text())\n\n"
        "def scaled(x):\n    return 2.3 * x + shift\n"
    )
    (tmp_path / "net.yaml").write_text(
        "name: net\ninput: [4]\nnodes:\n  - {name: a, kind: scaling}\n  - {name: b, kind: head}\n"
    )
    return tmp_path


def verify(folder: Path) -> tuple[int, str]:
    variables = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CNNBENCH_PLUGINS": "my_plugin",
        "CNNBENCH_CACHE": str(folder / "cache"),
    }
    command = [
        sys.executable,
        "-m",
        "cnnbench",
        "verify",
        "net.yaml",
        "-b",
        "numpy",
        "--check",
        "local",
        "--check",
        "end_to_end",
    ]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


SLOW = ("its helper", "the composite")  # what a plugin imports is held below without a process; a composite is a kind


@pytest.mark.parametrize("what", [pytest.param(w, marks=[pytest.mark.slow] if w in SLOW else []) for w in EDITS])
def test_after_an_edit_of_a_plugin_the_oracle_answers_anew(folder: Path, what: str) -> None:
    """NumPy's float32 is held to NumPy's float64 by the same code: only an answer of the old code can disagree."""
    name, before, after = EDITS[what]
    passes = [what != "its budget", True]
    file = folder / name
    right = file.read_text()
    assert right.count(before) == 1
    file.write_text(right.replace(before, after))
    code, said = verify(folder)
    assert code == (0 if passes[0] else 4), said
    file.write_text(right)
    code, said = verify(folder)
    assert code == 0, said


def module(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("helper", "statement"),
    [
        ("digest_other.py", "import digest_other"),
        ("digest_other.py", "def late():\n    from digest_other import x"),
        ("digest_other.py", "import json, digest_other as other"),
        ("digest_other.py", "from importlib import import_module\nx = import_module('digest_other')"),
        ("digest_package/deep/maths.py", "from digest_package.deep import maths"),
        ("digest_package/table.csv", "import digest_package.deep.maths"),
        ("digest_a.dat", "import numpy as np\nx = np.load('digest_a.dat')"),
    ],
)
def test_what_a_plugin_imports_from_beside_it_counts(on_path: Path, helper: str, statement: str) -> None:
    module(on_path, "digest_plugin.py", statement)
    module(on_path, "digest_package/__init__.py", "")
    module(on_path, "digest_package/deep/__init__.py", "")
    found = []
    for text in ("one", "two", "one"):
        module(on_path, helper, f"# {text}")
        found.append(sources.digest({"digest_plugin"}))
    assert found[0] == found[2] != found[1]


def test_what_it_does_not_import_does_not_count(on_path: Path) -> None:
    module(on_path, "digest_plugin.py", "import numpy\nimport cnnbench")
    before = sources.digest({"digest_plugin"})
    module(on_path, "digest_neighbour.py", "x = 1")
    assert sources.digest({"digest_plugin"}) == before


def test_an_installed_library_counts_by_its_version(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module(on_path, "digest_plugin.py", "import numpy")
    before = sources.digest({"digest_plugin"})
    monkeypatch.setattr(sources, "version", lambda name: "9.9")
    assert sources.digest({"digest_plugin"}) != before


def test_code_without_a_file_or_changed_since_the_process_began_is_this_process_own(on_path, monkeypatch) -> None:
    module(on_path, "digest_plugin.py", "x = 1")

    def elsewhere(modules: set[str]) -> bool:
        here = sources.digest(modules)
        with monkeypatch.context() as other:
            other.setattr(os, "getpid", lambda: 1)
            return sources.digest(modules) == here

    assert elsewhere({"digest_plugin"})
    assert not elsewhere({"a_cell_of_a_notebook"})
    os.utime(on_path / "digest_plugin.py")  # what was imported may be older
    assert not elsewhere({"digest_plugin"})


class Replaced:
    """A plugin with its own op of a kind of the core."""

    @staticmethod
    @hookimpl
    def cnnbench_operations(backend, operations):
        operations.register("relu", backward=operations["relu"].backward)(lambda layer, x, *rest: OpResult((x[0],)))


class ReplacedAgain:
    @staticmethod
    @hookimpl
    def cnnbench_operations(backend, operations):
        operations.register("relu", backward=operations["relu"].backward)(lambda layer, x, *rest: OpResult((-x[0],)))


def test_a_plugin_counts_for_the_kinds_that_it_gives_and_the_reference_follows_it(on_path: Path) -> None:
    module(on_path, "digest_plugin.py", "x = 1")
    core = code_digest(("relu", "conv"))
    assert core == code_digest(())
    own = reference().backend.operations["relu"]
    registry.plugin_manager().register(Replaced(), "replaced")
    try:
        renew_reference()
        assert reference().backend.operations["relu"] is not own  # as in a notebook whose cell was run again
        assert code_digest(("conv",)) == core
        replaced = code_digest(("relu", "conv"))
        assert replaced != core
        renew_reference()  # the hook makes its function anew each time, of the same code
        assert code_digest(("relu", "conv")) == replaced
        registry.plugin_manager().register(ReplacedAgain(), "replaced again")
        renew_reference()
        assert code_digest(("relu", "conv")) != replaced
    finally:
        registry.forget_plugins()
        renew_reference()
    assert code_digest(("relu", "conv")) == core


def test_of_two_ops_of_one_file_each_has_answers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one is registered may hang on a variable, an argument of a factory, a setting."""

    def made(factor: float, *, backwards: bool = False) -> Any:
        def op(layer: Any, inputs: Any, *rest: Any) -> OpResult:
            return OpResult((factor * inputs[0],))

        return (lambda layer, inputs, *rest: OpResult((-inputs[0],))) if backwards else op

    ops = [made(2.0), made(2.0), made(3.0), made(2.0, backwards=True), partial(made(2.0)), np.tanh]
    found = [answering_code._signature(op) for op in ops]
    assert found[0] == found[1]
    assert len(set(found)) == 5
    assert " at 0x" not in "".join(found), "another process must find the same"


def test_another_blas_or_another_numpy_answers_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = answering_code._arithmetic()
    monkeypatch.setattr("numpy.__version__", "9.9")
    assert answering_code._arithmetic() != before
    monkeypatch.undo()
    entry = {"user_api": "blas", "filepath": "numpy.libs/x", "internal_api": "mkl", "version": "1"}
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [entry])
    assert answering_code._arithmetic() != before


def test_a_kept_part_goes_with_the_code_of_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sources.plugin_digest()
    monkeypatch.setattr(sources, "_content", lambda path: b"another" if path.name == "plugin.py" else b"")
    sources.plugin_digest.cache_clear()
    assert sources.plugin_digest() != before
    sources.plugin_digest.cache_clear()
