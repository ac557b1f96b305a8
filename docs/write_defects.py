"""Writes ``docs/framework-defects.md``, and the files that reproduce each defect, from what is measured here and now.

python docs/write_defects.py                 # all, minutes: three frameworks and their compilers
python docs/write_defects.py NAME ...        # only these files; the page is left alone
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "support"))

from framework_defects import Defect, defects  # noqa: E402

from cnnbench.execution.backends import load_backend  # noqa: E402
from cnnbench.execution.contract import Backend, ProcessSettings  # noqa: E402
from cnnbench.numerics.checks import run_checks  # noqa: E402
from cnnbench.numerics.outcome import CheckOutcome  # noqa: E402
from cnnbench.numerics.subject import InProcessSubject  # noqa: E402

FILES = HERE / "reproducers"
LARGEST_BYTES = 150_000  # of a file that is kept in the repository
HEAD = """# Silent defects of released frameworks

Each of these calls returns a wrong value without an error. cnnbench's checks find every one in a backend that uses
the call as it is, name the node, and write a file that reproduces it. The shipped backends avoid the defects, or
declare them. `python docs/write_defects.py` writes this page; `tests/defects` tests every row, and fails when a newer
version has fixed one.

A file of the last column is one layer with operands, exact values and budgets:

```python
from pathlib import Path

from cnnbench.numerics.replay import replay
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.execution.backends import load_backend

outcome = replay(Path("docs/reproducers/NAME.safetensors"), InProcessSubject(load_backend("torch")))
print(outcome.status, outcome.message)
```

On the shipped backend it passes. With the framework's own call (`tests/support/plain_torch.py`, `plain_jax.py`,
`plain_tensorflow.py`, `plain_onnxruntime.py`; `backend.operations = backend.operations.replace(kind, ...)` exchanges
an op) it fails. All was measured on x86-64 with two threads. TensorFlow uses oneDNN's kernels on processors with
AVX512-VNNI, AVX512-BF16, AMX or AVX-VNNI, and elsewhere with `TF_ENABLE_ONEDNN_OPTS=1`; the version in a record has
`onednn: on` or `off`.
"""
BARE = {
    "Out of reach": (
        "No network of cnnbench meets these: it refuses the shape when a network is built, or lacks the type.",
        ("TensorFlow 2.21.0", "measured", "instead"),
        (
            "The gradient of `tf.nn.max_pool2d` of no images (N = 0) within `tf.function` ends the process (SIGABRT; "
            "oneDNN).",
            "exit by signal",
            "our op takes another way for no images",
        ),
        (
            "`tf.nn.conv2d` whose kernel is larger than the image returns the input's shape, uninitialised (oneDNN).",
            "shape (1, 4, 4, 2) for (1, 0, 0, 3)",
            "an error at build time that names the node",
        ),
        ("`tf.cumsum` in bfloat16 stops growing.", "256 for 2,000", "cast to float32 before"),
        (
            "`tf.nn.depthwise_conv2d` in float16 sums in float16.",
            "3.6 % after 2,304 positive terms",
            "the backend offers no float16",
        ),
    ),
    "Ends the process": (
        "The backward pass ends in a segmentation fault. Our op takes another way.",
        ("PyTorch 2.13.0", "measured", "instead"),
        (
            "`functional.group_norm(x, groups, weight, bias)` on the host, of images in the memory format "
            "`channels_last` that need no gradient, while the weights do: the first layer of a network, or one behind "
            "frozen layers.",
            "exit by signal (SIGSEGV); right where the images need a gradient too, or are contiguous",
            "`.contiguous()` before",
        ),
    ),
    "Refused though right": (
        "These stop with an error where the arguments are valid. Our ops take another way.",
        ("PyTorch 2.13.0", "measured", "instead"),
        (
            "`avg_pool3d` compares its window with the input without its padding; `avg_pool2d` does not.",
            '"input image (T: 2 H: 4 W: 4) smaller than kernel size" for a window of 3 with padding 1',
            "pad first",
        ),
        (
            "The gradient of `nll_loss` of scores in the memory format `channels_last`.",
            '"grad_input must be contiguous"',
            "`.contiguous()` before",
        ),
        (
            "TensorFlow 2.21.0: `tf.tanh` of a fused batch norm at inference behind a convolution, in `tf.function` "
            "(oneDNN).",
            '"Fusion is not implemented: [FusedBatchNorm,Tanh]"',
            "`-tf.tanh(-x)` behind a batch norm",
        ),
        (
            "TensorFlow 2.21.0 without oneDNN: a grouped `tf.nn.conv2d` with a bias or a batch norm at inference "
            "behind it, in `tf.function`.",
            '"Fused conv implementation does not support grouped convolutions for now"',
            "a convolution for each group (`tf.ensure_shape` between the two keeps them apart as well)",
        ),
        (
            "TensorFlow 2.21.0 without oneDNN: the gradients of `tf.nn.conv2d` with groups, or with dilation.",
            '"Current CPU implementations do not yet support dilation rates larger than 1"',
            "a convolution for each group; zeros between the kernel's elements",
        ),
        (
            "`batch_norm` in training of one value a channel, whose biased variance is 0.",
            '"Expected more than 1 value per channel when training"',
            "the output is the shift",
        ),
        (
            "JAX 0.10.2: the gradient of `lax.reduce_window` (maximum) with negative padding, which leaves a rest out.",
            '"slice limit_indices must be less than or equal to operand shape"',
            "crop first",
        ),
    ),
    "Compiled gradients": (
        "The gradient is wrong, the call stops with an error, or the process ends.",
        ("PyTorch 2.13.0", "measured", "instead"),
        (
            "The gradient of `x.index_select(axis, index)` under `torch.compile` on the host, where it arrives from "
            "two users, one contiguous and one in the memory format `channels_last`: Inductor transposes in tiles, "
            "adds the offset within a tile twice, and so writes beyond the end of its buffer (with two threads or "
            "more).",
            'wrong by the largest gradient, or "corrupted size vs. prev_size" and SIGABRT',
            "a product with zeros and ones for the gradient",
        ),
        (
            "The gradient of `torch.lstm` under `torch.compile` on the host where the input needs none: its workspace "
            "was never made. Where a graph hides that, the gradients of the weights are wrong (the recurrent ones by "
            "8 % of the largest). `torch.nn.LSTM` is not compiled and is right.",
            '"expected Tensor() for op: torch.ops.aten.mkldnn_rnn_layer.default"',
            "the formula, step by step",
        ),
        (
            'The gradient of `functional.pad(x, ..., mode="replicate")` of images in the memory format '
            "`channels_last` under `torch.compile` on the host: Inductor expects it in that format, and it comes "
            "contiguous.",
            'AssertionError "expected size 4==4, stride 1==80 at dim=1"',
            "`.contiguous()` before",
        ),
    ),
    "Not stepped around": (
        "Another formulation would cost time. In the first row values of this size come of a network that has "
        "diverged, and the forward pass is right; the hard operands of activations with a cube in them end at 4e11.",
        ("call", "measured", "instead"),
        (
            'The gradient of GELU\'s form with tanh in float32: `torch.nn.functional.gelu(x, approximate="tanh")` '
            "(PyTorch 2.13.0), `jax.nn.gelu(x)` (JAX 0.10.2) and `tf.nn.gelu(x, approximate=True)` (TensorFlow "
            "2.21.0), beyond 1.8e19, whose square is infinite: infinity times 0.",
            "NaN at 1e20 and at -1e20, for 1 and 0; right at 1e19",
            "clip the tanh's argument; the exact form is right",
        ),
        (
            "`LSTM` and `GRU` of ONNX Runtime 1.32.0: the sigmoid and the tanh of their gates are right to 6e-8 of "
            "one, so that small states lose their digits, and NaN in the input becomes a number.",
            "0 for 1.3e-9; 0.776 for NaN",
            "nothing: our backend declares it",
        ),
    ),
    "Conventions": (
        "No defects, but values on which two frameworks differ without a word.",
        ("call", "measured", "ours"),
        ("`jax.grad(jnp.abs)(0.0)`", "1, where PyTorch and TensorFlow give 0", "0 on all backends"),
        (
            "`torch.nn.functional.lp_pool2d` of an odd power whose sum is negative",
            "NaN, where ONNX takes magnitudes",
            "a field of the layer, `absolute`",
        ),
    ),
}
TITLES = {"torch": "PyTorch", "jax": "JAX", "tensorflow": "TensorFlow", "onnxruntime": "ONNX Runtime"}


def main(names: list[str]) -> None:
    """Measures, and writes."""
    FILES.mkdir(exist_ok=True)
    chosen = {name: item for name, item in defects().items() if not names or name in names}
    backends = {name: load_backend(name) for name in dict.fromkeys(item.backend for item in chosen.values())}
    for backend in backends.values():
        backend.configure(ProcessSettings(threads=2))
    rows = {name: _measured(item, backends[item.backend]) for name, item in chosen.items()}
    if not names:
        (HERE / "framework-defects.md").write_text(_page(rows), encoding="utf-8")


def _measured(item: Defect, backend: Backend) -> CheckOutcome:
    own = backend.operations
    backend.operations = item.plain(backend)
    try:
        case = replace(item.case.case(item.options), folder=FILES)
        (outcome,) = run_checks([item.check], InProcessSubject(backend), case)
    finally:
        backend.operations = own
    sys.stderr.write(f"{item.name}: {outcome.status}: {outcome.message}\n")
    if outcome.reproducer is not None:
        Path(outcome.reproducer).replace(FILES / f"{item.name}.safetensors")
    return outcome


def _page(rows: dict[str, CheckOutcome]) -> str:
    parts = [HEAD]
    for backend, title in TITLES.items():
        parts.append(f"\n## {title}\n")
        for name, outcome in rows.items():
            item = defects()[name]
            if item.backend == backend:
                parts.append(_section(item, outcome))
    for title, (introduction, head, *table) in BARE.items():
        lines = [head, ["---"] * len(head), *table]
        parts.append(f"\n## {title}\n\n{introduction}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in lines))
    return "".join(parts)


def _section(item: Defect, outcome: CheckOutcome) -> str:
    file = FILES / f"{item.name}.safetensors"
    kept = file.is_file() and file.stat().st_size <= LARGEST_BYTES
    if file.is_file() and not kept:
        file.unlink()
    where = f"[`{file.name}`](reproducers/{file.name})" if kept else f"`python docs/write_defects.py {item.name}`"
    kernels = f", with kernels of {item.kernels}" if item.kernels else ""
    found = "mended" if outcome.status == "passed" else outcome.message
    lines = (
        f"\n### `{item.name}`\n",
        f"{item.what}\n",
        f"* Seen in {item.framework} {item.installed}, mode {item.mode}, {item.precision}{kernels}: {item.size}.",
        f"* Found by the `{item.check}` check: {found}.",
        f"* Instead: {item.workaround}.",
        f"* Plain call: `{item.call}`; reproducer: {where}.",
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
