"""The network of a region detector on one backend: warped crops in, features of each out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.execution.backends import backend_plugins, load_backend
from cnnbench.execution.compiled import ForwardProgram
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Graph
from cnnbench.spec.weights import split_state
from cnnbench.training.evaluation import outputs_of
from cnnbench.training.region_cnn.crops import warped
from cnnbench.training.region_cnn.stages import StageTimes

Array = NDArray[Any]
CLASSIFIED, REGRESSED = "features7", "features5"


@dataclass(frozen=True)
class RegionFeatures:
    """Of the regions of an image. Args: classified: (R, D) for classifiers. regressed: (R, E) for box regression."""

    classified: Array
    regressed: Array


@dataclass(frozen=True)
class RegionNetwork:
    """A loaded network of the family ``rcnn``.

    Args:
        graph: With outputs ``features7`` and ``features5``.
        program: Compiled and loaded.
        batch: Crops a call; the last call of an image is filled up.
    """

    graph: Graph
    program: ForwardProgram
    batch: int = 64

    def features(self, image: Array, boxes: Array, times: StageTimes) -> RegionFeatures:
        """Warps the regions and runs the network on each.

        Args:
            image: (C, H, W).
            boxes: (R, 4) in pixels, at least one.
            times: To which the stages ``warp`` and ``features`` are added.
        """
        item = self.graph.inputs[0]
        with times.stage("warp"):
            crops = warped(image, boxes, (item.shape[1], item.shape[2]))
        with times.stage("features"):
            found = outputs_of(self.program, item.name, crops, self.batch)
        times.crops += len(crops)
        times.calls += -(-len(crops) // self.batch)
        classified, regressed = (found[name].reshape(len(crops), -1) for name in (CLASSIFIED, REGRESSED))
        return RegionFeatures(np.asarray(classified, np.float64), np.asarray(regressed, np.float64))


def region_network(
    graph: Graph, arrays: Mapping[str, Array], backend: str = "numpy", *, batch: int = 64
) -> RegionNetwork:
    """Compiles and loads a network.

    Args:
        graph: Of the family ``rcnn``.
        arrays: Its weights.
        backend: The name of a backend, in its first mode.
        batch: Crops a call.

    Raises:
        SpecError: The network does not give the features.
    """
    missing = {CLASSIFIED, REGRESSED} - {name for name, _ in graph.outputs}
    if missing:
        raise SpecError(
            f"{graph.name} gives no {sorted(missing)[0]!r}", expected="a network of the family rcnn", where="network"
        )
    loaded = load_backend(backend)
    loaded.configure(ProcessSettings())
    chosen = backend_plugins()[backend].modes[0]
    program = loaded.compile_forward(graph, ProgramOptions(chosen, precision("float32")))
    program.load(*split_state(graph, arrays))
    return RegionNetwork(graph, program, batch)
