"""Changes of whole programs: what is uploaded, fused, given back, kept from one run to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.faults.engine.programs import Loaded, Moment, ProgramChange, changed_programs
from cnnbench.numerics.faults.grammar.arrays import draw_array_change, one_wrong_batch
from cnnbench.numerics.faults.grammar.drawing import Chance, DrawnChange, Ground, signed
from cnnbench.numerics.faults.grammar.fields import FieldChange, changed_layer, layer_changes
from cnnbench.spec.graph import Graph, Node, producer
from cnnbench.spec.layers.arithmetic import Affine

if TYPE_CHECKING:
    from cnnbench.execution.host import HostResult

Array = NDArray[Any]
FORWARD = ("compile_forward",)


def draw_output(chance: Chance, ground: Ground) -> DrawnChange | None:
    """A program's main output, wrong after it was computed."""
    name, value = ground.graph.outputs[0]
    shape = ground.graph.shapes(ground.case.size)[value]
    if ground.graph.dtypes[value] != "float":
        return None
    change = draw_array_change(chance, shape)

    def outputs(found: HostResult, moment: Moment) -> HostResult:
        made = {n: change.of(a) if n == name else a for n, a in found.outputs.items()}
        return found._replace(outputs=made)

    nodes = frozenset({producer(value)})
    programs = changed_programs(ProgramChange(outputs=outputs), FORWARD)
    return DrawnChange(change.what, f"output {name} {change.text}", "program", nodes, programs=programs)


def draw_input(chance: Chance, ground: Ground) -> DrawnChange | None:
    """An input that is uploaded wrongly."""
    floats = [item for item in ground.graph.inputs if item.dtype == "float"]
    if not floats:
        return None
    item = chance.of(floats)
    change = draw_array_change(chance, item.full_shape(ground.case.size))
    nodes = frozenset({item.name, *(node.name for node in ground.graph.consumers()[item.name])})
    programs = changed_programs(ProgramChange(upload=one_wrong_batch(item.name, change)), FORWARD)
    return DrawnChange(change.what, f"input {item.name} {change.text}", "program", nodes, programs=programs)


def draw_fused(chance: Chance, ground: Ground) -> DrawnChange | None:
    """A node that is wrong only in a program that holds what it reads from, as a fused kernel is."""
    inputs = {item.name for item in ground.graph.inputs}
    inner = [node for node in ground.graph.nodes if node.inputs and not inputs & set(node.inputs)]
    if not inner:
        return None
    node = chance.of(inner)
    changes = layer_changes(ground.graph, node)
    if changes and chance.share() < 0.5:
        change = chance.of(changes)
        programs = changed_programs(_refitted(node, change))
        return DrawnChange("field", f"{node.name} fused: {change}", "fusion", frozenset({node.name}), programs=programs)
    if ground.graph.dtypes[node.inputs[0]] != "float":
        return None
    error = chance.error()
    factor, shift = (1 + error, 0.0) if chance.share() < 0.5 else (1.0, error)
    text = f"{node.name} fused: its first input {signed(error) + ' off' if shift == 0 else f'with {error:+g} added'}"
    programs = changed_programs(_shifted(node, Affine(scale=factor, shift=shift)))
    return DrawnChange("constant", text, "fusion", frozenset({node.name, node.inputs[0]}), programs=programs)


def _fused(graph: Graph, node: Node) -> Node | None:
    """The node in a program that holds what it reads from."""
    names = {other.name for other in graph.nodes}
    known = [other for other in graph.nodes if other.name == node.name and other.layer == node.layer]
    return known[0] if known and all(producer(value) in names for value in known[0].inputs) else None


def _refitted(node: Node, change: FieldChange) -> Callable[[Graph], ProgramChange]:
    def other(graph: Graph) -> Graph:
        found = _fused(graph, node)
        layer = None if found is None else changed_layer(graph, [found], change)
        if found is None or layer is None:
            return graph
        return replace(graph, nodes=tuple(replace(n, layer=layer) if n is found else n for n in graph.nodes))

    return lambda graph: ProgramChange(graph=other)


def _shifted(node: Node, affine: Affine) -> Callable[[Graph], ProgramChange]:
    def other(graph: Graph) -> Graph:
        found = _fused(graph, node)
        if found is None:
            return graph
        name = f"{found.name}_fused_wrongly"
        inserted = Node(name, affine, found.inputs[:1])
        changed = replace(found, inputs=(name, *found.inputs[1:]))
        nodes = [item for n in graph.nodes for item in ((inserted, changed) if n is found else (n,))]
        return replace(graph, nodes=tuple(nodes))

    return lambda graph: ProgramChange(graph=other)


def draw_repetition(chance: Chance, ground: Ground) -> DrawnChange:
    """What a program keeps from one run to the next: a result, an image, statistics that move."""
    choices: dict[str, Callable[[Graph], ProgramChange]] = {
        "one result for every input": lambda graph: ProgramChange(kept=lambda moment: moment.loads),
        "one result for inputs with the same first value": lambda graph: ProgramChange(kept=_first_value),
        "one result for inputs with the same largest value": lambda graph: ProgramChange(kept=_largest_value),
        "the result of the run before": lambda graph: _late(),
        "the first image for all": lambda graph: ProgramChange(upload=_first_image),
    }
    if ground.graph.named_state():
        choices["statistics that move at inference"] = lambda graph: ProgramChange(load=_moved, moves=True)
    text = chance.of(list(choices))
    programs = changed_programs(choices[text], FORWARD)
    return DrawnChange("result", text, "repetition", frozenset(), programs=programs, kept=True)


def _first_value(moment: Moment) -> Any:
    return (moment.loads, *(float(a.reshape(-1)[0]) for a in moment.batch.values() if a.size))


def _largest_value(moment: Moment) -> Any:
    return (moment.loads, *(float(a.max()) for a in moment.batch.values() if a.size))


def _late() -> ProgramChange:
    """The outputs of the run before, where they have the same shapes."""
    before: dict[str, Array] = {}

    def outputs(found: HostResult, moment: Moment) -> HostResult:
        given = {n: before[n] if n in before and before[n].shape == a.shape else a for n, a in found.outputs.items()}
        before.update(found.outputs)
        return found._replace(outputs=given)

    return ProgramChange(outputs=outputs)


def _first_image(batch: Mapping[str, Array], moment: Moment) -> dict[str, Array]:
    return {name: np.repeat(a[:1], len(a), axis=0) if a.ndim else a for name, a in batch.items()}


def _moved(given: Loaded, moment: Moment) -> Loaded:
    by = 1 + 0.01 * max(0, moment.call - 1)
    return given._replace(state={name: (array * by).astype(array.dtype) for name, array in given.state.items()})
