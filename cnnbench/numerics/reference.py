"""The NumPy reference in float64, one layer or one graph at a time, through the backend's own contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import cotangent_name
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Graph, Input, Node, value_names
from cnnbench.spec.layers import Dtypes, Layer, Shapes
from cnnbench.spec.weights import split_state

Array = NDArray[Any]
Arrays = tuple[Array, ...]


class LayerValues(NamedTuple):
    """What a layer gives: its outputs, and its running statistics after the call."""

    outputs: Arrays
    state: Arrays


class LayerGradients(NamedTuple):
    """Gradients with respect to a layer's inputs and weights; None for an input of integers and for a fixed weight."""

    inputs: tuple[Any, ...]
    weights: tuple[Array | None, ...]


@dataclass(frozen=True)
class LayerCall:
    """A layer with its operands: weights and state in the layer's order, masks for a training pass."""

    layer: Layer
    inputs: Arrays
    weights: Arrays = ()
    state: Arrays = ()
    masks: Arrays = ()
    training: bool = False


def reference_options(*, training: bool = False, name: str = "float64") -> ProgramOptions:
    """Reference mode in canonical layout, in float64 unless another precision is named."""
    return ProgramOptions("reference", precision(name), "channels_first", training=training)


@dataclass(frozen=True)
class Reference:
    """The reference backend and the questions that are asked of it."""

    backend: Backend

    @property
    def subject(self) -> InProcessSubject:
        """Whole graphs on the reference."""
        return InProcessSubject(self.backend)

    def forward(self, call: LayerCall) -> LayerValues:
        """The layer's outputs and state in float64."""
        graph, batch, arrays = alone(call)
        result = self.subject.forward(graph, arrays, batch, reference_options(training=call.training))
        return LayerValues(
            tuple(result.outputs[name] for name, _ in graph.outputs),
            tuple(result.state[spec.name] for spec in graph.named_state()),
        )

    def gradient(self, call: LayerCall, cotangents: Arrays) -> LayerGradients:
        """Gradients of sum <cotangent, output> in float64, one cotangent for each output that holds floats."""
        graph, batch, arrays = alone(call)
        options = reference_options(training=call.training)
        del call  # who made it for this alone need not keep it: of a large layer it is a gigabyte
        graph = graph.with_float_outputs()
        batch |= {cotangent_name(name): g for (name, _), g in zip(graph.outputs, cotangents, strict=True)}
        program = self.backend.compile_gradient(graph, options, None)
        program.load(*split_state(graph, arrays))
        del arrays
        result = program.download(program.run(program.upload(batch)))
        return LayerGradients(
            tuple(result.inputs.get(item.name) for item in graph.inputs),
            tuple(result.weights.get(spec.name) for spec in graph.named_weights()),
        )


def alone(call: LayerCall) -> tuple[Graph, dict[str, Array], dict[str, Array]]:
    """A graph of the layer alone, its batch and its arrays."""
    dtypes: Dtypes = tuple("int" if x.dtype.kind in "iu" else "float" for x in call.inputs)
    graph = _single(call.layer, tuple(tuple(x.shape) for x in call.inputs), dtypes)
    batch = {item.name: x for item, x in zip(graph.inputs, call.inputs, strict=True)}
    if call.training:
        batch |= {spec.name: m for spec, m in zip(graph.named_masks(), call.masks, strict=True)}
    specs = (*graph.named_weights(), *graph.named_state())
    return graph, batch, {spec.name: a for spec, a in zip(specs, (*call.weights, *call.state), strict=True)}


@lru_cache(maxsize=1024)
def _single(layer: Layer, shapes: Shapes, dtypes: Dtypes) -> Graph:
    inputs = tuple(
        Input(f"input{i}", shape, dtype, batched=False)
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
    )
    values = value_names("node", len(layer.output_shapes(shapes)))
    outputs = tuple((f"output{i}", value) for i, value in enumerate(values))
    return Graph(layer.kind, inputs, (Node("node", layer, tuple(item.name for item in inputs)),), outputs)


@cache
def reference() -> Reference:
    """The reference, loaded once; an instance of its own, so that a fault injected into another does not reach it."""
    return Reference(load_backend("numpy"))


def layer_arrays(graph: Graph, node: Node, arrays: Mapping[str, Array]) -> tuple[Arrays, Arrays]:
    """A node's weights and running statistics in its layer's order, in float64.

    Args:
        graph: The network.
        node: Of it.
        arrays: The network's weights and running statistics by full name.
    """
    shapes = graph.input_shapes(node)

    def wide(specs: Sequence[Any]) -> Arrays:
        return tuple(np.asarray(arrays[f"{node.owner}.{spec.name}"], np.float64) for spec in specs)

    return wide(node.layer.weights(shapes)), wide(node.layer.state(shapes))
