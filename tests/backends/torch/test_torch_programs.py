"""What is PyTorch's own: memory formats, compiled code of its own for each program, checkpoints, randomness."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backend_cases import draw

from cnnbench.errors import DataError, UnavailableError
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import read_weights
from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.interchange.weight_files import match
from cnnbench.spec.layers.tables import SinusoidTable
from cnnbench.spec.weights import initialize, split_state

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch


def small_network(channels: int = 3) -> Graph:
    builder = Builder("small")
    x = builder.add("conv", L.Conv(out_channels=channels, kernel_size=3), builder.input("image", (2, 6, 5)))
    return builder.build(builder.add("norm", L.BatchNorm(), x))


def test_the_plugin_imports_no_framework() -> None:
    code = (
        "import sys, cnnbench_torch.plugin as p; p.cnnbench_backends(); p.cnnbench_weight_readers();"
        " sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_backend_that_compiles_nothing_yet_has_not_loaded_dynamo() -> None:
    """Dynamo takes longer to import than PyTorch, and eager programs do without."""
    code = (
        "import sys; from cnnbench.execution.backends import load_backend; load_backend('torch');"
        " sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("layout", "dense_last"), [("auto", True), ("channels_last", True), ("channels_first", False)])
def test_the_layout_is_a_memory_format(layout: Any, dense_last: bool, torch_backend: Backend) -> None:
    graph = small_network()
    program = torch_backend.compile_forward(graph, ProgramOptions("eager", precision("float32"), layout=layout))
    program.load(*split_state(graph, initialize(graph, 0)))
    results = program.run(program.upload({"image": np.ones((2, 2, 6, 5))}))
    assert results.outputs[0].shape == (2, 3, 4, 3)
    assert results.outputs[0].is_contiguous(memory_format=torch.channels_last) is dense_last
    assert program.download(results).outputs["output"].flags.c_contiguous


def test_what_is_uploaded_shares_no_memory_with_the_host(torch_backend: Backend) -> None:
    graph = small_network()
    program = torch_backend.compile_forward(
        graph, ProgramOptions("eager", precision("float32"), layout="channels_first")
    )
    image = np.ones((1, 2, 6, 5), np.float32)
    image.flags.writeable = False
    operands = program.upload({"image": image})
    with torch.inference_mode():
        operands.inputs[0].zero_()
    assert image.all()


def test_forward_programs_record_no_gradient(torch_backend: Backend) -> None:
    graph = small_network()
    program = torch_backend.compile_forward(graph, ProgramOptions("eager", precision("float32")))
    program.load(*split_state(graph, initialize(graph, 0)))
    output = program.run(program.upload({"image": np.ones((1, 2, 6, 5))})).outputs[0]
    assert output.is_inference()


@pytest.mark.slow
def test_many_compiled_programs_each_keep_their_code(torch_backend: Backend) -> None:
    """Dynamo gives up after eight versions of one code object; every program is another network here."""
    import torch._dynamo

    limit = torch._dynamo.config.recompile_limit
    kept = []
    for channels in range(1, limit + 3):
        graph = small_network(channels)
        drawn = draw(graph, str(channels))
        found = []
        for mode in ("eager", "compile"):
            program = torch_backend.compile_forward(graph, ProgramOptions(mode, precision("float64")))
            program.load(*split_state(graph, drawn.arrays))
            found.append(program.download(program.run(program.upload(drawn.batch))).outputs["output"])
        np.testing.assert_allclose(found[1], found[0], rtol=1e-12, atol=1e-13)
        kept.append((program, drawn.batch, found[1]))
    with torch.compiler.set_stance("fail_on_recompile"):
        for program, batch, output in kept:
            np.testing.assert_array_equal(
                program.download(program.run(program.upload(batch))).outputs["output"], output
            )


@pytest.mark.slow
def test_another_batch_size_compiles_anew(torch_backend: Backend) -> None:
    graph = small_network()
    drawn = draw(graph, "batches")
    program = torch_backend.compile_forward(graph, ProgramOptions("compile", precision("float64")))
    program.load(*split_state(graph, drawn.arrays))
    image = drawn.batch["image"]
    whole = program.download(program.run(program.upload({"image": image}))).outputs["output"]
    part = program.download(program.run(program.upload({"image": image[:1]}))).outputs["output"]
    np.testing.assert_allclose(part, whole[:1], rtol=1e-13, atol=1e-14)


def test_native_randomness_draws_its_own_masks() -> None:
    from cnnbench_torch.backend import TorchBackend

    backend = TorchBackend()
    backend.configure(ProcessSettings(native_randomness=True))
    builder = Builder("drop")
    graph = builder.build(builder.add("drop", L.Dropout(p=0.25), builder.input("x", (40, 50))))
    program = backend.compile_forward(graph, ProgramOptions("eager", precision("float32"), training=True))
    program.load({}, {})
    found = program.download(program.run(program.upload({"x": np.ones((2, 40, 50))}))).outputs["output"]
    np.testing.assert_array_equal(np.unique(found), np.float32([0.0, 1.0 / 0.75]))
    # 4000 draws of probability 0.75 have a standard deviation of 27: six of them.
    assert abs((found > 0).sum() - 3000) < 165


def test_threads_are_set_and_reported() -> None:
    from cnnbench_torch.backend import TorchBackend

    backend, before = TorchBackend(), torch.get_num_threads()
    try:
        backend.configure(ProcessSettings(threads=2))
        assert backend.describe()["threads"] == "2"
    finally:
        backend.configure(ProcessSettings(threads=before))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there_is_said() -> None:
    from cnnbench_torch.backend import TorchBackend

    with pytest.raises(UnavailableError, match="no CUDA device"):
        TorchBackend().configure(ProcessSettings(device="cuda"))
    capabilities = TorchBackend().capabilities()
    assert capabilities.devices == ("cpu",)
    assert "tf32" not in capabilities.precisions["eager"]


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_a_module_saved_by_pytorch_loads_into_the_same_network(
    wrapper: str | None, suffix: str, tmp_path: Path, torch_backend: Backend
) -> None:
    module = torch.nn.Sequential()
    module.add_module("conv", torch.nn.Conv2d(2, 3, 3))
    module.add_module("norm", torch.nn.BatchNorm2d(3))
    module(torch.randn(4, 2, 6, 5))  # moves the running statistics and num_batches_tracked
    module.eval()
    path = tmp_path / f"weights{suffix}"
    torch.save(module.state_dict() if wrapper is None else {wrapper: module.state_dict(), "epoch": 3}, path)
    graph = small_network()
    arrays = match(graph, read_weights(path))
    program = torch_backend.compile_forward(
        graph, ProgramOptions("eager", precision("float32"), layout="channels_first")
    )
    program.load(*split_state(graph, arrays))
    image = np.random.default_rng(0).normal(size=(2, 2, 6, 5)).astype(np.float32)
    found = program.download(program.run(program.upload({"image": image}))).outputs["output"]
    with torch.no_grad():
        expected = module(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_narrow_checkpoints_are_widened_exactly(tmp_path: Path) -> None:
    values = torch.tensor([1.0, 0.1, 3e4], dtype=torch.bfloat16)
    torch.save({"fc.weight": values, "steps": torch.tensor(7)}, tmp_path / "narrow.pt")
    arrays = read_weights(tmp_path / "narrow.pt")
    assert arrays["fc.weight"].dtype == np.float32
    np.testing.assert_array_equal(arrays["fc.weight"], values.float().numpy())
    assert arrays["steps"] == 7


class Harmful:
    def __reduce__(self) -> Any:
        return (print, ("code ran",))


@pytest.mark.parametrize("content", [Harmful(), {"model": Harmful()}, [1, 2], {"a": {"b": 1}}, {}])
def test_what_is_not_a_state_dict_is_refused_and_runs_nothing(
    content: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(DataError, match=r"state dict|read safely"):
        read_weights(path)
    assert "code ran" not in capsys.readouterr().out


def test_a_damaged_or_missing_checkpoint_is_named(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DataError, match="cut short"):
        read_weights(damaged)
    with pytest.raises(DataError, match="does not exist"):
        read_weights(tmp_path / "missing.pth")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_program_may_hold_several_tables_of_one_kind(torch_backend: Backend) -> None:
    builder = Builder("tables")
    x = builder.input("x", (6, 8))
    tables = [builder.add(name, SinusoidTable(length=6, features=8), x) for name in ("first", "again")]
    graph = builder.build(builder.add("add", L.Add(), x, *tables))
    outputs = []
    for mode in ("eager", "compile"):
        program = torch_backend.compile_forward(graph, ProgramOptions(mode, precision("float32")))
        program.load({}, {})
        operands = program.upload({"x": np.ones((2, 6, 8), np.float32)})
        outputs.append(program.download(program.run(operands)).outputs["output"])
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-6)
