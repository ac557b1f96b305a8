"""An ONNX file where a network's name may stand: show, predict, verify, and a suite; its arrays are the weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cnnbench.cli.entry import execute

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SUITE = """\
schema_version: 1
name: imported
matrix:
  - architectures: ["file:net.onnx"]
    backends: [numpy]
    batch: [2]
checks: {names: [local]}
measure: {}
"""


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(5)
    return {
        "conv1.weight": generator.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "conv1.bias": generator.normal(size=4).astype(np.float32),
        "fc.weight": generator.normal(size=(5, 4)).astype(np.float32),
        "fc.bias": generator.normal(size=5).astype(np.float32),
    }


@pytest.fixture
def network(tmp_path: Path, weights: dict[str, np.ndarray]) -> Path:
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu1"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"], name="pool"),
        helper.make_node("Flatten", ["c"], ["d"], name="flatten"),
        helper.make_node("Gemm", ["d", "fc.weight", "fc.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 9])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 5])],
        initializer=[numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def expected(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, weights["conv1.weight"]) + weights["conv1.bias"][:, None, None]
    return np.maximum(y, 0).mean(axis=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]


def test_show_gives_nodes_and_counts(capsys: pytest.CaptureFixture[str], network: Path) -> None:
    assert execute(["show", str(network), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [(node["name"], node["kind"]) for node in data["nodes"]] == [
        ("conv1", "conv"),
        ("relu1", "relu"),
        ("pool", "global_avg_pool"),
        ("flatten", "flatten"),
        ("fc", "linear"),
    ]
    assert data["parameters"] == 4 * 27 + 4 + 4 * 5 + 5
    assert data["macs"] == 8 * 9 * 4 * 27 + 20
    assert data["input"] == [3, 8, 9]


def test_predict_uses_the_file_s_weights(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, network: Path, weights: dict[str, np.ndarray]
) -> None:
    x = np.random.default_rng(0).normal(size=(3, 3, 8, 9))
    np.save(tmp_path / "x.npy", x)
    output = tmp_path / "y.npy"
    arguments = ["-b", "numpy", "--input", str(tmp_path / "x.npy"), "--output", str(output), "--precision", "float64"]
    assert execute(["predict", str(network), *arguments]) == 0
    capsys.readouterr()
    np.testing.assert_allclose(np.load(output), expected(weights, x), rtol=1e-12)


def test_predict_takes_other_weights_where_they_are_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, network: Path, weights: dict[str, np.ndarray]
) -> None:
    from cnnbench.spec.weights import save

    others = {name: array * 2 for name, array in weights.items()}
    save(others, tmp_path / "w.safetensors")
    x = np.random.default_rng(0).normal(size=(1, 3, 8, 9))
    np.save(tmp_path / "x.npy", x)
    output = tmp_path / "y.npy"
    arguments = ["-b", "numpy", "--input", str(tmp_path / "x.npy"), "-o", str(output), "--precision", "float64"]
    assert execute(["predict", str(network), *arguments, "--weights", str(tmp_path / "w.safetensors")]) == 0
    capsys.readouterr()
    np.testing.assert_allclose(np.load(output), expected(others, x), rtol=1e-12)


def test_verify_checks_it(capfd: pytest.CaptureFixture[str], tmp_path: Path, network: Path) -> None:
    arguments = ["-b", "numpy", "--check", "local", "--check", "end_to_end", "-o", str(tmp_path / "out")]
    assert execute(["verify", str(network), *arguments, "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)["backends"]
    assert row["status"] == "passed"


def test_a_suite_s_cell_starts_from_the_file_s_weights(
    tmp_path: Path, network: Path, weights: dict[str, np.ndarray]
) -> None:
    from cnnbench.harness.passes.material import Materials
    from cnnbench.harness.suite.file import load_suite
    from cnnbench.harness.suite.plan import plan
    from cnnbench.harness.worker.arrays import read_arrays

    (tmp_path / "suite.yaml").write_text(SUITE, encoding="utf-8")
    (cell,) = plan(load_suite(tmp_path / "suite.yaml")).cells
    assert cell.skip is None
    assert cell.id.startswith("net")
    materials = Materials()
    try:
        material = materials.of(cell)
        arrays = read_arrays(material.arrays)
    finally:
        materials.close()
    for name, array in weights.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_an_operator_that_is_not_imported_ends_with_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("DeformConv", ["x", "x", "x"], ["y"], name="deform1")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 3, 3])],
    )
    path = tmp_path / "bad.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)
    assert execute(["show", str(path)]) == 2
    message = capsys.readouterr().err
    assert "the operator 'DeformConv' is not imported as a layer" in message
    assert "bad.onnx: node 'deform1'" in message
