"""What a dataset is: images with what is true of them, a request for some of them, and how a plugin offers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench import registry
from cnnbench.errors import DataError
from cnnbench.spec.content import content_digest
from cnnbench.spec.layers import Shape
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, normalised, with their labels and whatever else is true of them.

    Args:
        name, split: What it is.
        images: (N, C, *spatial) float32. labels: (N,) int64.
        classes: The names of the classes, in the order of the labels.
        licence: Whose it is, and under which licence.
        truth: Arrays whose first axis is the image, empty for classifiers: ``boxes`` (N, M, 4) float32, the corners x1,
            y1, x2, y2 in pixels; ``box_classes`` (N, M) int64, -1 where there is no box; ``masks`` (N, M, H, W) uint8
            of 0 and 1; ``segmentation`` (N, H, W) int64; ``keypoints`` (N, P, K, 3) float32, x, y and visibility (0 not
            labelled, 1 hidden, 2 visible); ``captions`` (N, T) int64, words with 0 as end and padding. Rows of one
            image describe the same object in each array.
        names: What the entries of a truth are called: the vocabulary of ``captions`` (word 0 is the end), the classes
            of ``segmentation``, the points of ``keypoints``.
        limbs: Pairs of keypoints between which a limb is drawn.

    Raises:
        DataError: A truth for another number of images, or a label that is the number of no class.
    """

    name: str
    split: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    licence: str
    truth: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limbs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name, values in (("images", self.images), *self.truth.items()):
            if len(values) != len(self.labels):
                raise DataError(
                    f"{name} and labels differ in number", where=self.name, received=(len(values), len(self.labels))
                )

        wrong = (self.labels < 0) | (self.labels >= max(1, len(self.classes)))
        if wrong.any():
            first = int(wrong.argmax())
            raise DataError(
                f"the label of image {first} is the number of no class",
                where=self.name,
                received=int(self.labels[first]),
                expected=f"0 to {max(0, len(self.classes) - 1)}",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: NDArray[np.int64]) -> Dataset:
        """The images at these positions, in this order, with their labels and their truth."""
        truth = {name: values[positions] for name, values in self.truth.items()}
        return replace(self, images=self.images[positions], labels=self.labels[positions], truth=truth)


@dataclass(frozen=True)
class DataRequest:
    """What is wanted of a dataset.

    Args:
        split: ``train`` or ``test``, as the plugin has it.
        image: The shape (C, *spatial) to which images are brought.
        limit: At most so many images, chosen by the seed; None for all in their order.
        seed: Of that choice.
    """

    split: str
    image: Shape
    limit: int | None = None
    seed: int = 0

    def choose(self, count: int) -> NDArray[np.int64]:
        """The positions of the wanted images among ``count``."""
        import numpy as np

        if self.limit is None:
            return np.arange(count)
        return stream(self.seed, "images", self.split).permutation(count)[: self.limit]


def always_available() -> str | None:
    """The reason why a dataset that every installation has is not here: none."""
    return None


@dataclass(frozen=True)
class DatasetPlugin:
    """A dataset that is loaded when used.

    Args:
        name: What suites call it.
        description: One line.
        splits: What ``load`` takes as split, the one for inputs of timed cells last.
        load: The dataset for a request.
        unavailable: Why it cannot be loaded here, or None.
        files: The files and folders that it is read from; () where a package brings it, or nothing does.
    """

    name: str
    description: str
    splits: tuple[str, ...]
    load: Callable[[DataRequest], Dataset]
    unavailable: Callable[[], str | None] = always_available
    files: tuple[Path, ...] = ()

    @property
    def lack(self) -> str | None:
        """Why it cannot be loaded here, or None; where asking raises, that is why."""
        reasons: list[str | None] = []
        with registry.guarded(reasons.append):
            reasons.append(self.unavailable())
        return reasons[0]

    @property
    def files_digest(self) -> str:
        """A digest of its files by name, size and time, so that it is quick; "" where it has none."""
        inside = sorted(path for item in self.files for path in (item, *item.rglob("*")))
        found = [(path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in inside if path.is_file()]
        return content_digest(found) if self.files else ""
