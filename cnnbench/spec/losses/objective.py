"""Puts a loss into a network's graph: what it compares with becomes inputs, and the main output is the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.graph import Builder, Graph, Input, Node, is_within
from cnnbench.spec.losses.base import Loss, LossTarget
from cnnbench.spec.losses.main_output import Objective

SCOPE = "objective"  # of the nodes that a loss adds


def objective_graph(graph: Graph, loss: Loss) -> Graph:
    """The network with a loss as its last layers: outputs ``loss``, a scalar, and the loss' named terms.

    The network is the one that the loss trains (``Loss.network``). What the loss compares with are further inputs.
    One that the network already has under that name (the image that an autoencoder is to give back, the noise that a
    denoiser is to find) is that input. Layers that the loss does not need are left out; the nodes of the loss are
    named ``objective...``. A graph with the loss ``Objective`` stays as it is.

    Args:
        graph: The network.
        loss: Any loss.

    Raises:
        SpecError: The network lacks an output, one has another shape than the loss needs, or a name is taken.
    """
    if isinstance(loss, Objective):
        return graph
    graph = loss.network(graph)
    values, names, targets = dict(graph.outputs), _known(graph, loss), loss_targets(graph, loss)
    added = loss_alone(graph, loss)
    given = {f"{SCOPE}_{i}": values[name] for i, name in enumerate(names)}
    kept = graph.prefix(tuple(dict.fromkeys(given.values()))).nodes
    _require_free(graph, kept, targets)
    nodes = tuple(replace(node, inputs=tuple(given.get(value, value) for value in node.inputs)) for node in added.nodes)
    inputs = (*graph.inputs, *(_as_input(target) for target in new_targets(graph, targets)))
    return Graph(f"{graph.name} with {loss.kind}", inputs, (*kept, *nodes), added.outputs)


def loss_alone(graph: Graph, loss: Loss, batch: int = 1) -> Graph:
    """The loss without its network: on inputs ``objective_0`` ... for the outputs that it reads, and on its targets.

    Args:
        graph: The network.
        loss: The loss.
        batch: Images.
    """
    graph = loss.network(graph)
    builder = Builder(f"{graph.name}: loss {loss.kind}")
    values, shapes = dict(graph.outputs), graph.shapes(batch)
    outputs = {
        name: builder.input(f"{SCOPE}_{i}", shapes[values[name]], dtype=graph.dtypes[values[name]], batched=False)
        for i, name in enumerate(_known(graph, loss))
    }
    wanted = {
        target.name: builder.input(target.name, target.full_shape(batch), dtype=target.dtype, batched=False)
        for target in loss_targets(graph, loss)
    }
    with builder.scope(SCOPE):
        terms = loss.terms(builder, outputs, wanted)
    if terms["loss"].shape != ():
        raise SpecError("a loss is a scalar", where=builder.name, received=terms["loss"].shape, expected=())
    return builder.build(terms)


def loss_targets(graph: Graph, loss: Loss) -> tuple[LossTarget, ...]:
    """What a loss compares a network's outputs with, whether or not the network has it as an input."""
    graph = loss.network(graph)
    values, shapes = dict(graph.outputs), graph.shapes()
    return loss.targets({name: shapes[values[name]] for name in _known(graph, loss)})


def new_targets(graph: Graph, targets: tuple[LossTarget, ...]) -> tuple[LossTarget, ...]:
    """Those that are no inputs of the network itself."""
    known = {item.name for item in graph.inputs}
    return tuple(target for target in targets if target.name not in known)


def draw_loss_targets(graph: Graph, loss: Loss, generator: Any, batch: int) -> Mapping[str, Any]:
    """Values for the inputs that ``objective_graph`` adds, from a NumPy generator.

    Args:
        graph: The network, without the loss.
        loss: The loss.
        generator: Of NumPy.
        batch: Images.
    """
    return {
        target.name: target.draw(generator, target.full_shape(batch))
        for target in (*loss.network_inputs(graph), *new_targets(graph, loss_targets(graph, loss)))
    }


def _known(graph: Graph, loss: Loss) -> tuple[str, ...]:
    names, there = tuple(dict.fromkeys(loss.reads(graph))), dict(graph.outputs)
    for name in names:
        if name not in there:
            raise SpecError(
                f"the loss {loss.kind!r} reads the output {name!r}, which the network does not have",
                where=graph.name,
                received=", ".join(there),
                remedy=did_you_mean(name, there),
            )
    if not names:
        raise SpecError(
            f"the network has no output that the loss {loss.kind!r} reads",
            where=graph.name,
            received=", ".join(there),
        )
    return names


def _require_free(graph: Graph, nodes: tuple[Node, ...], targets: tuple[LossTarget, ...]) -> None:
    """Raises SpecError where a name of the loss means something else in the network already."""
    known = {item.name: item for item in graph.inputs}
    taken = {node.name for node in nodes}
    for name in taken | set(known):
        if is_within(name, SCOPE):
            raise SpecError(f"the name {name!r} is kept for the loss", where=graph.name)
    for target in targets:
        if target.name in taken:
            raise SpecError(f"a layer has the name of the loss' target {target.name!r}", where=graph.name)
        if target.name in known and _as_input(target) != known[target.name]:
            raise SpecError(
                f"the network's input {target.name!r} is not what the loss compares with",
                where=graph.name,
                received=f"{known[target.name].dtype} {known[target.name].shape}",
                expected=f"{target.dtype} {target.shape}",
            )


def _as_input(target: LossTarget) -> Input:
    return Input(target.name, target.shape, target.dtype, target.batched)
