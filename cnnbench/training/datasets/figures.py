"""Stick figures, one or several a picture: keypoints, limbs, visibility, boxes and masks are known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.spec.streams import stream
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets import drawing
from cnnbench.training.datasets.pictures import normalised, with_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

COUNT = {"train": 2000, "test": 500}
KEYPOINTS = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
)  # fmt: skip
LIMBS = ((1, 0), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13))
SMALLEST = 48
SEVERAL = 3
RIGHT, LEFT, MIDDLE = (0.3, 0.95, 1.0), (0.95, 0.4, 0.1), (0.9, 0.9, 0.85)  # lumas 0.76, 0.53 and 0.89
BAR = 0.5  # how often a grey bar covers a part of the picture
APART = 0.2  # of the shorter side: the distance between two necks, at least
TRIALS = 20
HIDDEN, VISIBLE = 1, 2


@dataclass(frozen=True, eq=False)
class StickFigure:
    """One person.

    Args:
        points: (K, 2), x and y in pixels; a point may lie outside the picture.
        scale: The height of the figure in pixels.
    """

    points: Array
    scale: float


def pose(size: tuple[int, int], generator: np.random.Generator, height: tuple[float, float]) -> StickFigure:
    """A figure that faces us: its right side is on our left. Each limb turns by an angle of its own.

    Args:
        size: (H, W) of the picture.
        generator: Of its place, size and angles.
        height: The smallest and the largest, of the shorter side.
    """
    scale = generator.uniform(*height) * min(size)
    points = np.zeros((len(KEYPOINTS), 2))
    lean = generator.uniform(-0.2, 0.2)
    down = np.array([-np.sin(lean), np.cos(lean)])
    across = np.array([down[1], -down[0]])
    points[0] = -0.15 * down + generator.uniform(-0.02, 0.02) * across
    for side, shoulder, hip in ((-1, 2, 8), (1, 5, 11)):
        points[shoulder] = side * 0.11 * across + 0.03 * down
        points[hip] = side * 0.07 * across + 0.33 * down
        for start, lengths, spread in ((shoulder, (0.16, 0.15), (-0.2, 2.4)), (hip, (0.22, 0.22), (-0.1, 0.7))):
            angle = generator.uniform(*spread)
            for joint, length in enumerate(lengths, start=start + 1):
                points[joint] = points[joint - 1] + length * (np.cos(angle) * down + side * np.sin(angle) * across)
                angle += generator.uniform(-0.5, 0.5)
    points *= scale
    low, high = points.min(axis=0), points.max(axis=0)
    slack = 0.12 * scale  # so far the figure may reach beyond the picture
    first, last = -low - slack, np.array([size[1], size[0]]) - high + slack
    middle = (first + last) / 2
    room = np.maximum((last - first) / 2, 0)
    return StickFigure(points + middle + generator.uniform(-1, 1, 2) * room, scale)


def place(
    size: tuple[int, int], count: int, height: tuple[float, float], generator: np.random.Generator
) -> list[StickFigure]:
    """Figures whose necks lie apart; one that finds no place is left out.

    Args:
        size: (H, W) of the picture.
        count: How many are wanted.
        height: The smallest and the largest, of the shorter side.
        generator: Of all their poses.
    """
    found = [pose(size, generator, height)]
    for _ in range(count - 1):
        for _ in range(TRIALS):
            candidate = pose(size, generator, height)
            if all(np.hypot(*(candidate.points[1] - other.points[1])) >= APART * min(size) for other in found):
                found.append(candidate)
                break
    return found


def paint(size: tuple[int, int], figure: StickFigure) -> list[tuple[NDArray[np.bool_], tuple[float, float, float]]]:
    """What is painted for a figure, in this order: each limb and the head with its colour."""
    thickness = max(0.06 * figure.scale, 2.0)
    parts = []
    for limb in LIMBS:
        name = KEYPOINTS[limb[1]]
        colour = RIGHT if name.startswith("right") else LEFT if name.startswith("left") else MIDDLE
        (x0, y0), (x1, y1) = figure.points[list(limb)]
        parts.append((drawing.stroke(size, ((x0, y0), (x1, y1)), thickness), colour))
    x, y = figure.points[0]
    parts.append((drawing.disc(size, (x, y), max(0.07 * figure.scale, 2.0)), MIDDLE))
    return parts


def truth_of(figures: list[StickFigure], owners: NDArray[np.int64], rows: int) -> dict[str, Array]:
    """What is true of one picture.

    Args:
        figures: Who is in it.
        owners: (H, W), whose pixel it is, -1 where it is nobody's.
        rows: Of each array.
    """
    size = owners.shape
    boxes, classes = np.zeros((rows, 4), np.float32), np.full(rows, -1, np.int64)
    masks, keypoints = np.zeros((rows, *size), np.uint8), np.zeros((rows, len(KEYPOINTS), 3), np.float32)
    for row, figure in enumerate(figures):
        masks[row] = owners == row
        if not masks[row].any():  # wholly hidden: nobody could find it
            continue
        boxes[row], classes[row] = drawing.tight_box(masks[row]), 0
        x, y = figure.points.T
        inside = (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
        column, line = (np.where(inside, values, 0).astype(int) for values in (x, y))
        seen = np.where(owners[line, column] == row, VISIBLE, HIDDEN)
        keypoints[row] = np.where(inside[:, None], np.stack([x, y, seen], axis=1), 0)
    return {"boxes": boxes, "box_classes": classes, "masks": masks, "keypoints": keypoints}


def draw(several: int, split: str, position: int, size: tuple[int, int]) -> tuple[Array, dict[str, Array]]:
    """The picture (3, H, W) at a place of a split, values in [0, 1], and what is true of it.

    Args:
        several: At most so many figures.
        split: ``train`` or ``test``.
        position: In that split.
        size: (H, W).
    """
    generator = stream(0, "pictures", f"figures/{several}/{split}", position)
    picture = drawing.background(size, generator)
    owners = np.full(size, -1, np.int64)
    count = int(generator.integers(1, several + 1))
    figures = place(size, count, (0.7, 0.95) if several == 1 else (0.45, 0.75), generator)
    for row, figure in enumerate(figures):
        for mask, colour in paint(size, figure):
            picture[:, mask] = np.asarray(colour)[:, None]
            owners[mask] = row
    if generator.random() < BAR:
        covered = _bar(size, generator)
        picture[:, covered] = generator.uniform(0.3, 0.6)
        owners[covered] = -1
    return drawing.with_noise(picture, generator), truth_of(figures, owners, several)


def _bar(size: tuple[int, int], generator: np.random.Generator) -> NDArray[np.bool_]:
    centre = generator.uniform(0.3, 0.7, 2) * (size[1], size[0])
    reach = generator.uniform(0.1, 0.25) * min(size)
    ends = ((centre[0] - reach, centre[1]), (centre[0] + reach, centre[1]))
    return drawing.stroke(size, ends, 0.08 * min(size))


def load(name: str, several: int, request: DataRequest) -> Dataset:
    """One split.

    Args:
        name: The dataset's.
        several: Figures in a picture, at most.
        request: The split, its image shape and how many.
    """
    drawing.require_size(request.image, name, SMALLEST)
    channels, height, width = request.image
    chosen = request.choose(COUNT[request.split])
    images = np.empty((len(chosen), *request.image), np.float32)
    parts = []
    for row, position in enumerate(chosen):
        picture, truth = draw(several, request.split, int(position), (height, width))
        images[row] = normalised(with_channels(picture[None], channels), drawing.MOMENTS)[0]
        parts.append(truth)
    labels = np.zeros(len(chosen), np.int64)
    names = {"keypoints": KEYPOINTS}
    truth = drawing.stacked(parts)
    return Dataset(name, request.split, images, labels, ("person",), drawing.LICENCE, truth, names, LIMBS)


def _plugin(name: str, description: str, several: int) -> DatasetPlugin:
    return DatasetPlugin(name, description, ("train", "test"), partial(load, name, several))


FIGURES = _plugin("figures", "a drawn stick figure with keypoints and limbs", 1)
FIGURES_SEVERAL = _plugin("figures_several", "one to three stick figures that may hide each other", SEVERAL)
