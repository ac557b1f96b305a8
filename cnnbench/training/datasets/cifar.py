"""The binary files of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnbench.errors import DataError
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.datasets.pictures import Moments, fitted, require_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS = 3 * 32 * 32
LICENCE = "Krizhevsky, Learning multiple layers of features from tiny images (2009); no licence stated"


class Form(NamedTuple):
    """Files of each split, label bytes a picture (the last one counts), the file of class names, and their number."""

    files: dict[str, tuple[str, ...]]
    label_bytes: int
    names: str
    classes: int


FORMS = {
    "cifar10": Form(
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        1,
        "batches.meta.txt",
        10,
    ),
    "cifar100": Form({"train": ("train.bin",), "test": ("test.bin",)}, 2, "fine_label_names.txt", 100),
}


def missing(folder: Path, form: Form) -> str | None:
    """Which file of a folder is not there, or None."""
    names = [name for group in form.files.values() for name in group]
    gone = [name for name in names if not (folder / name).is_file()]
    return f"{(folder / gone[0]).absolute()} does not exist" if gone else None


def read_records(paths: list[Path], label_bytes: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(pictures (N, 3, 32, 32) of bytes, labels) of binary files. Raises DataError where a length does not fit.

    Source: the description of the binary version on the CIFAR page: label bytes, then 1,024 red, green and blue
    bytes each, in row-major order.
    """
    size = label_bytes + PIXELS
    parts = []
    for path in paths:
        content = np.fromfile(path, np.uint8)
        if content.size == 0 or content.size % size:
            raise DataError(
                "not a CIFAR file", where=str(path), received=f"{content.size} bytes", expected=f"a multiple of {size}"
            )
        parts.append(content.reshape(-1, size))
    records = np.concatenate(parts)
    pictures = records[:, label_bytes:].reshape(-1, 3, 32, 32)
    return pictures, records[:, label_bytes - 1].astype(np.int64)


def load_folder(folder: Path, kind: str, request: DataRequest) -> Dataset:
    """One split, normalised by the mean and deviation of the training pictures.

    Args:
        folder: With the binary files.
        kind: ``cifar10`` or ``cifar100``.
        request: The split, its image shape and how many.
    """
    require_picture(request.image, kind)
    form = FORMS[kind]
    train, labels = read_records([folder / name for name in form.files["train"]], form.label_bytes)
    moments, pictures = Moments.of(train), train
    if request.split != "train":
        pictures, labels = read_records([folder / name for name in form.files[request.split]], form.label_bytes)
    chosen = request.choose(len(labels))
    images = fitted(pictures[chosen], request.image, moments)
    return Dataset(kind, request.split, images, labels[chosen], _classes(folder / form.names, form.classes), LICENCE)


def _classes(path: Path, count: int) -> tuple[str, ...]:
    """The names in the file where it is there and has as many, else numbers."""
    names: list[str] = []
    if path.is_file():
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.strip() for line in lines if line.strip()]
    return tuple(names) if len(names) == count else tuple(map(str, range(count)))
