"""``cnnbench weights``: made from a seed, imported by name, listed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cnnbench.cli.entry import execute
from cnnbench.registry import build
from cnnbench.spec.weights import initialize, load


def test_init_is_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert execute(["weights", "init", "lenet5", "--seed", seed, "-o", str(tmp_path / name)]) == 0
    contents = [(tmp_path / name).read_bytes() for name in "abc"]
    assert contents[0] == contents[1] != contents[2]
    arrays = load(tmp_path / "a")
    assert {name: array.shape for name, array in arrays.items()} == {
        spec.name: spec.shape for spec in build("lenet5").named_weights()
    }


def test_import_keeps_arrays_that_have_the_networks_names(tmp_path: Path) -> None:
    arrays = initialize(build("resnet20"), 5)
    save_file(arrays, tmp_path / "theirs.safetensors")
    output = tmp_path / "ours.safetensors"
    assert execute(["weights", "import", "resnet20", str(tmp_path / "theirs.safetensors"), "-o", str(output)]) == 0
    imported = load(output)
    assert all(np.array_equal(imported[name], array) for name, array in arrays.items())
    assert set(imported) == set(arrays)


def test_import_of_what_does_not_fit_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "theirs.safetensors")
    output = tmp_path / "ours.safetensors"
    assert execute(["weights", "import", "lenet5", str(tmp_path / "theirs.safetensors"), "-o", str(output)]) == 2
    assert not output.exists()
    assert "theirs.safetensors" in capsys.readouterr().err


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a.weight": np.array([[1.0, -3.0]], np.float32), "a.bias": np.array([np.nan], np.float32)}, path)
    assert execute(["weights", "inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in report["arrays"]}
    assert rows["a.weight"] == {
        "name": "a.weight", "dtype": "float32", "shape": [1, 2], "values": 2, "min": -3.0, "max": 1.0, "mean": -1.0,
    }  # fmt: skip
    assert rows["a.bias"]["max"] is None
    assert execute(["weights", "inspect", str(path)]) == 0
    assert "2 arrays, 3 values" in capsys.readouterr().out


def test_a_file_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w").write_bytes(b"no")
    assert execute(["weights", "inspect", str(tmp_path / "w")]) == 2
    assert "not valid safetensors" in capsys.readouterr().err


@pytest.mark.torch
@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.ckpt", "w.pth.tar", "w.safetensors.index.json"])
def test_inspect_reads_whatever_can_be_imported(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    if name.endswith("json"):
        save_file({"a": np.ones(2, np.float32), "b": np.array([True])}, tmp_path / "w.safetensors")
        path.write_text(json.dumps({"weight_map": {"a": "w.safetensors", "b": "w.safetensors"}}))
    else:
        torch = pytest.importorskip("torch", reason="needs torch")
        torch.save({"state_dict": {"a": torch.ones(2).to_sparse(), "b": torch.tensor([True])}, "epoch": 1}, path)
    assert execute(["weights", "inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["dtype"], row["max"]) for row in report["arrays"]] == [
        ("a", "float32", 1.0),
        ("b", "bool", 1.0),
    ]
    assert execute(["weights", "inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "2 arrays, 3 values" in out
    assert ("note: a is sparse" in out) == (not name.endswith("json"))


@pytest.mark.parametrize("name", ["model.pt", "model.pth.tar", "w.safetensors"])
@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_file_of_weights_where_a_network_is_expected(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"")
    assert execute([command, str(tmp_path / name)]) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "a file of weights is no network" in err
    assert "cnnbench weights import NETWORK" in err
    assert "unknown architecture" not in err


def test_another_file_where_a_network_is_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.pb").write_bytes(b"")
    assert execute(["show", str(tmp_path / "model.pb")]) == 2
    assert "export the model to ONNX" in capsys.readouterr().err


def keras_file(path: Path, layers: dict[str, list[tuple[str, tuple[int, ...]]]]) -> None:
    """A file of weights as Keras 2 wrote it."""
    h5py = pytest.importorskip("h5py", reason="needs h5py, which TensorFlow brings")
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name, _ in weights]
            for name, shape in weights:
                group[f"{layer}/{name}:0"] = generator.uniform(0.5, 1.5, shape).astype(np.float32)


def test_inspect_shows_what_any_file_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keras_file(tmp_path / "theirs.h5", {"conv": [("kernel", (5, 3, 2, 4)), ("bias", (4,))]})
    assert execute(["weights", "inspect", str(tmp_path / "theirs.h5"), "--json"]) == 0
    rows = {row["name"]: row["shape"] for row in json.loads(capsys.readouterr().out)["arrays"]}
    assert rows == {"conv.weight": [4, 2, 5, 3], "conv.bias": [4]}


NETWORK = """
input: [3, 8, 8]
nodes:
  - {name: conv, kind: conv, out_channels: 4, kernel_size: 3, bias: false}
  - {name: bn, kind: batch_norm}
  - {name: pool, kind: global_avg_pool}
  - {name: fc, kind: linear, out_features: 10}
"""


def test_import_says_what_it_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    norm = [("beta", (4,)), ("moving_mean", (4,)), ("moving_variance", (4,))]
    conv = [("kernel", (3, 3, 3, 4)), ("bias", (4,))]
    keras_file(
        tmp_path / "theirs.h5",
        {"conv": conv, "bn": norm, "fc": [("kernel", (4, 10)), ("bias", (10,))], "rescaling": []},
    )
    (tmp_path / "net.yaml").write_text(NETWORK)
    output = tmp_path / "ours.safetensors"
    command = [
        "weights",
        "import",
        str(tmp_path / "net.yaml"),
        str(tmp_path / "theirs.h5"),
        "-o",
        str(output),
        "--json",
    ]
    assert execute(command) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert notes == [
        "the file has no configuration: paddings, strides, activations and epsilons are not compared",
        "1 normalisations have no scale in the file (scale=False): 1",
        "1 biases of convolutions went into the running means of the norms behind them",
    ]
    assert np.all(load(output)["bn.weight"] == 1)


def test_import_refuses_what_is_computed_otherwise_until_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = build("mobilenet_v1", image=(3, 32, 32), num_classes=10)
    layers: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for node in graph.nodes:
        number, _, part = node.name.partition(".")
        i = int(number.removeprefix("conv")) if number.startswith("conv") else -1
        name = {"conv": "conv1", "depthwise.conv": f"conv_dw_{i}", "pointwise.conv": f"conv_pw_{i}"}
        name |= {"bn": "conv1_bn", "depthwise.bn": f"conv_dw_{i}_bn", "pointwise.bn": f"conv_pw_{i}_bn"}
        shapes = {spec.name: spec.shape for spec in node.layer.weights(graph.input_shapes(node))}
        if node.layer.kind == "conv":
            out, inner, height, width = shapes["weight"]
            depthwise = part.startswith("depthwise")
            kernel = (
                ("depthwise_kernel", (height, width, out, 1)) if depthwise else ("kernel", (height, width, inner, out))
            )
            layers[name[part]] = [kernel]
        elif node.layer.kind == "batch_norm":
            layers[name[part]] = [(w, shapes["weight"]) for w in ("gamma", "beta", "moving_mean", "moving_variance")]
    layers["conv_preds"] = [("kernel", (1, 1, 1024, 10)), ("bias", (10,))]
    keras_file(tmp_path / "theirs.h5", layers)
    output = tmp_path / "ours.safetensors"
    command = ["weights", "import", "mobilenet_v1", str(tmp_path / "theirs.h5"), "-o", str(output)]
    command += ["--image", "32", "--num-classes", "10"]
    assert execute(command) == 2
    assert "conv0.conv pads ((1, 1), (1, 1)), Keras ((0, 1), (0, 1))" in capsys.readouterr().err
    assert not output.exists()
    assert execute([*command, "--accept-differences"]) == 0
    said = capsys.readouterr().out
    assert "note: epsilon 0.001 in 27 norms, 1e-05 here" in said
    assert said.count("difference: ") == 5
    assert load(output)["fc.weight"].shape == (10, 1024)
