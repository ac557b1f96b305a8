"""Changes of what a program is loaded with: one array, all of them, the batch norms that are folded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.faults.engine.programs import Compilers, Loaded, Moment, ProgramChange, changed_programs
from cnnbench.numerics.faults.grammar.arrays import draw_array_change, in_bits
from cnnbench.numerics.faults.grammar.drawing import Chance, DrawnChange, Ground
from cnnbench.spec.graph import Graph, weight_parts

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend

Array = NDArray[Any]
FORWARD = ("compile_forward",)


def _changed_arrays(
    changes: Mapping[str, Callable[[Mapping[str, Array]], Array]],
) -> Callable[[Loaded, Moment], Loaded]:
    """For ``ProgramChange.load``: arrays by name, each made from all that are loaded; absent ones are left out."""

    def load(given: Loaded, moment: Moment) -> Loaded:
        every = {**given.weights, **given.state}
        try:
            made = {name: change(every) for name, change in changes.items() if name in every}
        except KeyError:  # the program has a part of the network
            return given
        weights = {name: made.get(name, array) for name, array in given.weights.items()}
        return given._replace(weights=weights, state={name: made.get(name, a) for name, a in given.state.items()})

    return load


def draw_load(chance: Chance, ground: Ground) -> DrawnChange | None:
    """An array that is loaded wrongly, from the first load on or when weights are loaded anew."""
    specs = {spec.name: spec.shape for spec in (*ground.graph.named_weights(), *ground.graph.named_state())}
    if not specs:
        return None
    name = chance.of(sorted(specs))
    owner = weight_parts(name)[0]
    others = [other for other, shape in specs.items() if shape == specs[name] and other != name]
    hidden = chance.share() < 0.5
    if others and chance.share() < 0.25:
        other = chance.of(others)
        made = {name: lambda every: every[other], other: lambda every: every[name]}
        nodes = frozenset({owner, weight_parts(other)[0]})
        found = ProgramChange(load=_changed_arrays(made), hidden=hidden)
        return DrawnChange("term", f"{name} and {other} exchanged", "load", nodes, programs=changed_programs(found))
    change = draw_array_change(chance, specs[name])
    found = ProgramChange(load=_changed_arrays({name: lambda every: change.of(every[name])}), hidden=hidden)
    text = f"{name} {change.text}"
    return DrawnChange(change.what, text, "load", frozenset({owner}), programs=changed_programs(found))


def stale_load(chance: Chance, ground: Ground) -> DrawnChange | None:
    """Arrays that keep what was loaded first."""
    specs = [spec.name for spec in (*ground.graph.named_weights(), *ground.graph.named_state())]
    if not specs:
        return None
    chosen = specs if chance.share() < 0.5 else [chance.of(specs)]

    def of_graph(graph: Graph) -> ProgramChange:
        first: dict[str, Array] = {}

        def load(given: Loaded, moment: Moment) -> Loaded:
            for name, array in {**given.weights, **given.state}.items():
                first.setdefault(name, array)
            return given._replace(
                weights={name: first[name] if name in chosen else a for name, a in given.weights.items()},
                state={name: first[name] if name in chosen else a for name, a in given.state.items()},
            )

        return ProgramChange(load=load)

    text = f"{'every array' if len(chosen) > 1 else chosen[0]} as first loaded"
    nodes = frozenset() if len(chosen) > 1 else frozenset({weight_parts(chosen[0])[0]})
    return DrawnChange("term", text, "load", nodes, programs=changed_programs(of_graph), kept=True)


def draw_fold(chance: Chance, ground: Ground) -> DrawnChange | None:
    """A batch norm that is folded wrongly, in folded programs alone."""
    if not ground.batch_norms:
        return None
    node = chance.of(ground.batch_norms)
    names = ("weight", "bias", "running_mean", "running_var")
    known = [f"{node.owner}.{n}" for n in names if f"{node.owner}.{n}" in ground.case.arrays]
    name = chance.of(known)
    if chance.share() < 0.3:
        other = chance.of([item for item in known if item != name])
        made = {name: lambda every: every[other], other: lambda every: every[name]}
        what, text = "term", f"{name} and {other} exchanged"
    elif chance.share() < 0.5:
        kept = 0.0 if weight_parts(name)[1] in ("bias", "running_mean") else 1.0
        made = {name: lambda every: np.full_like(every[name], kept)}
        what, text = "term", f"{name} forgotten"
    else:
        change = draw_array_change(chance, ground.case.arrays[name].shape)
        made = {name: lambda every: change.of(every[name])}
        what, text = change.what, f"{name} {change.text}"
    nodes = frozenset({node.name, node.inputs[0]})
    changed = changed_programs(ProgramChange(load=_changed_arrays(made)), FORWARD)
    return DrawnChange(what, f"folding: {text}", "fold", nodes, programs=_where_folded(changed))


def _where_folded(changed: Callable[[Backend], Compilers]) -> Callable[[Backend], Compilers]:
    def of_backend(backend: Backend) -> Compilers:
        right, wrong = backend.compile_forward, changed(backend)

        def compile_forward(graph: Graph, options: Any) -> Any:
            return wrong["compile_forward"](graph, options) if options.fold_batch_norm else right(graph, options)

        return {**wrong, "compile_forward": compile_forward}

    return of_backend


def draw_narrow(chance: Chance, ground: Ground) -> DrawnChange | None:
    """Weights that are held in fewer bits than was asked for."""
    if not ground.graph.named_weights():
        return None
    bits = chance.of((8, 11))
    found = ProgramChange(load=lambda given, moment: _narrow(given, bits), hidden=True)
    text = f"every weight in {bits} bits"
    return DrawnChange("precision", text, "load", frozenset(), programs=changed_programs(found, FORWARD))


def _narrow(given: Loaded, bits: int) -> Loaded:
    return given._replace(weights={name: in_bits(array, bits) for name, array in given.weights.items()})
