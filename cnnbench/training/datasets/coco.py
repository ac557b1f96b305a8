"""A COCO-format folder that a user has: pictures with boxes, masks, keypoints and captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.errors import DataError
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.datasets import coco_files, pictures
from cnnbench.training.datasets.coco_files import CocoSplit, Entry
from cnnbench.training.datasets.coco_masks import decode_mask
from cnnbench.training.datasets.pictures import IMAGENET, normalised, require_picture, resize, with_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def missing(folder: Path) -> str | None:
    """Why the folder cannot be used, or None."""
    if coco_files.suffixes(folder):
        return None
    return f"{(folder / 'annotations').absolute()} has no file instances_*.json"


def load_folder(folder: Path, request: DataRequest) -> Dataset:
    """One split. Each picture is stretched to the image shape, and boxes, masks and keypoints with it.

    The label of a picture is the class of its first object, 0 where it has none.

    Args:
        folder: With ``annotations/instances_*.json``, and ``captions_*.json`` and ``person_keypoints_*.json`` where
            there are such; the pictures lie in ``images/<suffix>/``, ``images/`` or ``<suffix>/``.
        request: The split, its image shape and how many.

    Raises:
        DataError: A broken file, with the annotation or picture that does not fit.
    """
    name = f"coco:{folder}"
    require_picture(request.image, name)
    known = coco_files.suffixes(folder)
    split = coco_files.read_split(folder, known[request.split])
    chosen = [split.images[position] for position in request.choose(len(split.images))]
    if not chosen:
        raise DataError("there are no pictures", where=str(folder), received=f"{len(split.images)} in the file")
    images = np.concatenate([read_picture(folder, split.suffix, entry, request.image) for entry in chosen])
    truth = _objects(split, chosen, request.image[1:])
    names: dict[str, tuple[str, ...]] = {}
    classes = tuple(category for _, category in split.categories)
    names["segmentation"] = ("background", *classes)
    if split.points[0]:
        names["keypoints"] = split.points[0]
    if split.captions:
        trained = coco_files.read_captions(folder, known["train"]) if "train" in known else {}
        names["captions"] = coco_files.vocabulary(trained or split.captions)
        truth["references"] = _captions(split, chosen, names["captions"])
        truth["captions"] = truth["references"][:, 0]
    labels = np.maximum(truth["box_classes"][:, 0], 0)
    return Dataset(name, request.split, images, labels, classes, "the user's own", truth, names, split.limbs)


def read_picture(folder: Path, suffix: str, entry: Entry, image: tuple[int, ...]) -> NDArray[np.float32]:
    """(1, C, H, W), stretched and normalised as for ImageNet.

    Args:
        folder: The dataset's.
        suffix: Of the split's files.
        entry: Of the picture, in the JSON file.
        image: (C, H, W) of the result.
    """
    places = [root / entry["file_name"] for root in (folder / "images" / suffix, folder / "images", folder / suffix)]
    try:
        path = next((place for place in places if place.is_file()), None)
    except (OSError, ValueError) as error:  # a name that no file can have
        where = str(folder / entry["file_name"])
        raise DataError(f"the picture cannot be read: {error}", where=where) from None
    if path is None:
        remedy = f"put it into {places[0].parent} or {places[1].parent}"
        raise DataError("the picture is missing", where=str(folder), received=entry["file_name"], remedy=remedy)
    picture = pictures.read_picture(path).transpose(2, 0, 1)[None] / 255
    height, width = picture.shape[2:]
    if (height, width) != (entry["height"], entry["width"]):
        expected = f"{entry['width']} x {entry['height']} as in the JSON file"
        raise DataError(
            "the picture has another size", where=str(path), received=f"{width} x {height}", expected=expected
        )
    return normalised(with_channels(resize(picture, image[1], image[2]), image[0]), IMAGENET)


def stretched(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.uint8]:
    """The mask at another size: 1 where it covers half of a pixel or more, by the filter that resizes the picture.

    Args:
        mask: (H, W).
        height: Of the result.
        width: Of the result.
    """
    return np.asarray(resize(mask[None, None], height, width)[0, 0] >= 0.5 - 1e-9, np.uint8)


def _objects(split: CocoSplit, chosen: list[Entry], size: tuple[int, ...]) -> dict[str, Array]:
    """Rows of the objects of each picture, as many as the fullest one needs; later ones paint over earlier ones."""
    height, width = size
    rows = max(1, *(len(split.objects.get(entry["id"], [])) for entry in chosen))
    count, points = len(chosen), len(split.points[0])
    numbers = {number: label for label, (number, _) in enumerate(split.categories)}
    truth: dict[str, Array] = {
        "boxes": np.zeros((count, rows, 4), np.float32),
        "box_classes": np.full((count, rows), -1, np.int64),
        "masks": np.zeros((count, rows, height, width), np.uint8),
        "crowd": np.zeros((count, rows), np.uint8),
        "areas": np.zeros((count, rows), np.float32),
        "segmentation": np.zeros((count, height, width), np.int64),
        "image_ids": np.asarray([entry["id"] for entry in chosen], np.int64),
    }
    if points:
        truth["keypoints"] = np.zeros((count, rows, points, 3), np.float32)
    for place, entry in enumerate(chosen):
        scale = np.array([width / entry["width"], height / entry["height"]])
        for row, item in enumerate(split.objects.get(entry["id"], [])):
            x, y, broad, tall = item["bbox"]
            corners = np.clip([x, y, x + broad, y + tall], 0, [entry["width"], entry["height"]] * 2)
            truth["boxes"][place, row] = corners * np.tile(scale, 2)
            truth["box_classes"][place, row] = numbers[item["category_id"]]
            truth["crowd"][place, row] = item.get("iscrowd", 0)
            truth["areas"][place, row] = item.get("area", broad * tall) * scale.prod()
            where = f"instances_{split.suffix}.json: annotation {item['id']}"
            mask = decode_mask(item.get("segmentation", []), (entry["height"], entry["width"]), where)
            truth["masks"][place, row] = stretched(mask, height, width)
            truth["segmentation"][place][truth["masks"][place, row] > 0] = numbers[item["category_id"]] + 1
            if item["id"] in split.points[1]:
                found = np.reshape(split.points[1][item["id"]], (points, 3))
                truth["keypoints"][place, row] = found * [*scale, 1] * (found[:, 2:] > 0)
    return truth


def _captions(split: CocoSplit, chosen: list[Entry], words: tuple[str, ...]) -> NDArray[np.int64]:
    """(N, R, T), all captions of each picture, with one end at least; a word that is not in ``words`` is unknown."""
    place = {word: token for token, word in enumerate(words)}
    unknown = words.index(coco_files.UNKNOWN)
    rows = [
        [
            [place.get(word, unknown) for word in coco_files.words_of(text)]
            for text in split.captions.get(entry["id"], [])
        ]
        for entry in chosen
    ]
    longest = max((len(tokens) for several in rows for tokens in several), default=0)
    found = np.zeros((len(rows), max(1, *map(len, rows)), longest + 1), np.int64)
    for row, several in enumerate(rows):
        for column, tokens in enumerate(several):
            found[row, column, : len(tokens)] = tokens
    return found
