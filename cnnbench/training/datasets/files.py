"""Datasets that a user has as files: a folder of IDX, CIFAR or COCO files, or of pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cnnbench.errors import DataError, UnavailableError, did_you_mean
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets import cifar, coco, coco_files, idx
from cnnbench.training.datasets.pictures import (
    IMAGENET,
    normalised,
    read_picture,
    require_picture,
    resize_and_crop,
    with_channels,
)

KINDS = ("idx", "cifar10", "cifar100", "coco", "images")
SPLITS = ("train", "test")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def from_files(kind: str, path: str) -> DatasetPlugin:
    """The dataset ``kind:path``. Raises UnavailableError for an unknown kind."""
    folder = Path(path)
    name = f"{kind}:{path}"
    splits: tuple[str, ...]
    if kind == "idx":
        about, splits, load, lack = "IDX files", SPLITS, partial(idx.load_folder, folder), partial(idx.missing, folder)
    elif kind in cifar.FORMS:
        about, splits = "CIFAR binary files", SPLITS
        load, lack = partial(cifar.load_folder, folder, kind), partial(cifar.missing, folder, cifar.FORMS[kind])
    elif kind == "coco":
        about, splits = "COCO's format", tuple(coco_files.suffixes(folder)) or ("test",)
        load, lack = partial(coco.load_folder, folder), partial(coco.missing, folder)
    elif kind == "images":
        about, splits = "pictures", tuple(split for split in SPLITS if (folder / split).is_dir()) or ("test",)
        load, lack = partial(load_pictures, folder), partial(_no_folder, folder)
    else:
        raise UnavailableError(f"unknown kind of data files {kind!r}", where=name, remedy=did_you_mean(kind, KINDS))
    return DatasetPlugin(name, about, splits, load, lack, (folder,))


def _no_folder(folder: Path) -> str | None:
    return None if folder.is_dir() else f"{folder.absolute()} is not a folder"


def load_pictures(folder: Path, request: DataRequest) -> Dataset:
    """Pictures below ``folder/<split>`` where that exists, else below ``folder``; each subfolder is a class.

    The classes are those of both splits together, so that a class has the same number in each. Without subfolders
    there is one class. Each picture is resized so that it covers 256/224 of the image, cut to its centre, and
    normalised as for ImageNet. Names that begin with a dot are left out.

    Raises:
        DataError: There is no picture, one cannot be read, or one lies beside the classes.
    """
    require_picture(request.image, "images")
    roots = [folder / split for split in SPLITS if (folder / split).is_dir()] or [folder]
    root = folder / request.split if folder / request.split in roots else folder
    classes = tuple(sorted({path.name for item in roots for path in item.iterdir() if path.is_dir() and _shown(path)}))
    found = [path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES and _shown(path, root)]
    if not found:
        raise DataError("there are no pictures", where=str(root), expected=f"files named {', '.join(SUFFIXES)}")
    beside = next((path for path in found if classes and path.parent == root), None)
    if beside is not None:
        raise DataError(
            "the picture lies in no class", where=str(beside), expected=f"a folder {root / classes[0]} or the like"
        )
    channels, height, width = request.image
    chosen = [found[position] for position in request.choose(len(found))]
    images = np.empty((len(chosen), *request.image), np.float32)
    for row, path in enumerate(chosen):
        picture = read_picture(path).transpose(2, 0, 1)[None] / 255
        images[row] = normalised(resize_and_crop(with_channels(picture, channels), height, width), IMAGENET)[0]
    labels = [classes.index(path.relative_to(root).parts[0]) if classes else 0 for path in chosen]
    return Dataset(
        f"images:{folder}",
        request.split,
        images,
        np.asarray(labels, np.int64),
        classes or (root.name,),
        "the user's own",
    )


def _shown(path: Path, root: Path | None = None) -> bool:
    """Whether no part of its name below ``root`` begins with a dot."""
    parts = (path.name,) if root is None else path.relative_to(root).parts
    return not any(part.startswith(".") for part in parts)
