"""Datasets that a user has as files: a folder of IDX, CIFAR or COCO files, or of pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cnnbench.errors import DataError, UnavailableError, did_you_mean
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets import cifar, coco, coco_files, idx
from cnnbench.training.datasets.pictures import IMAGENET, normalised, require_picture, resize_and_crop, with_channels

KINDS = ("idx", "cifar10", "cifar100", "coco", "images")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def from_files(kind: str, path: str) -> DatasetPlugin:
    """The dataset ``kind:path``. Raises UnavailableError for an unknown kind."""
    folder = Path(path)
    name = f"{kind}:{path}"
    both: tuple[str, ...] = ("train", "test")
    if kind == "idx":
        about, splits, load, lack = "IDX files", both, partial(idx.load_folder, folder), partial(idx.missing, folder)
    elif kind in cifar.FORMS:
        about, splits = "CIFAR binary files", both
        load, lack = partial(cifar.load_folder, folder, kind), partial(cifar.missing, folder, cifar.FORMS[kind])
    elif kind == "coco":
        about, splits = "COCO's format", tuple(coco_files.suffixes(folder)) or ("test",)
        load, lack = partial(coco.load_folder, folder), partial(coco.missing, folder)
    elif kind == "images":
        about, splits = "pictures", tuple(split for split in both if (folder / split).is_dir()) or ("test",)
        load, lack = partial(load_pictures, folder), partial(_no_folder, folder)
    else:
        raise UnavailableError(f"unknown kind of data files {kind!r}", where=name, remedy=did_you_mean(kind, KINDS))
    return DatasetPlugin(name, about, splits, load, lack, (folder,))


def _no_folder(folder: Path) -> str | None:
    return None if folder.is_dir() else f"{folder} is not a folder"


def load_pictures(folder: Path, request: DataRequest) -> Dataset:
    """Pictures below ``folder/<split>`` where that exists, else below ``folder``; each subfolder is a class.

    Each is resized so that it covers 256/224 of the image, cut to its centre, and normalised as for ImageNet.
    """
    from PIL import Image, UnidentifiedImageError

    require_picture(request.image, "images")
    root = folder / request.split if (folder / request.split).is_dir() else folder
    classes = tuple(sorted(path.name for path in root.iterdir() if path.is_dir())) or (root.name,)
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError("there are no pictures", where=str(root), expected=f"files named {', '.join(SUFFIXES)}")
    channels, height, width = request.image
    images, labels = [], []
    for position in request.choose(len(found)):
        path = found[position]
        try:
            with Image.open(path) as file:
                picture = np.asarray(file.convert("RGB")).transpose(2, 0, 1)[None] / 255
        except (UnidentifiedImageError, OSError) as error:
            raise DataError(f"the picture cannot be read: {error}", where=str(path)) from None
        images.append(resize_and_crop(with_channels(picture, channels), height, width))
        parent = path.relative_to(root).parts[0]
        labels.append(classes.index(parent) if parent in classes else 0)
    return Dataset(
        f"images:{folder}",
        request.split,
        normalised(np.concatenate(images), IMAGENET),
        np.asarray(labels, np.int64),
        classes,
        "the user's own",
    )
