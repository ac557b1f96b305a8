"""Changes of what a network is trained by: the loss, its value, the update rule, the rate, what a step leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.numerics.faults.engine.programs import Moment, ProgramChange, changed_programs
from cnnbench.numerics.faults.grammar.arrays import draw_array_change
from cnnbench.numerics.faults.grammar.drawing import Chance, DrawnChange, Ground, signed
from cnnbench.numerics.faults.grammar.fields import FieldChange, field_changes
from cnnbench.spec.graph import weight_parts

if TYPE_CHECKING:
    from cnnbench.execution.host import HostTraining

STEP = ("compile_step",)
LOSS, OPTIMIZER = frozenset({"loss"}), frozenset({"optimizer"})


def _other(change: FieldChange) -> Callable[[Any], Any]:
    """The same rule or loss with another field, where it has what the change begins from."""

    def changed(item: Any) -> Any:
        return (
            replace(item, **{change.name: change.after}) if getattr(item, change.name, None) == change.before else item
        )

    return changed


def draw_loss(chance: Chance, ground: Ground) -> DrawnChange | None:
    """Another loss, or another value of it."""
    if not ground.case.has_loss:
        return None
    error = chance.error()
    values: dict[str, Callable[[float], float]] = {
        "1 too large": lambda value: value + 1,
        "reported as 0": lambda value: 0.0,
        "reported as NaN": lambda value: float("nan"),
        f"{signed(error)} off": lambda value: value * (1 + error),
        "negated": lambda value: -value,
        "summed over the images": lambda value: value * ground.case.size,
    }
    changes = field_changes(ground.case.loss)
    if changes and chance.share() < 0.4:
        change = chance.of(changes)
        return DrawnChange("field", f"loss: {change}", "loss", LOSS, loss=_other(change))
    text = chance.of(list(values))
    programs = changed_programs(ProgramChange(loss=lambda value, moment: values[text](value)))
    return DrawnChange("constant", f"the loss' value {text}", "loss", LOSS, programs=programs)


def draw_optimizer(chance: Chance, ground: Ground) -> DrawnChange | None:
    """Another update rule or rate, or a step that leaves something alone."""
    graph = ground.graph
    trained = [spec for spec in graph.named_weights() if spec.trainable]
    if not ground.case.has_loss or not trained:
        return None
    kind = chance.of(("field", "rate", "weight", "slot", "state"))
    if kind == "field":
        change = chance.of(field_changes(ground.case.training.optimizer))
        return DrawnChange("field", f"update rule: {change}", "optimizer", OPTIMIZER, optimizer=_other(change))
    error = chance.error()
    if kind == "rate":
        found = ProgramChange(rate=lambda rate, moment: rate * (1 + error))
        return DrawnChange(
            "constant", f"rate {signed(error)} off", "optimizer", OPTIMIZER, programs=changed_programs(found, STEP)
        )
    if kind == "state":
        if not graph.named_state():
            return None
        still = ProgramChange(trained=lambda before, after, moment: after._replace(state=before.state))
        nodes = OPTIMIZER | {weight_parts(spec.name)[0] for spec in graph.named_state()}
        return DrawnChange(
            "state", "a step keeps running statistics", "optimizer", nodes, programs=changed_programs(still, STEP)
        )
    spec = chance.of(trained)
    nodes = OPTIMIZER | {weight_parts(spec.name)[0]}
    if kind == "slot":
        return _slot(chance, spec.name, spec.shape, nodes)
    return _weight(chance, spec.name, nodes)


def _weight(chance: Chance, name: str, nodes: frozenset[str]) -> DrawnChange:
    where = None if chance.share() < 0.5 else chance.share()

    def trained(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
        if name not in after.weights:
            return after
        kept = np.array(before.weights[name])
        if where is not None:
            kept = np.array(after.weights[name])
            index = min(int(where * kept.size), kept.size - 1)
            kept.reshape(-1)[index] = np.asarray(before.weights[name]).reshape(-1)[index]
        return after._replace(weights={**after.weights, name: kept})

    text = f"a step leaves {name} alone{'' if where is None else f' at {where}'}"
    programs = changed_programs(ProgramChange(trained=trained), STEP)
    return DrawnChange("term" if where is None else "element", text, "optimizer", nodes, programs=programs)


def _slot(chance: Chance, name: str, shape: tuple[int, ...], nodes: frozenset[str]) -> DrawnChange:
    change = draw_array_change(chance, shape)

    def trained(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
        slots = {n: change.of(a) if n.weight == name else a for n, a in after.slots.items()}
        return after._replace(slots=slots)

    programs = changed_programs(ProgramChange(trained=trained), STEP)
    return DrawnChange(
        change.what, f"the slots of {name} {change.text} after a step", "optimizer", nodes, programs=programs
    )
