"""The points of a suite's matrix: their product, their ids and groups, and why one cannot run here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import NamedTuple

from cnnbench.errors import CnnbenchError, SuiteError
from cnnbench.execution.contract import BackendPlugin
from cnnbench.harness.suite.matrix import Axes, Exclusion
from cnnbench.harness.suite.networks import default_image, network, weights_file


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

    @property
    def group(self) -> str:
        """The comparison group."""
        parts = [network_label(self.architecture), f"b{self.batch}", _joined(self.image), self.precision]
        return "-".join([*parts, *self._unusual()])

    @property
    def id(self) -> str:
        """Readable and unique."""
        parts = [network_label(self.architecture), self.backend, self.mode]
        parts += [] if self.layout == "auto" else [self.layout]
        parts += ["folded"] if self.fold_batch_norm else []
        parts += [f"b{self.batch}", _joined(self.image), self.precision]
        return "-".join([*parts, *self._unusual()])

    def _unusual(self) -> list[str]:
        parts = [] if self.data == "random" else [_plain(self.data)]
        parts += [] if self.weights is None else ["trained"]
        parts += [] if self.num_classes is None else [f"c{self.num_classes}"]
        parts += [] if self.device == "cpu" else [self.device.replace(":", "")]
        return parts + ([] if self.threads is None else [f"t{self.threads}"])


def _joined(image: tuple[int, ...]) -> str:
    return "x".join(map(str, image))


def network_label(architecture: str) -> str:
    """The architecture's part of an id: the stem of a file's name."""
    return _plain(architecture.rpartition("/")[2].removeprefix("file:").partition(".")[0])


def _plain(text: str) -> str:
    """A name that may stand in an id, which names a folder too."""
    return re.sub(r"[^A-Za-z0-9_.]+", "_", text)


class Surroundings:
    """What is here: the backends, and which of them and of the datasets cannot be used; asked for once a plan.

    Args:
        unavailable: Why a backend cannot be used, by name, where that is not for this interpreter to say.
    """

    def __init__(self, unavailable: Mapping[str, str | None] | None = None) -> None:
        from cnnbench.execution.backends import backend_plugins

        self.plugins: dict[str, BackendPlugin] = backend_plugins()
        if unavailable is None:
            unavailable = {name: plugin.unavailable() for name, plugin in self.plugins.items()}
        self._unavailable = unavailable
        self._missing_data: dict[str, str | None] = {}

    def skip(self, point: Point, training_data: str | None) -> str | None:
        """Why a point cannot run here, as far as is known without importing a framework."""
        plugin = self.plugins[point.backend]
        if (reason := self._unavailable.get(point.backend)) is not None:
            return reason
        if point.precision not in plugin.precisions.get(point.mode, ()):
            return f"{point.backend} has no {point.precision} in mode {point.mode}"
        if point.device.partition(":")[0] not in plugin.devices:
            return f"{point.backend} has no device {point.device}"
        if (reason := _without_device(point.device)) is not None:
            return reason
        if point.layout != "auto" and point.layout not in plugin.layouts:
            return f"{point.backend} has no layout {point.layout}"
        if point.weights is not None and weights_file(point.weights) is None:
            return f"the weights {point.weights} are not here"
        needed = [point.data] if training_data is None else [point.data, training_data]
        return next((reason for name in needed if (reason := self._without(name)) is not None), None)

    def _without(self, data: str) -> str | None:
        """Why a dataset cannot be had."""
        from cnnbench.training.data import dataset

        if data not in self._missing_data:
            reason = dataset(data).unavailable()
            self._missing_data[data] = None if reason is None else f"dataset {data!r}: {reason}"
        return self._missing_data[data]


def _without_device(device: str) -> str | None:
    """Why this machine has no such device, as the driver says."""
    from cnnbench.measurement.accelerators import cuda_devices

    kind, _, index = device.partition(":")
    if kind != "cuda" or int(index or 0) < cuda_devices():
        return None
    return f"no device {device} here: the driver shows {cuda_devices()} CUDA devices"


def points(axes: Axes, where: str, plugins: dict[str, BackendPlugin]) -> Iterator[Point]:
    """The product of the axes; the backend varies fastest, so that a comparison group stands together.

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
