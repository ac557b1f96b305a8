"""What a network costs and sees: parameters, buffers, MACs, shapes and the receptive field, node by node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Graph, Node, value_names
from cnnbench.spec.layers import Shape, Shapes, WeightSpec
from cnnbench.spec.meanings import is_auxiliary, meaning_of

if TYPE_CHECKING:
    from cnnbench.spec.architectures import Architecture, Facts


@dataclass(frozen=True)
class NodeSummary:
    """One node.

    Args:
        name, kind, inputs: As in the graph.
        output_shape: Of its first output, for one image, without the batch axis.
        weights_of: The node whose weights it uses, None for its own.
        parameters: Trainable values. buffers: Values that are stored and not trained. Both are 0 where the node uses
            another's, which are counted there.
        macs: Multiply-accumulates of convolutions and linear layers for one image.
        macs_attention: Those of attention's products of activations, not in ``macs``.
        receptive_field: For each spatial axis, how many positions of the input lie from the first to the last that
            an output value can see, padding included; None where it sees all.
        fields: Of its layer, resolved: ``kernel_size``, ``stride``, ``padding``, ``groups``, ``eps`` ...
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    weights_of: str | None
    output_shape: Shape
    parameters: int
    buffers: int
    macs: int
    macs_attention: int
    receptive_field: Shape | None
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class NetworkSummary:
    """A network.

    Args:
        name: The graph's.
        inputs, outputs: Shapes for one image without the batch axis, by name, the main one first.
        parameters: Trainable values, auxiliary outputs included.
        parameters_inference: Trainable values that the outputs other than the auxiliary ones need.
        buffers: Running statistics and fixed weights, auxiliary outputs included.
        macs, macs_attention: For one image at inference, auxiliary outputs left out.
        nodes: In the graph's order.
    """

    name: str
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    parameters: int
    parameters_inference: int
    buffers: int
    macs: int
    macs_attention: int
    nodes: tuple[NodeSummary, ...]

    def to_json(self, architecture: Architecture | None = None) -> dict[str, Any]:
        """What ``show NAME --json`` prints: every key is always there.

        ``input`` and ``output`` are the main ones' shapes; ``source`` is null for a network that is not registered, and
        so is the meaning of an output whose name has none.
        """
        return {
            "name": self.name,
            "parameters": self.parameters,
            "parameters_inference": self.parameters_inference,
            "buffers": self.buffers,
            "macs": self.macs,
            "macs_attention": self.macs_attention,
            "input": list(next(iter(self.inputs.values()))),
            "output": list(next(iter(self.outputs.values()))),
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
            "outputs": {name: list(shape) for name, shape in self.outputs.items()},
            "meanings": {
                name: asdict(meaning) if (meaning := meaning_of(name)) is not None else None for name in self.outputs
            },
            "source": architecture.source if architecture is not None else None,
            "nodes": [_node_json(node) for node in self.nodes],
        }

    def contradictions(self, facts: Facts) -> list[str]:
        """What an architecture declares of itself and its graph, at the declared input's size, does not have."""
        declared = {
            "parameters": facts.parameters,
            "parameters_inference": facts.parameters_inference,
            "buffers": facts.buffers,
            "macs": facts.macs,
        }
        counted = {name: getattr(self, name) for name in declared}
        return [
            f"{self.name} declares {value:,} {name.replace('_', ' at ')} and has {counted[name]:,}"
            for name, value in declared.items()
            if value is not None and value != counted[name]
        ]


def _node_json(node: NodeSummary) -> dict[str, Any]:
    field = node.receptive_field
    return {
        "name": node.name,
        "kind": node.kind,
        "inputs": list(node.inputs),
        "weights_of": node.weights_of,
        "output_shape": list(node.output_shape),
        "parameters": node.parameters,
        "buffers": node.buffers,
        "macs": node.macs,
        "macs_attention": node.macs_attention,
        "receptive_field": list(field) if field is not None else None,
        "fields": dict(node.fields),
    }


def summarize(graph: Graph) -> NetworkSummary:
    """Counts and shapes of ``graph`` for one image."""
    shapes = graph.shapes()
    batched = {item.name for item in graph.inputs if item.batched}
    fields = receptive_fields(graph)
    nodes = tuple(_summarize_node(graph, node, fields[node.name]) for node in graph.nodes)
    at_inference = inference_part(graph)
    used = {node.name for node in at_inference.nodes}
    weights = graph.named_weights()
    return NetworkSummary(
        name=graph.name,
        inputs={item.name: item.shape for item in graph.inputs},
        outputs={name: shapes[value] if not batched else shapes[value][1:] for name, value in graph.outputs},
        parameters=_count(weights, trainable=True),
        parameters_inference=_count(at_inference.named_weights(), trainable=True),
        buffers=_count(weights, trainable=False) + _count(graph.named_state()),
        macs=sum(node.macs for node in nodes if node.name in used),
        macs_attention=sum(node.macs_attention for node in nodes if node.name in used),
        nodes=nodes,
    )


def _summarize_node(graph: Graph, node: Node, field: Field | None) -> NodeSummary:
    inputs, outputs = graph.input_shapes(node), graph.output_shapes(node)
    own = node.weights_of is None
    weights = node.layer.weights(inputs) if own else ()
    state = node.layer.state(inputs) if own else ()
    return NodeSummary(
        name=node.name,
        kind=node.layer.kind,
        inputs=node.inputs,
        weights_of=node.weights_of,
        output_shape=outputs[0][1:],
        parameters=_count(weights, trainable=True),
        buffers=_count(weights, trainable=False) + _count(state),
        macs=node.layer.macs(inputs, outputs),
        macs_attention=node.layer.macs_attention(inputs, outputs),
        receptive_field=field.extent if field is not None else None,
        fields=node.layer.fields(),
    )


def _count(specs: Sequence[WeightSpec], *, trainable: bool | None = None) -> int:
    return sum(math.prod(spec.shape) for spec in specs if trainable in (None, spec.trainable))


def inference_part(graph: Graph) -> Graph:
    """The part of ``graph`` that its outputs other than the auxiliary ones (named ``aux…``) need."""
    outputs = tuple((name, value) for name, value in graph.outputs if not is_auxiliary(name))
    if not outputs or len(outputs) == len(graph.outputs):
        return graph
    return replace(graph.prefix([value for _, value in outputs]), outputs=outputs)


class Field(NamedTuple):
    """The receptive field of a value, for each spatial axis.

    ``extent`` positions of the input lie between the first and the last that one position sees; neighbouring
    positions see the input ``jump`` positions apart.
    """

    extent: Shape
    jump: Shape


def receptive_fields(graph: Graph) -> dict[str, Field | None]:
    """The receptive field of every value, None where a value sees all of the input.

    A window of kernel k, stride s and dilation d on a value of extent r and jump j gives extent r + d (k - 1) j and
    jump s j; where paths merge, the widest counts.

    Source: Araujo, Norris, Sim, "Computing receptive fields of convolutional neural networks" (2019), section 2.
    """
    start = {item.name: Field((1,) * (len(item.shape) - 1), (1,) * (len(item.shape) - 1)) for item in graph.inputs}
    return _walk(graph, start)


def _walk(graph: Graph, start: Mapping[str, Field | None]) -> dict[str, Field | None]:
    fields: dict[str, Field | None] = dict(start)
    for node in graph.nodes:
        arriving = [fields[value] for value in node.inputs]
        inputs = graph.input_shapes(node)
        if isinstance(node.layer, Composite):
            leaving = _through_composite(node.layer, inputs, arriving)
        else:
            leaving = [_through(node, inputs, _merge(arriving))] * len(graph.output_shapes(node))
        fields.update(zip(value_names(node.name, len(leaving)), leaving, strict=True))
    return fields


def _through(node: Node, inputs: Shapes, field: Field | None) -> Field | None:
    if field is None or node.layer.is_global():
        return None
    window = node.layer.window_on(inputs)
    if window is None or len(window.kernel_size) != len(field.extent):
        return field
    axes = list(zip(field.extent, field.jump, *window, strict=True))
    extent = tuple(r + d * (k - 1) * j for r, j, k, _, d in axes)
    return Field(extent, tuple(j * s for _, j, _, s, _ in axes))


def _through_composite(layer: Composite, inputs: Shapes, arriving: Sequence[Field | None]) -> list[Field | None]:
    parts = layer.graph(inputs)
    inner = _walk(parts, {item.name: field for item, field in zip(parts.inputs, arriving, strict=True)})
    return [inner[value] for _, value in parts.outputs]


def _merge(fields: Sequence[Field | None]) -> Field | None:
    if None in fields:
        return None
    known = [field for field in fields if field is not None and field.extent]  # a parameter sees no position at all
    if not known:
        return Field((), ())
    if len({len(field.extent) for field in known}) != 1:
        return None
    extent = tuple(max(sizes) for sizes in zip(*(field.extent for field in known), strict=True))
    return Field(extent, tuple(max(jumps) for jumps in zip(*(field.jump for field in known), strict=True)))
