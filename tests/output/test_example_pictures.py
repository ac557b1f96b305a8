"""What trained networks made of the first test images is drawn for all backends; without it there is no picture."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cnnbench.harness.passes.training import EXAMPLES_FILE
from cnnbench.harness.worker.arrays import write_arrays
from cnnbench.harness.worker.protocol.programs import PICTURES
from cnnbench.harness.worker.protocol.training import TEST_IMAGES
from cnnbench.output import example_pictures
from cnnbench.output.pictures import pictures_of


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    monkeypatch.setattr(example_pictures, "label", lambda cell: cell.backend)
    monkeypatch.setattr(example_pictures, "network_label", lambda cell: "a net/../1")
    cells = [SimpleNamespace(id=name, backend=name, training_group=("net",)) for name in ("numpy", "torch")]
    return [SimpleNamespace(cell=cell, training=True, files=None) for cell in cells]


def keep(folder: Path, cell: str, outputs: dict[str, np.ndarray]) -> None:
    path = folder / "cells" / cell / EXAMPLES_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, outputs)


def test_examples_are_drawn_side_by_side(tmp_path: Path, records, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    drawn: list[dict] = []

    def draw(images, results, most, title):
        drawn.append(results)
        assert images.shape == (2, 3, 8, 8)
        assert title == "a net/../1"
        return b"png"

    monkeypatch.setattr(example_pictures, "side_by_side", draw)
    for cell in ("numpy", "torch"):
        keep(tmp_path, cell, {"logits": logits, TEST_IMAGES: np.zeros((2, 3, 8, 8), np.float32)})
    (path,) = example_pictures.draw_examples(tmp_path, records)
    assert path.parent == tmp_path / "pictures"
    assert list(drawn[0]) == ["numpy", "torch"]
    np.testing.assert_array_equal(drawn[0]["torch"][1].pixels, logits[1].argmax(0))
    assert pictures_of(tmp_path) == {path.stem: b"png"}


def test_pictures_made_out_of_nothing_are_drawn_in_a_grid(tmp_path: Path, records, monkeypatch) -> None:
    drawn: list[dict] = []
    draw = example_pictures.side_by_side
    monkeypatch.setattr(example_pictures, "side_by_side", lambda *asked: drawn.append(asked[1]) or draw(*asked))
    for number, cell in enumerate(("numpy", "torch")):
        made = (
            np.arange(16, dtype=np.float32).reshape(16, 1, 1, 1) / 32 + number / 4 + np.zeros((16, 1, 5, 7), np.float32)
        )
        keep(tmp_path, cell, {PICTURES: made})
    (path,) = example_pictures.draw_examples(tmp_path, records)
    assert pictures_of(tmp_path)[path.stem].startswith(b"\x89PNG")
    assert list(drawn[0]) == ["numpy", "torch"]
    (found,) = drawn[0]["torch"]
    assert found.picture is not None
    assert found.picture.shape == (1, 4 * 6 - 1, 4 * 8 - 1)
    np.testing.assert_array_equal(found.picture[0, ::6, ::8], np.arange(16).reshape(4, 4) / 32 + 0.25)


def test_a_damaged_or_missing_file_costs_a_picture_only(tmp_path: Path, records) -> None:
    assert example_pictures.draw_examples(tmp_path, records) == []
    keep(tmp_path, "numpy", {"logits": np.zeros((2, 3, 8, 8), np.float32)})
    path = tmp_path / "cells" / "numpy" / EXAMPLES_FILE
    assert example_pictures.draw_examples(tmp_path, records) == []
    for shape in [(0, 1, 5, 7), (16, 35)]:
        keep(tmp_path, "numpy", {PICTURES: np.zeros(shape, np.float32)})
        assert example_pictures.draw_examples(tmp_path, records) == []
    path.write_bytes(path.read_bytes()[:20])
    assert example_pictures.draw_examples(tmp_path, records) == []


def test_pictures_are_those_of_the_records(tmp_path: Path, records) -> None:
    """Not of an earlier training, whose examples still lie there, nor of a run before that was drawn in this folder."""
    stale = tmp_path / "pictures" / "7-gone.png"
    stale.parent.mkdir()
    stale.write_bytes(b"png")
    keep(tmp_path, "numpy", {PICTURES: np.zeros((2, 1, 5, 7), np.float32)})
    for record in records:
        record.files = {}
    assert example_pictures.draw_examples(tmp_path, records) == []
    assert pictures_of(tmp_path) == {}
    records[0].files = {EXAMPLES_FILE: "of another file"}
    assert example_pictures.draw_examples(tmp_path, records) == []
    content = (tmp_path / "cells" / "numpy" / EXAMPLES_FILE).read_bytes()
    records[0].files = {EXAMPLES_FILE: hashlib.sha256(content).hexdigest()}
    assert len(example_pictures.draw_examples(tmp_path, records)) == 1
