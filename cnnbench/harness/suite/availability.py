"""What can be used here: backends, devices, layouts, weights and datasets, and why something cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cnnbench.execution.contract import BackendPlugin, Device
from cnnbench.harness.suite.networks import fixed_batch, weights_file
from cnnbench.harness.suite.points import Point
from cnnbench.porting.native import lacks_meaning, lacks_program


class Availability:
    """What is here, asked for once a plan.

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

    def skip(self, point: Point, training_data: Iterable[str] = ()) -> str | None:
        """Why a point cannot run here, as far as is known without importing a framework.

        Args:
            point: Of the matrix.
            training_data: The datasets that its training needs.
        """
        plugin = self.plugins[point.backend]
        if (reason := self._unavailable.get(point.backend)) is not None:
            return reason
        if point.precision not in plugin.precisions.get(point.mode, ()):
            return f"{point.backend} has no {point.precision} in mode {point.mode}"
        if Device.read(point.device).kind not in plugin.devices:
            return f"{point.backend} has no device {point.device}"
        if (reason := missing_device(point.device)) is not None:
            return reason
        if point.layout != "auto" and point.layout not in plugin.layouts:
            return f"{point.backend} has no layout {point.layout}"
        if point.mode in plugin.native_modes and (reason := _no_native(point, plugin)) is not None:
            return reason
        if point.weights is not None and weights_file(point.weights) is None:
            return f"the weights {point.weights} are not here"
        if (batch := fixed_batch(point.architecture, point.image)) not in (None, point.batch):
            return f"the model fixes its batch at {batch}; one with an open batch takes others"
        return next(
            (reason for name in (point.data, *training_data) if (reason := self._missing_dataset(name)) is not None),
            None,
        )

    def _missing_dataset(self, data: str) -> str | None:
        from cnnbench.training.data import dataset

        if data not in self._missing_data:
            reason = dataset(data).lack
            self._missing_data[data] = None if reason is None else f"dataset {data!r}: {reason}"
        return self._missing_data[data]


def _no_native(point: Point, plugin: BackendPlugin) -> str | None:
    """Why the user's own program cannot be run for a point."""
    asked = {
        "weights": point.weights is not None,
        "layout": point.layout != "auto",
        "fold_batch_norm": point.fold_batch_norm,
    }
    return lacks_meaning(point.mode, asked) or lacks_program(point.architecture, plugin, point.image)


def missing_device(device: str) -> str | None:
    """Why this machine has no such device, as the driver says."""
    from cnnbench.measurement.accelerators import cuda_devices

    kind, index = Device.read(device)
    if kind != "cuda" or index < cuda_devices():
        return None
    return f"no device {device} here: the driver shows {cuda_devices()} CUDA devices"
