"""Datasets by name: what one is, how plugins offer it, and the inputs that timed cells and checks take from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError, UnavailableError, did_you_mean
from cnnbench.spec.layers import Shape
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, normalised.

    Args:
        name, split: What it is.
        images: (N, C, *spatial) float32. labels: (N,) int64.
        classes: The names of the classes, in the order of the labels.
        licence: Whose it is, and under which licence.
    """

    name: str
    split: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    licence: str

    def __len__(self) -> int:
        return len(self.labels)


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
    """

    name: str
    description: str
    splits: tuple[str, ...]
    load: Callable[[DataRequest], Dataset]
    unavailable: Callable[[], str | None] = always_available


def datasets() -> dict[str, DatasetPlugin]:
    """Every registered dataset by name, available or not."""
    from cnnbench.plugins import gathered

    found: dict[str, DatasetPlugin] = {}
    for item in (item for group in gathered("cnnbench_datasets", DatasetPlugin) for item in group):
        if item.name in found:
            raise DataError(f"dataset {item.name!r} is registered twice")
        found[item.name] = item
    return dict(sorted(found.items()))


def dataset(name: str) -> DatasetPlugin:
    """The dataset of that name, or of files: ``idx:``, ``cifar10:``, ``cifar100:`` or ``images:`` before a folder.

    Raises:
        UnavailableError: There is none of that name; with the nearest one.
    """
    kind, colon, path = name.partition(":")
    if colon:
        from cnnbench.training.datasets.files import from_files

        return from_files(kind, path)
    known = datasets()
    if name not in known:
        raise UnavailableError(f"unknown dataset {name!r}", remedy=did_you_mean(name, known))
    return known[name]


def load_dataset(name: str, request: DataRequest) -> Dataset:
    """Loads a dataset. Raises UnavailableError with the reason, DataError for a split that it does not have."""
    plugin = dataset(name)
    reason = plugin.unavailable()
    if reason is not None:
        raise UnavailableError(f"dataset {name!r} cannot be used: {reason}")
    if request.split not in plugin.splits:
        raise DataError(f"dataset {name!r} has no split {request.split!r}", expected=" or ".join(plugin.splits))
    return plugin.load(request)


def batch_of(name: str, image: Shape, batch: int, seed: int, *, input_name: str = "image") -> dict[str, NDArray[Any]]:
    """Inputs of a timed cell or a check: ``batch`` images of a dataset, and their labels as ``targets``.

    The images are chosen by the seed; where the dataset has fewer they come again.
    """
    import numpy as np

    split = dataset(name).splits[-1]
    found = load_dataset(name, DataRequest(split, image, limit=batch, seed=seed))
    again = np.arange(batch) % len(found)
    return {input_name: found.images[again], "targets": found.labels[again]}
