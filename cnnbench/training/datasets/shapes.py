"""Discs, squares and triangles that overlap: boxes, classes, masks, segmentation and captions are known exactly."""

from __future__ import annotations

from dataclasses import dataclass
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
CLASSES = ("disc", "square", "triangle")
COLOURS = {"red": (0.9, 0.15, 0.15), "green": (0.15, 0.8, 0.2), "blue": (0.2, 0.3, 0.95), "yellow": (0.95, 0.9, 0.2)}
WORDS = ("<end>", *COLOURS, *CLASSES, "above", "left", "of")
OBJECTS, CAPTION, PHRASE = 4, 7, 3  # rows of objects; words of a caption and of an object's phrase, with the end
SMALLEST = 24
LARGE, SMALL = (0.16, 0.22), (0.09, 0.12)  # radii, of the shorter side
SHOWN = 0.5  # the share of each object that the others leave visible, at least
MARGIN = 0.08  # of the shorter side: by so much one offset of the first two objects exceeds the other
TRIALS = 40


@dataclass(frozen=True, eq=False)
class DrawnShape:
    """One object.

    Args:
        kind: Of ``CLASSES``.
        colour: Of ``COLOURS``.
        mask: (H, W), all its pixels, also those that others cover.
    """

    kind: int
    colour: int
    mask: NDArray[np.bool_]


def visible(objects: list[DrawnShape]) -> list[NDArray[np.bool_]]:
    """The pixels of each that no later one covers."""
    found, covered = [], np.zeros_like(objects[0].mask)
    for item in reversed(objects):
        found.append(item.mask & ~covered)
        covered = covered | item.mask
    return found[::-1]


def draw_object(size: tuple[int, int], radii: tuple[float, float], generator: np.random.Generator) -> DrawnShape:
    """An object whole within the picture.

    Args:
        size: (H, W) of the picture.
        radii: The smallest and the largest of the circle around it, of the shorter side.
        generator: Of its class, colour, place, size and turn.
    """
    kind, colour = int(generator.integers(len(CLASSES))), int(generator.integers(len(COLOURS)))
    radius = generator.uniform(*radii) * min(size)
    x, y = (generator.uniform(radius, side - radius) for side in (size[1], size[0]))
    turn = generator.uniform(-0.3, 0.3)
    if kind == 0:
        return DrawnShape(kind, colour, drawing.disc(size, (x, y), radius))
    corners = 4 if kind == 1 else 3
    start = np.pi / 4 if kind == 1 else -np.pi / 2
    angles = start + turn + 2 * np.pi * np.arange(corners) / corners
    outline = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
    return DrawnShape(kind, colour, drawing.convex_polygon(size, outline))


def offset(masks: list[NDArray[np.bool_]]) -> tuple[float, float]:
    """(dx, dy) from the centre of the first object's visible box to that of the second's."""
    one, two = (drawing.tight_box(mask) for mask in masks[:2])
    return float(two[0] + two[2] - one[0] - one[2]) / 2, float(two[1] + two[3] - one[1] - one[3]) / 2


def is_clear(objects: list[DrawnShape]) -> bool:
    """Whether enough of each object shows, and whether the first two lie clearly above or beside each other."""
    masks = visible(objects)
    if any(mask.sum() < SHOWN * item.mask.sum() for mask, item in zip(masks, objects, strict=True)):
        return False
    if len(objects) == 1:
        return True
    dx, dy = offset(masks)
    return bool(abs(abs(dx) - abs(dy)) >= MARGIN * min(objects[0].mask.shape))


def place(size: tuple[int, int], generator: np.random.Generator) -> list[DrawnShape]:
    """One to four objects, the first two large; one that finds no place is left out."""
    objects: list[DrawnShape] = []
    for position in range(int(generator.integers(1, OBJECTS + 1))):
        for _ in range(TRIALS):
            candidate = draw_object(size, LARGE if position < 2 else SMALL, generator)
            if is_clear([*objects, candidate]):
                objects.append(candidate)
                break
        else:
            break
    return objects


def phrase(item: DrawnShape) -> list[str]:
    """Its colour and its class."""
    return [tuple(COLOURS)[item.colour], CLASSES[item.kind]]


def caption(objects: list[DrawnShape]) -> list[str]:
    """Of the two large objects the upper one above the other, or the left one left of it: whichever lies further."""
    if len(objects) == 1:
        return phrase(objects[0])
    dx, dy = offset(visible(objects))
    upright = abs(dy) > abs(dx)
    first, second = objects[:2] if (dy if upright else dx) > 0 else objects[1::-1]
    return [*phrase(first), *(["above"] if upright else ["left", "of"]), *phrase(second)]


def tokens(words: list[str], length: int) -> NDArray[np.int64]:
    """Their places in ``WORDS``, then zeros."""
    found = np.zeros(length, np.int64)
    found[: len(words)] = [WORDS.index(word) for word in words]
    return found


def truth_of(objects: list[DrawnShape]) -> dict[str, Array]:
    """What is true of one picture, in rows of ``OBJECTS``."""
    size = objects[0].mask.shape
    boxes, classes = np.zeros((OBJECTS, 4), np.float32), np.full(OBJECTS, -1, np.int64)
    masks, segmentation = np.zeros((OBJECTS, *size), np.uint8), np.zeros(size, np.int64)
    phrases = np.zeros((OBJECTS, PHRASE), np.int64)
    for row, (item, mask) in enumerate(zip(objects, visible(objects), strict=True)):
        boxes[row], classes[row], masks[row] = drawing.tight_box(mask), item.kind, mask
        segmentation[mask] = item.kind + 1
        phrases[row] = tokens(phrase(item), PHRASE)
    return {
        "boxes": boxes,
        "box_classes": classes,
        "masks": masks,
        "segmentation": segmentation,
        "captions": tokens(caption(objects), CAPTION),
        "box_captions": phrases,
    }


def draw(split: str, position: int, size: tuple[int, int]) -> tuple[Array, dict[str, Array]]:
    """The picture (3, H, W) at a place of a split, values in [0, 1], and what is true of it.

    Args:
        split: ``train`` or ``test``.
        position: In that split.
        size: (H, W).
    """
    generator = stream(0, "pictures", f"shapes/{split}", position)
    picture = drawing.background(size, generator)
    objects = place(size, generator)
    for item in objects:
        colour = np.asarray(tuple(COLOURS.values())[item.colour]) * generator.uniform(0.8, 1.0)
        picture[:, item.mask] = colour[:, None]
    return drawing.with_noise(picture, generator), truth_of(objects)


def load(request: DataRequest) -> Dataset:
    """One split. The label of a picture is the class of its first object."""
    drawing.require_size(request.image, "shapes", SMALLEST)
    channels, height, width = request.image
    chosen = request.choose(COUNT[request.split])
    images = np.empty((len(chosen), *request.image), np.float32)
    parts = []
    for row, position in enumerate(chosen):
        picture, truth = draw(request.split, int(position), (height, width))
        images[row] = normalised(with_channels(picture[None], channels), drawing.MOMENTS)[0]
        parts.append(truth)
    truth = drawing.stacked(parts)
    names = {"captions": WORDS, "box_captions": WORDS, "segmentation": ("background", *CLASSES)}
    labels = truth["box_classes"][:, 0]
    return Dataset("shapes", request.split, images, labels, CLASSES, drawing.LICENCE, truth, names)


SHAPES = DatasetPlugin(
    "shapes", "drawn discs, squares and triangles with boxes, masks and captions", ("train", "test"), load
)
