"""The points of a suite's matrix: the product of its axes, less what is excluded."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import NamedTuple

from cnnbench.errors import CnnbenchError, SuiteError
from cnnbench.execution.contract import BackendPlugin
from cnnbench.harness.suite.matrix import Axes, Exclusion
from cnnbench.harness.suite.networks import default_image, network

MOST_CELLS = 100_000


class Point(NamedTuple):
    """One point of the matrix: with the seed, what its cell's key digests."""

    architecture: str
    image: tuple[int, ...]
    num_classes: int | None
    batch: int
    precision: str
    device: str
    threads: int | None
    data: str
    backend: str
    mode: str
    layout: str
    fold_batch_norm: bool
    weights: str | None

    def work(self) -> tuple[object, ...]:
        """Everything but the backend and its options."""
        return (*self[: self._fields.index("backend")], self.weights)


def points(axes: Axes, where: str, plugins: dict[str, BackendPlugin]) -> Iterator[Point]:
    """The product of the axes; the backend varies fastest, so that a comparison group stands together.

    Args:
        axes: Of one block of the matrix, or of an entry that it includes.
        where: What errors call that block.
        plugins: The backends by name.

    Raises:
        SuiteError: A network that cannot be built for an image.
    """
    series = [
        (choice, mode) for choice in axes.backends or () for mode in choice.mode or plugins[choice.name].modes[:1]
    ]
    for architecture, image in product(axes.architectures or (), axes.image or ((),)):
        shape = _image(architecture, image, axes.num_classes, where)
        rest = product(
            axes.batch or (1,), axes.precision or ("float32",), axes.device or ("cpu",), axes.threads or (None,), series
        )
        for batch, precision, device, threads, (choice, mode) in rest:
            yield Point(
                architecture=architecture,
                image=shape,
                num_classes=axes.num_classes,
                batch=batch,
                precision=precision,
                device=device,
                threads=threads,
                data=axes.data or "random",
                backend=choice.name,
                mode=mode,
                layout=choice.layout,
                fold_batch_norm=choice.fold_batch_norm,
                weights=axes.weights,
            )


def count_points(axes: Axes, plugins: dict[str, BackendPlugin]) -> int:
    """How many points ``points`` would give, without making one."""
    series = sum(len(choice.mode or plugins[choice.name].modes[:1]) for choice in axes.backends or ())
    lengths = (len(axes.architectures or ()), series)
    optional = (axes.image, axes.batch, axes.precision, axes.device, axes.threads)
    return prod(lengths) * prod(len(values) if values else 1 for values in optional)


def _image(architecture: str, image: tuple[int, ...], num_classes: int | None, where: str) -> tuple[int, ...]:
    """The whole image shape, proven to fit by building the network (once for each shape)."""
    try:
        own = default_image(architecture)
        shape = _whole(image, own) if image else own
        network(architecture, shape, num_classes)
    except CnnbenchError as error:
        raise SuiteError(
            error.message,
            where=f"{where}.architectures: {error.where or architecture}",
            received=error.received,
            expected=error.expected,
            remedy=error.remedy,
        ) from None
    return shape


def _whole(image: tuple[int, ...], own: tuple[int, ...]) -> tuple[int, ...]:
    """(side,) as (C, side, side) with the architecture's own channels and number of axes."""
    return image if len(image) > 1 else (own[0], *image * (len(own) - 1))


def matches(point: Point, exclusion: Exclusion) -> bool:
    """Whether an exclusion means this point."""
    given = {name: value for name in Exclusion.model_fields if (value := getattr(exclusion, name)) is not None}
    images = given.pop("image", None)
    if images is not None and point.image not in [_whole(image, point.image) for image in images]:
        return False
    return all(getattr(point, name) in values for name, values in given.items())
