"""What trained networks made of the first test images is drawn for all backends; without it there is no picture."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnnbench.harness.passes.training import EXAMPLES_FILE
from cnnbench.harness.worker.arrays import write_arrays
from cnnbench.harness.worker.protocol.training import TEST_IMAGES
from cnnbench.output import example_pictures
from cnnbench.output.pictures import pictures_of


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    monkeypatch.setattr(example_pictures, "label", lambda cell: cell.backend)
    monkeypatch.setattr(example_pictures, "network_label", lambda cell: "a net/../1")
    cells = [SimpleNamespace(id=name, backend=name, training_group=("net",)) for name in ("numpy", "torch")]
    return [SimpleNamespace(cell=cell, training=True) for cell in cells]


def keep(folder: Path, cell: str, outputs: dict[str, np.ndarray]) -> None:
    path = folder / "cells" / cell / EXAMPLES_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, outputs)


def test_examples_are_drawn_side_by_side(tmp_path: Path, records, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    drawn: list[dict] = []

    def draw(images, results, most):
        drawn.append(results)
        assert images.shape == (2, 3, 8, 8)
        return b"png"

    monkeypatch.setattr(example_pictures, "side_by_side", draw)
    for cell in ("numpy", "torch"):
        keep(tmp_path, cell, {"logits": logits, TEST_IMAGES: np.zeros((2, 3, 8, 8), np.float32)})
    (path,) = example_pictures.draw_examples(tmp_path, records)
    assert path.parent == tmp_path / "pictures"
    assert list(drawn[0]) == ["numpy", "torch"]
    np.testing.assert_array_equal(drawn[0]["torch"][1].pixels, logits[1].argmax(0))
    assert pictures_of(tmp_path) == {path.stem: b"png"}


def test_a_damaged_or_missing_file_costs_a_picture_only(tmp_path: Path, records) -> None:
    assert example_pictures.draw_examples(tmp_path, records) == []
    keep(tmp_path, "numpy", {"logits": np.zeros((2, 3, 8, 8), np.float32)})
    path = tmp_path / "cells" / "numpy" / EXAMPLES_FILE
    assert example_pictures.draw_examples(tmp_path, records) == []
    path.write_bytes(path.read_bytes()[:20])
    assert example_pictures.draw_examples(tmp_path, records) == []
