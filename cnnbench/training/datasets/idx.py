"""MNIST's file format (IDX), and the datasets that come in it."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.errors import DataError
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets.pictures import Moments, fitted, require_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The third byte of the magic number names the type of the elements.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
STEMS = {"train": "train", "test": "t10k"}
FASHION = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_idx(path: Path) -> NDArray[Any]:
    """The array of an IDX file, gzip-compressed or not. Raises DataError where it is not one.

    Source: LeCun, Cortes, Burges, the description of the format on the MNIST page: two zero bytes, a type, the number
    of axes, one big-endian size each, then the elements in row-major order.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be read: {error}", where=str(path)) from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise DataError("not an IDX file", where=str(path), received=content[:4].hex(), expected="0000, a type, a rank")
    rank = content[3]
    head = 4 + 4 * rank
    if len(content) < head:
        raise DataError("the IDX file is cut short", where=str(path), received=f"{len(content)} bytes")
    shape = struct.unpack(f">{rank}I", content[4:head])
    dtype = np.dtype(TYPES[content[2]])
    expected = head + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(
            "the IDX file has another length than its header says",
            where=str(path),
            received=f"{len(content)} bytes",
            expected=f"{expected} for shape {shape}",
        )
    return np.frombuffer(content, dtype, offset=head).reshape(shape)


def missing(folder: Path) -> str | None:
    """Which file of a folder is not there, or None."""
    for stem in STEMS.values():
        for name in (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"):
            if not any((folder / f"{name}{suffix}").is_file() for suffix in ("", ".gz")):
                return f"{(folder / name).absolute()} does not exist"
    return None


def _read(folder: Path, name: str, rank: int = 3) -> NDArray[Any]:
    """Bytes of so many axes. Raises DataError where the file holds something else, or nothing."""
    plain = folder / name
    path = plain if plain.is_file() else folder / f"{name}.gz"
    found = read_idx(path)
    if found.dtype != np.uint8 or found.ndim != rank or not found.size:
        received, expected = f"{found.dtype} {found.shape}", f"uint8 of {rank} axes, one element at least"
        raise DataError("the IDX file holds something else", where=str(path), received=received, expected=expected)
    return found


def load_folder(
    folder: Path, request: DataRequest, *, name: str = "idx", classes: tuple[str, ...] = (), licence: str = "unknown"
) -> Dataset:
    """One split of a folder with MNIST's four files, normalised by the mean and deviation of its training images.

    Args:
        folder: With the files, compressed or not.
        request: The split, its image shape and how many.
        name: The dataset's.
        classes: Their names; numbers where there are none.
        licence: Of the pictures.
    """
    require_picture(request.image, name)
    stem = STEMS[request.split]
    train = _read(folder, f"{STEMS['train']}-images-idx3-ubyte")[:, None]
    pictures = train if request.split == "train" else _read(folder, f"{stem}-images-idx3-ubyte")[:, None]
    labels = _read(folder, f"{stem}-labels-idx1-ubyte", 1)
    if len(pictures) != len(labels):
        raise DataError("images and labels differ in number", where=str(folder), received=(len(pictures), len(labels)))
    chosen = request.choose(len(labels))
    images = fitted(pictures[chosen], request.image, Moments.of(train))
    known = classes or tuple(str(label) for label in range(int(labels.max(initial=0)) + 1))
    return Dataset(name, request.split, images, labels[chosen].astype(np.int64), known, licence)


def load_fashion(request: DataRequest) -> Dataset:
    """Fashion-MNIST as Debian packages it."""
    licence = "Xiao, Rasul, Vollgraf, Fashion-MNIST (2017), MIT"
    return load_folder(FASHION, request, name="fashion_mnist", classes=FASHION_CLASSES, licence=licence)


def fashion_unavailable() -> str | None:
    """Why Fashion-MNIST is not here, or None."""
    reason = missing(FASHION)
    return f"{reason} (Debian package dataset-fashion-mnist, or data: idx:FOLDER)" if reason else None


FASHION_MNIST = DatasetPlugin(
    "fashion_mnist",
    "70,000 pictures of clothes, 28 x 28",
    ("train", "test"),
    load_fashion,
    fashion_unavailable,
    (FASHION,),
)
