"""Compares a network with the configuration of a file of Keras: what is the same, in which order, and what is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from cnnbench.spec.equality.comparison import NetworkComparison, compare
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.interchange.keras_builder import NotTranslatedError, build_keras, channels_move
from cnnbench.spec.interchange.keras_config import KerasModel
from cnnbench.spec.interchange.keras_layers import translation
from cnnbench.spec.layers.shape import Transpose
from cnnbench.spec.passes.lowering import lower

_AT_THE_END = ("softmax", "sigmoid")  # of which networks here give what goes in


@dataclass(frozen=True)
class Checked:
    """A comparison with a file's configuration.

    Args:
        comparison: What differs, and in which order inputs stand.
        notes: What is as well to know.
    """

    comparison: NetworkComparison
    notes: tuple[str, ...] = ()


def check_model(graph: Graph, model: KerasModel, nodes: Mapping[str, str]) -> Checked:
    """The comparison that finds the fewest differences, over what the axes of the inputs may be.

    Args:
        graph: Our network.
        model: The file's configuration.
        nodes: Our node by what the file's arrays are called, without their last part.
    """
    model = _with_inputs_as(graph, model)
    images = any("Conv" in layer.cls or "Pool" in layer.cls for layer in model.every_layer())
    images = images and not any(layer.config.get("data_format") == "channels_first" for layer in model.every_layer())
    shapes = model.input_shapes()
    stated = len(shapes) == len(graph.inputs)
    choices = [channels_move(item.shape, shapes[i] if stated else None, images) for i, item in enumerate(graph.inputs)]
    best: Checked | None = None
    reason = ""
    for last in product(*choices):
        try:
            theirs, aside = build_keras(model, graph, nodes, last, translation)
        except NotTranslatedError as error:
            reason = reason or str(error)
            continue
        found = _check(graph, theirs, moves=any(last))
        if aside:
            note = f"left aside: {', '.join(aside)}; prepare the images as those layers do"
            found = replace(found, notes=(note, *found.notes))
        if best is None or len(found.comparison.differences) < len(best.comparison.differences):
            best = found
        if not best.comparison.differences:
            break
    return best or _not_compared(graph, model, nodes, reason)


def _not_compared(graph: Graph, model: KerasModel, nodes: Mapping[str, str], reason: str) -> Checked:
    """What is known all the same, for those who accept the difference."""
    found = assumed_orders(graph).comparison
    found.differences.append(f"the file's network cannot be compared: {reason}")
    for layer in model.every_layer():
        if layer.name in nodes and isinstance(layer.config.get("epsilon"), float):
            found.epsilons[nodes[layer.name]] = layer.config["epsilon"]
    return Checked(found)


def _with_inputs_as(graph: Graph, model: KerasModel) -> KerasModel:
    """The model with its inputs in our order where they have our names."""
    by_name = {tensor[0]: tensor for tensor in model.inputs}
    names = [item.name for item in graph.inputs]
    return replace(model, inputs=tuple(by_name[name] for name in names)) if {*names} == {*by_name} else model


def _check(graph: Graph, theirs: Graph, *, moves: bool) -> Checked:
    """Of networks with more outputs than the file's (auxiliary classifiers) the first ones count.

    Args:
        graph: Our network.
        theirs: The file's.
        moves: Whether its images have their channels last and ours have not: its outputs too, then.
    """
    notes = []
    ours = lower(graph)
    kept = ours.outputs[: len(theirs.outputs)]
    ours = replace(ours.prefix([value for _, value in kept]), outputs=kept)
    outputs = []
    for i, (name, value) in enumerate(theirs.outputs):
        node = next((node for node in theirs.nodes if node.name == value), None)
        own = next((item for item in ours.nodes if i < len(kept) and item.name == kept[i][1]), None)
        if node is not None and node.layer.kind in _AT_THE_END and (own is None or own.layer.kind != node.layer.kind):
            notes.append(f"the file's network ends with a {node.layer.kind}, which is left to whoever reads the output")
            value = node.inputs[0]
        rank = len(theirs.shapes()[value])
        if moves and rank > 2:
            turned = Node(f"{name}.channels_first", Transpose(permutation=(0, rank - 1, *range(1, rank - 1))), (value,))
            theirs, value = replace(theirs, nodes=(*theirs.nodes, turned)), turned.name
        outputs.append((name, value))
    found = compare(ours, replace(theirs, outputs=tuple(outputs)))
    if len(theirs.outputs) > len(ours.outputs):
        found.differences.append(f"the file's network has {len(theirs.outputs)} outputs, here {len(ours.outputs)}")
    training = {text: found.training.count(text) for text in found.training}
    notes += [f"in training only: {text} ({count} nodes)" for text, count in training.items()]
    return Checked(found, tuple(notes))


def assumed_orders(graph: Graph) -> Checked:
    """The orders of inputs where Keras' network is ours but for its channels, which stand last where it flattens.

    Args:
        graph: Our network.
    """
    ours = lower(graph)
    shapes = ours.shapes()
    nodes: list[Node] = []
    for node in ours.nodes:
        rank = len(shapes[node.inputs[0]]) if node.inputs else 0
        flattens = node.layer.kind in ("flatten", "reshape") and len(shapes[node.name]) == 2
        if flattens and rank > 2 and not _is_turned(ours, node.inputs[0]):
            turned = Node(f"{node.name}.channels_last", Transpose(permutation=(0, *range(2, rank), 1)), node.inputs)
            nodes.append(turned)
            node = replace(node, inputs=(turned.name,))
        nodes.append(node)
    orders = compare(ours, replace(ours, nodes=tuple(nodes))).orders
    note = f"taken as flattened with the channels last, as Keras has them: the inputs of {', '.join(orders)}"
    return Checked(NetworkComparison(orders=orders), (note,) if orders else ())


def _is_turned(graph: Graph, value: str) -> bool:
    """Whether a value is one whose axes the network puts in another order itself."""
    return any(node.name == value and node.layer.kind == "transpose" for node in graph.nodes)
