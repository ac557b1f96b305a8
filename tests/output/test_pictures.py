"""Pictures side by side: a detection that differs is red, and counted."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from synthetic_run import synthetic_run

from cnnbench.errors import DataError
from cnnbench.output.html import render_html
from cnnbench.output.pictures import DIFFERENT, _draw, as_picture, missing, pictures_of, sheet, side_by_side, title_of
from cnnbench.output.report import gather
from cnnbench.training.decoders.boxes import Detections
from cnnbench.training.decoders.decoded import Decoded

IMAGES = np.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
FOUND = Detections(np.array([[4, 4, 20, 20], [10, 2, 30, 12]], float), np.array([0.9, 0.6]), np.array([1, 0]))
OTHER_CLASS = replace(FOUND, classes=np.array([1, 2]))
NEAR = replace(FOUND, boxes=FOUND.boxes + np.array([[0, 0, 0, 0], [1, 0, 1, 0]]))  # they overlap by 0.9
MOVED = replace(FOUND, boxes=FOUND.boxes + np.array([[0, 0, 0, 0], [8, 0, 8, 0]]))  # by 0.43
FEWER = Detections(FOUND.boxes[:1], FOUND.scores[:1], FOUND.classes[:1])
TURNED = Detections(FOUND.boxes[::-1], FOUND.scores[::-1], FOUND.classes[::-1])
PERSON = np.array([[[3, 3, 0.9], [20, 20, 0.8], [0, 0, 0]]], float)


def panel() -> Axes:
    return Figure().subplots()


@pytest.mark.parametrize(
    ("found", "count"), [(FOUND, 0), (TURNED, 0), (OTHER_CLASS, 2), (NEAR, 0), (MOVED, 2), (FEWER, 1)],
    ids=["same", "other order", "other class", "near", "moved", "fewer"],
)  # fmt: skip
def test_detections_that_differ_are_red(found: Detections, count: int) -> None:
    axis = panel()
    assert _draw(axis, IMAGES[0], Decoded(detections=found), Decoded(detections=FOUND)) == count
    assert sum(line.get_color() == DIFFERENT for line in axis.lines) == count


def test_each_detection_is_the_counterpart_of_one() -> None:
    twice = Detections(FOUND.boxes[[0, 0]], FOUND.scores, FOUND.classes[[0, 0]])
    assert missing(twice, FOUND).tolist() == [False, True]


@pytest.mark.parametrize(
    ("found", "first", "count"),
    [
        (Decoded(pixels=np.zeros((8, 8), int)), Decoded(pixels=np.eye(8, dtype=int)), 8),
        (Decoded(keypoints=PERSON, limbs=((0, 1),)), Decoded(keypoints=PERSON), 0),
        (Decoded(keypoints=PERSON + np.array([1, 0, 0]), limbs=((0, 1),)), Decoded(keypoints=PERSON), 3),
        (Decoded(keypoints=PERSON[:0]), Decoded(keypoints=PERSON), 1),
        (Decoded(words=(1, 2)), Decoded(words=(1, 2)), 0),
        (Decoded(words=(1, 3)), Decoded(words=(1, 2)), 1),
        (Decoded(picture=IMAGES[0]), Decoded(picture=IMAGES[0]), 0),
    ],
    ids=["pixels", "person", "person elsewhere", "no person", "words", "other words", "picture"],
)
def test_other_results_are_compared_with_the_first_column(found: Decoded, first: Decoded, count: int) -> None:
    assert _draw(panel(), IMAGES[0], found, first) == count


def test_a_png_holds_a_row_for_each_image_and_a_column_for_each_backend() -> None:
    masks = np.zeros((2, 32, 32), bool)
    masks[0, 4:20, 4:20] = True
    column = [Decoded(detections=FOUND, masks=masks)] * 2
    one = side_by_side(IMAGES, {"numpy": column})
    wide = side_by_side(IMAGES, {"numpy": column, "torch eager": [Decoded(detections=MOVED)] * 2})
    small, large = (imread(io.BytesIO(data), format="png") for data in (one, wide))
    assert (large.shape[1], large.shape[0]) == (2 * small.shape[1], small.shape[0])
    assert side_by_side(IMAGES, {"numpy": column}) == one


@pytest.mark.parametrize("results", [{}, {"numpy": []}, {"numpy": [Decoded()], "torch eager": []}])
def test_no_image_is_refused_in_words(results: dict[str, list[Decoded]]) -> None:
    with pytest.raises(DataError, match="no picture to draw"):
        side_by_side(IMAGES, results)


def test_pictures_of_any_range_and_channels_are_shown() -> None:
    assert as_picture(IMAGES[0]).shape == (32, 32, 3)
    assert as_picture(np.full((1, 2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]
    assert as_picture(np.array([[[0.25, np.nan]]])).tolist() == [[0.25, 0.0]]
    assert as_picture(np.array([[[-1.0, 1.0]]])).tolist() == [[0.0, 1.0]]


def test_pictures_of_a_run_stand_in_its_page(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "shapes <1>.png").write_bytes(b"\x89PNG")
    report = gather(synthetic_run(seed=1))
    page = render_html(report, pictures_of(tmp_path))
    assert '<img src="data:image/png;base64,iVBORw==" alt="shapes &lt;1&gt;"' in page
    assert "#pictures" not in render_html(report, pictures_of(tmp_path / "none"))


def test_a_sheet_holds_pictures_row_by_row_between_light_lines() -> None:
    made = np.arange(5.0).reshape(5, 1, 1, 1) * np.ones((5, 3, 2, 2)) - 2
    found = sheet(made)
    a, b, c, d, e, o = -2.0, -1.0, 0.0, 1.0, 2.0, 2.0
    expected = [[a, a, o, b, b, o, c, c]] * 2 + [[o] * 8] + [[d, d, o, e, e, o, o, o]] * 2
    np.testing.assert_array_equal(found, [expected] * 3)
    assert sheet(made[:1]).shape == (3, 2, 2)
    assert sheet(np.full((1, 1, 2, 2), np.nan)).shape == (1, 2, 2)


def test_a_picture_says_what_it_shows() -> None:
    seen = {"numpy": [Decoded(picture=np.zeros((1, 4, 4)))]}
    assert title_of(side_by_side(np.zeros((1, 1, 4, 4)), seen, title="0-a name-b")) == "0-a name-b"
    assert title_of(side_by_side(np.zeros((1, 1, 4, 4)), seen)) == title_of(b"no picture") == ""
