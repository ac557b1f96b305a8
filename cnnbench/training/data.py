"""Datasets by name, and the inputs that timed cells and checks take from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnbench import registry
from cnnbench.errors import DataError, UnavailableError, did_you_mean
from cnnbench.spec.layers import Shape
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin

if TYPE_CHECKING:
    from numpy.typing import NDArray


def datasets() -> dict[str, DatasetPlugin]:
    """Every registered dataset by name, available or not."""
    return dict(sorted(registry.offered("cnnbench_datasets", DatasetPlugin).items()))


def dataset(name: str) -> DatasetPlugin:
    """A dataset by its name, or of files: ``idx:``, ``cifar10:``, ``cifar100:``, ``coco:`` or ``images:`` and a path.

    Raises:
        UnavailableError: There is none of that name; with the nearest one.
    """
    kind, colon, path = name.partition(":")
    if colon:
        from cnnbench.training.datasets.files import from_files  # with NumPy, which a plan does not need

        return from_files(kind, path)
    known = datasets()
    if name not in known:
        raise UnavailableError(f"unknown dataset {name!r}", remedy=did_you_mean(name, known))
    return known[name]


def load_dataset(name: str, request: DataRequest) -> Dataset:
    """Loads a dataset. Raises UnavailableError with the reason, DataError for a split that it does not have."""
    plugin = dataset(name)
    reason = plugin.lack
    if reason is not None:
        raise UnavailableError(f"dataset {name!r} cannot be used: {reason}")
    if request.split not in plugin.splits:
        raise DataError(f"dataset {name!r} has no split {request.split!r}", expected=" or ".join(plugin.splits))
    return plugin.load(request)


def batch_of(name: str, image: Shape, batch: int, seed: int, *, input_name: str = "image") -> dict[str, NDArray[Any]]:
    """Inputs of a timed cell or a check: images of a dataset, chosen by the seed, and their labels as ``targets``.

    Args:
        name: The dataset's.
        image: (C, *spatial) that the network takes.
        batch: Images; where the dataset has fewer they come again.
        seed: Of the choice.
        input_name: Of the network's input.
    """
    import numpy as np

    split = dataset(name).splits[-1]
    found = load_dataset(name, DataRequest(split, image, limit=batch, seed=seed))
    again = found.take(np.arange(batch) % len(found))
    return {input_name: again.images, "targets": again.labels}
