"""``cnnbench predict``: files in, files out, the same numbers on every backend."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cnnbench.cli.entry import execute
from cnnbench.errors import SpecError
from cnnbench.registry import build
from cnnbench.spec.weights import initialize, save


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(2, 1, 32, 32)))
    return path


def predict(output: Path, *arguments: str) -> np.ndarray:
    assert execute(["predict", *arguments, "-o", str(output)]) == 0
    return np.load(output, allow_pickle=False)


def agree(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over largest value."""
    return float(np.abs(got - expected).max() / np.abs(expected).max())


def test_weights_from_a_file_are_used(batch: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    assert execute(["weights", "init", "lenet5", "--seed", "3", "-o", str(weights)]) == 0
    options = ("lenet5", "-b", "numpy", "--input", str(batch), "--precision", "float64")
    from_file = predict(tmp_path / "a.npy", *options, "--weights", str(weights))
    from_seed = predict(tmp_path / "b.npy", *options, "--seed", "3")
    other = predict(tmp_path / "c.npy", *options)
    assert from_file.shape == (2, 10)
    assert from_file.dtype == np.float64
    assert np.array_equal(from_file, from_seed)
    assert not np.allclose(from_file, other)


def test_a_linear_layer_is_a_matrix_product(batch: Path, tmp_path: Path) -> None:
    """The last node recomputed from the node before it and the weights: an oracle that shares no code."""
    options = ("lenet5", "-b", "numpy", "--input", str(batch), "--precision", "float64")
    logits = predict(tmp_path / "y.npy", *options, "--node", "relu4", "--node", "fc2")
    arrays = {name: array.astype(np.float64) for name, array in initialize(build("lenet5"), 0).items()}
    hidden = np.load(tmp_path / "y.relu4.npy")
    assert np.array_equal(hidden, np.maximum(np.load(tmp_path / "y.fc2.npy"), 0))
    assert agree(logits, hidden @ arrays["fc3.weight"].T + arrays["fc3.bias"]) < 1e-14


def test_running_statistics_count_and_folding_changes_nothing_but_rounding(tmp_path: Path) -> None:
    graph = build("resnet20")
    arrays = initialize(graph, 0)
    generator = np.random.default_rng(1)
    for spec in graph.named_state():
        low = 0.5 if spec.name.endswith("var") else -0.5
        arrays[spec.name] = generator.uniform(low, 1.5, spec.shape).astype(np.float32)
    weights, image = tmp_path / "w.safetensors", tmp_path / "x.npy"
    save(arrays, weights)
    np.save(image, generator.normal(size=(2, 3, 32, 32)).astype(np.float32))
    options = ("resnet20", "-b", "numpy", "--input", str(image), "--precision", "float64")
    plain = predict(tmp_path / "a.npy", *options, "--weights", str(weights))
    folded = predict(tmp_path / "b.npy", *options, "--weights", str(weights), "--fold-batch-norm")
    unset = predict(tmp_path / "c.npy", *options)
    assert not np.array_equal(plain, folded)
    assert agree(folded, plain) < 1e-12
    assert agree(unset, plain) > 1e-2


def test_json_says_what_was_written_and_nothing_else(
    batch: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    predict(tmp_path / "y.npy", "lenet5", "-b", "numpy", "--input", str(batch), "--node", "conv1", "--json")
    report = json.loads(capfd.readouterr().out)
    assert report["precision"] == "float32"
    assert [(item["value"], item["shape"]) for item in report["files"]] == [
        ("logits", [2, 10]),
        ("conv1", [2, 6, 28, 28]),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"-b": "numpi"}, "did you mean 'numpy'?"),
        ({"--precision": "float31"}, "did you mean 'float"),
        ({"--precision": "bfloat16"}, "has no 'bfloat16'"),
        ({"--mode": "fsat"}, "has no mode 'fsat'"),
        ({"--node": "conv11"}, "did you mean 'conv1'?"),
        ({"--input": "missing.npy"}, "does not exist"),
        ({"--input": "picture=x.npy"}, "does not exist"),
        ({"--weights": "missing.safetensors"}, "does not exist"),
        ({"--layout": "sideways"}, "layout: the backend has no 'sideways'"),
    ],
)
def test_what_does_not_fit_is_said(
    batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], message: str
) -> None:
    options = {"-b": "numpy", "--input": str(batch), "-o": str(tmp_path / "y.npy")} | change
    assert execute(["predict", "lenet5", *(part for pair in options.items() for part in pair)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "y.npy").exists()


def test_a_pickled_array_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([{"not": "a number"}], dtype=object), allow_pickle=True)
    assert execute(["predict", "lenet5", "-b", "numpy", "--input", str(path), "-o", str(tmp_path / "y.npy")]) == 2
    assert "not a plain .npy array" in capsys.readouterr().err


def test_the_wrong_image_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((2, 10)))
    assert execute(["predict", "lenet5", "-b", "numpy", "--input", str(path), "-o", str(tmp_path / "y.npy")]) == 2
    assert "wrong shape" in capsys.readouterr().err


def test_weights_of_another_network_are_refused(
    batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "w.safetensors"
    assert execute(["weights", "init", "lenet_20_50_500", "-o", str(weights)]) == 0
    options = ["predict", "lenet5", "-b", "numpy", "--input", str(batch), "--weights", str(weights)]
    assert execute([*options, "-o", str(tmp_path / "y.npy")]) == 2
    assert "do not fit lenet5" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
def test_resnet50_in_float64_agrees_to_1e_12(tmp_path: Path, backend: str, fold: bool) -> None:
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    image = tmp_path / "x.npy"
    np.save(image, np.random.default_rng(0).normal(size=(1, 3, 224, 224)))
    options = ("resnet50", "--input", str(image), "--precision", "float64", *(("--fold-batch-norm",) if fold else ()))
    got = predict(tmp_path / "got.npy", "-b", backend, *options)
    expected = predict(tmp_path / "expected.npy", "-b", "numpy", *options)
    assert agree(got, expected) < 1e-12


def test_networks_beyond_classification_say_what_they_found_and_draw_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "x.npy"
    np.save(images, np.random.default_rng(0).normal(size=(2, 1, 32, 32)))
    options = ("unet_tiny", "-b", "numpy", "--input", str(images))
    predict(tmp_path / "y.npy", *options, "--save", str(tmp_path / "drawn"))
    out = capsys.readouterr().out
    assert "image 1: pixels: class 0 " in out
    assert (tmp_path / "drawn" / "unet_tiny.numpy.png").read_bytes().startswith(b"\x89PNG")


def test_there_is_nothing_to_draw_of_a_classifier(
    batch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("lenet5", "-b", "numpy", "--input", str(batch), "--save", str(tmp_path / "drawn"))
    assert execute(["predict", *options, "-o", str(tmp_path / "y.npy")]) == 2
    assert "these outputs say nothing that can be drawn" in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()


def test_masks_are_pasted_into_the_image_and_drawn(tmp_path):
    """``--save`` draws the image with each mask over its box; without the masks it is another picture."""
    from dataclasses import replace

    import cnnbench
    from cnnbench.output.pictures import side_by_side
    from cnnbench.training.decoders.decoded import decode
    from cnnbench.training.decoders.masks import pasted

    image = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    np.save(tmp_path / "x.npy", image)
    arguments = ["--input", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy"), "--save", str(tmp_path / "drawn")]
    assert execute(["predict", "mask_rcnn_tiny", "-b", "numpy", *arguments]) == 0
    outputs = cnnbench.predict("mask_rcnn_tiny", image).outputs
    (found,) = decode(outputs, (64, 64))
    count = int(outputs["counts"][0])
    assert count
    np.testing.assert_array_equal(
        found.masks, pasted(outputs["masks"][0][:count], outputs["boxes"][0][:count], (64, 64))
    )
    drawn = (tmp_path / "drawn" / "mask_rcnn_tiny.numpy.png").read_bytes()
    assert drawn == side_by_side(image, {"numpy": [found]})
    assert drawn != side_by_side(image, {"numpy": [replace(found, masks=None)]})


def test_an_input_is_not_replaced_by_the_output(batch: Path) -> None:
    before = batch.read_bytes()
    assert execute(["predict", "lenet5", "-b", "numpy", "--input", str(batch), "-o", str(batch)]) == 2
    assert batch.read_bytes() == before


def test_an_image_without_a_batch_is_no_other_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "one.npy", np.zeros((1, 32, 32)))
    out = str(tmp_path / "y.npy")
    assert execute(["predict", "lenet5", "-b", "numpy", "--input", str(tmp_path / "one.npy"), "-o", out]) == 2
    assert "another number of axes" in capsys.readouterr().err
    with pytest.raises(SpecError, match="another number of axes"):
        build("resnet20", image=(3, 32))
