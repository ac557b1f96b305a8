"""Initial weights by the data: each layer scaled until its outputs for a batch have variance 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.errors import DataError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Graph
from cnnbench.spec.initializers import initialize_as, kernel_nodes
from cnnbench.spec.passes import lower
from cnnbench.spec.weights import split_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

TOLERANCE = 0.1
MOST_STEPS = 10


def unit_variances(graph: Graph, seed: int, batch: Mapping[str, Array], backend: Backend) -> dict[str, Array]:
    """Layer-sequential unit variance: orthonormal kernels, each divided by the standard deviation of its outputs.

    Layers are taken in the order of the graph. Norms compute with their initial statistics, as in inference.

    Args:
        graph: The network.
        seed: Of the orthonormal kernels.
        batch: Its inputs by name.
        backend: Who computes, in its default mode, in float32.

    Raises:
        DataError: The outputs of a layer do not vary.

    Source: Mishkin, Matas (2015), arXiv:1511.06422, algorithm 1.
    """
    lowered = lower(graph)
    arrays = initialize_as(graph, seed, "orthogonal")
    options = ProgramOptions(backend.capabilities().modes[0], precision("float32"))
    for name in kernel_nodes(lowered):
        program = backend.compile_forward(lowered.prefix((name,)), options)
        operands = None
        for _ in range(MOST_STEPS):
            program.load(*split_state(lowered.prefix((name,)), arrays))
            operands = operands or program.upload({item.name: batch[item.name] for item in lowered.inputs})
            found = program.download(program.run(operands)).outputs[name]
            variance = float(np.asarray(found, np.float64).var())
            if not (math.isfinite(variance) and variance > 0):
                raise DataError("the outputs of a layer do not vary over the images", where=name, received=variance)
            if abs(variance - 1) < TOLERANCE:
                break
            key = f"{name}.weight"
            arrays[key] = (arrays[key] / math.sqrt(variance)).astype(np.float32)
    return arrays
