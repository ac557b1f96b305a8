"""Reads and checks the JSON files of a COCO-format folder."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.errors import DataError
from cnnbench.training.datasets.coco_masks import require_numbers

PREFIXES = {"train": ("train",), "test": ("test", "val", "minival")}
UNKNOWN = "<unknown>"
Entry = dict[str, Any]


@dataclass(frozen=True)
class CocoSplit:
    """One split of a folder.

    Args:
        suffix: Of its files, such as ``val2017``.
        images: The entries of its pictures, ascending by their id.
        categories: (id, name), ascending by the id.
        objects: The annotations of each picture by its id, ascending by their own.
        points: The keypoints' names, and the keypoints of an annotation by its id.
        limbs: Pairs of keypoints.
        captions: The captions of each picture by its id.
    """

    suffix: str
    images: list[Entry]
    categories: list[tuple[int, str]]
    objects: dict[int, list[Entry]]
    points: tuple[tuple[str, ...], dict[int, list[float]]]
    limbs: tuple[tuple[int, int], ...]
    captions: dict[int, list[str]]


def suffixes(folder: Path) -> dict[str, str]:
    """Which ``instances_*.json`` is which split; one whose name says neither is the test split."""
    names = sorted(p.stem.removeprefix("instances_") for p in (folder / "annotations").glob("instances_*.json"))
    found = {}
    for split, prefixes in PREFIXES.items():
        named = [name for prefix in prefixes for name in names if name.startswith(prefix)]
        if named:
            found[split] = named[0]
    return found or ({"test": names[0]} if names else {})


def read_split(folder: Path, suffix: str) -> CocoSplit:
    """All that a folder says about a split. Raises DataError where a file is broken."""
    path = folder / "annotations" / f"instances_{suffix}.json"
    content = _read(path, ("images", "annotations", "categories"))
    images = {entry["id"]: entry for entry in _entries(content["images"], path, "images", ("id", "width", "height"))}
    for entry in images.values():
        _check_image(entry, path)
    listed = _entries(content["categories"], path, "categories", ("id",))
    categories = sorted((entry["id"], str(entry.get("name", entry["id"]))) for entry in listed)
    known = {number for number, _ in categories}
    objects: dict[int, list[Entry]] = {}
    for entry in _entries(content["annotations"], path, "annotations", ("id", "image_id", "category_id")):
        where = f"{path}: annotation {entry['id']}"
        if entry["category_id"] not in known:
            expected = f"one of the {len(known)} of the file"
            raise DataError("unknown category", where=where, received=entry["category_id"], expected=expected)
        _check_box(entry, images, where)
        objects.setdefault(entry["image_id"], []).append(entry)
    points, limbs = _keypoints(folder / "annotations" / f"person_keypoints_{suffix}.json")
    captions = read_captions(folder, suffix, set(images))
    ordered = [images[number] for number in sorted(images)]
    return CocoSplit(suffix, ordered, categories, objects, points, limbs, captions)


def _read(path: Path, keys: tuple[str, ...]) -> Entry:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"the file cannot be read: {error}", where=str(path), expected="JSON") from None
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise DataError("not a file of COCO's format", where=str(path), expected=f"a list named {missing[0]}")
    return dict(content)


def _entries(values: list[Any], path: Path, name: str, keys: tuple[str, ...]) -> list[Entry]:
    """The objects of a list, ascending by their id, each with whole numbers at ``keys``."""
    for place, value in enumerate(values):
        where = f"{path}: {name}[{place}]"
        for key in keys:
            number = value.get(key) if isinstance(value, dict) else None
            if type(number) is not int or not 0 <= number < 2**63:
                expected = "a whole one of 63 bits"
                raise DataError(f"{key} is missing or no number", where=where, received=str(number), expected=expected)
    repeated = [number for number, count in Counter(value["id"] for value in values).items() if count > 1]
    if repeated:
        raise DataError(f"two {name} have one id", where=str(path), received=repeated[0])
    return sorted(values, key=lambda value: int(value["id"]))


def _check_image(entry: Entry, path: Path) -> None:
    name = entry.get("file_name")
    where = f"{path}: image {entry['id']}"
    if not isinstance(name, str) or not name or Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        raise DataError("the file name is not one below the folder", where=where, received=repr(name))
    if min(entry["width"], entry["height"]) < 1:
        raise DataError("the picture has no size", where=where, received=(entry["width"], entry["height"]))


def _check_box(entry: Entry, images: dict[int, Entry], where: str) -> None:
    image = images.get(entry["image_id"])
    if image is None:
        raise DataError("unknown image", where=where, received=entry["image_id"], expected="one of the file's")
    x, y, width, height = require_numbers(entry.get("bbox"), 4, "the box is", where)
    slack = 1.0  # COCO's own boxes are rounded
    fits = x >= -slack and y >= -slack and x + width <= image["width"] + slack and y + height <= image["height"] + slack
    if width < 0 or height < 0 or not fits:
        expected = f"x, y, width, height within {image['width']} x {image['height']}"
        raise DataError("the box is malformed", where=where, received=str(entry["bbox"]), expected=expected)
    area = entry.get("area", 0)
    if isinstance(area, bool) or not isinstance(area, int | float) or not 0 <= area < math.inf:
        raise DataError("the area is no number of pixels", where=where, received=str(area), expected="0 or more")
    if entry.get("iscrowd", 0) not in (0, 1):
        raise DataError("iscrowd is no flag", where=where, received=str(entry["iscrowd"]), expected="0 or 1")


def _keypoints(path: Path) -> tuple[tuple[tuple[str, ...], dict[int, list[float]]], tuple[tuple[int, int], ...]]:
    """Names, keypoints of each annotation, and limbs; nothing where the file is not there."""
    if not path.is_file():
        return ((), {}), ()
    content = _read(path, ("annotations", "categories"))
    named = [entry for entry in _entries(content["categories"], path, "categories", ("id",)) if "keypoints" in entry]
    if len(named) != 1 or not isinstance(named[0]["keypoints"], list):
        raise DataError("the keypoints have no names", where=str(path), expected="one category with keypoints")
    names = tuple(map(str, named[0]["keypoints"]))
    limbs, pairs = [], named[0].get("skeleton", [])
    if not isinstance(pairs, list):
        raise DataError("the skeleton is no list", where=str(path), received=str(pairs))
    for pair in pairs:
        one, two = require_numbers(pair, 2, "the limb is", str(path))
        if not {one, two} <= set(range(1, len(names) + 1)):
            raise DataError("the limb is malformed", where=str(path), received=str(pair), expected=f"1 to {len(names)}")
        limbs.append((int(one) - 1, int(two) - 1))
    points = {}
    for entry in _entries(content["annotations"], path, "annotations", ("id",)):
        where = f"{path}: annotation {entry['id']}"
        points[entry["id"]] = require_numbers(entry.get("keypoints"), 3 * len(names), "the keypoints are", where)
        if not set(points[entry["id"]][2::3]) <= {0.0, 1.0, 2.0}:
            raise DataError("a visibility is none", where=where, received=str(entry["keypoints"]), expected="0, 1 or 2")
    return (names, points), tuple(limbs)


def read_captions(folder: Path, suffix: str, images: set[int] | None = None) -> dict[int, list[str]]:
    """The captions of each picture; nothing where the file is not there.

    Args:
        folder: The dataset's.
        suffix: Of the file.
        images: The pictures that there are; None for any.
    """
    path = folder / "annotations" / f"captions_{suffix}.json"
    found: dict[int, list[str]] = {}
    if not path.is_file():
        return found
    for entry in _entries(_read(path, ("annotations",))["annotations"], path, "annotations", ("id", "image_id")):
        where = f"{path}: annotation {entry['id']}"
        if images is not None and entry["image_id"] not in images:
            raise DataError("unknown image", where=where, received=entry["image_id"])
        if not isinstance(entry.get("caption"), str):
            raise DataError("the caption is no text", where=where, received=str(entry.get("caption")))
        found.setdefault(entry["image_id"], []).append(entry["caption"])
    return found


def words_of(caption: str) -> list[str]:
    """Its words in small letters, without punctuation."""
    return re.findall(r"[^\W_]+", caption.lower())


def vocabulary(captions: dict[int, list[str]]) -> tuple[str, ...]:
    """The end, the unknown word, then all words in alphabetical order."""
    words = {word for several in captions.values() for caption in several for word in words_of(caption)}
    return ("<end>", UNKNOWN, *sorted(words))
