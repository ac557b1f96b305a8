"""Faults of what comes to the update rule: gradients accumulated, clipped, dampened, and the rate of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostArrays, HostTraining, SlotName
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import classifier
from cnnbench.numerics.faults.engine.programs import (
    ChangedStep,
    Compilers,
    Loaded,
    Moment,
    ProgramChange,
    changed_programs,
)
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import CrossEntropy, Loss
from cnnbench.spec.optimizers import SGD, Optimizer
from cnnbench.training.steps import TrainingSteps

Arrays = Mapping[str, NDArray[Any]]
Gradients = Callable[[SGD, Arrays, Arrays], Arrays]
"""(rule, weights before a step, gradients of the loss) -> what the rule's momentum takes."""


def _gradients(change: Gradients) -> Callable[[Backend], Compilers]:
    """For ``Fault.programs``: steps of SGD with momentum whose gradients go through ``change`` on the host.

    The backend takes a step without decay and clipping. What its momentum gained is the gradient.
    """

    def of_backend(backend: Backend) -> Compilers:
        right = backend.compile_step

        def compile_step(graph: Graph, options: ProgramOptions, loss: Loss, optimizer: Optimizer) -> ChangedStep:
            if not isinstance(optimizer, SGD):
                raise TypeError(f"this fault is one of SGD, not of {optimizer.kind}")
            rule = optimizer

            def trained(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
                old, new = ({n.weight: a for n, a in part.slots.items()} for part in (before, after))
                taken = change(rule, before.weights, {n: new[n] - rule.momentum * old[n] for n in new})
                slots = {n: (rule.momentum * old[n] + taken[n]).astype(new[n].dtype) for n in new}
                moved = {n: (before.weights[n] - moment.rate * slot).astype(slot.dtype) for n, slot in slots.items()}
                named = {SlotName(n, "momentum"): slot for n, slot in slots.items()}
                return after._replace(weights={**after.weights, **moved}, slots=named)

            plain = replace(rule, weight_decay=0.0, clipping=None)
            return ChangedStep(right(graph, options, loss, plain), ProgramChange(trained=trained))

        return {"compile_step": compile_step}

    return of_backend


def _norm(arrays: Arrays) -> float:
    return float(np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays.values())))


def _scaled(factor: Callable[[int], float]) -> Gradients:
    """Gradients times a factor of the number of micro-batches."""
    return lambda rule, weights, gradients: {n: g * factor(rule.accumulate) for n, g in gradients.items()}


def _after_decay(rule: SGD, weights: Arrays, gradients: Arrays) -> Arrays:
    """The global norm is that of the decayed gradients."""
    assert rule.clipping is not None
    decayed = {n: g + rule.weight_decay * weights[n] for n, g in gradients.items()}
    limit = rule.clipping.limit
    return {n: g * (limit / max(limit, _norm(decayed) + rule.clipping.floor)) for n, g in decayed.items()}


def _whole_arrays(rule: SGD, weights: Arrays, gradients: Arrays) -> Arrays:
    """Each array is one unit."""
    assert rule.clipping is not None
    found = {}
    for name, gradient in gradients.items():
        most = rule.clipping.limit * max(_norm({name: weights[name]}), rule.clipping.floor)
        found[name] = gradient * (most / max(most, _norm({name: gradient})))
    return found


def _as_started(given: Loaded, moment: Moment) -> Loaded:
    """Momentum that begins at zeros, as if a step had been taken."""
    zeros = {SlotName(name, "momentum"): np.zeros_like(array) for name, array in given.weights.items()}
    slots = {**(given.slots or zeros), **{SlotName(name, "started"): np.asarray(1) for name in given.weights}}
    return given._replace(slots=slots)


def _clipping(**fields: Any) -> Callable[[Optimizer], Optimizer]:
    """The same rule with other fields of its clipping."""
    return lambda rule: replace(rule, clipping=replace(rule.clipping, **fields)) if rule.clipping else rule


def _by_value(rule: Optimizer) -> Optimizer:
    return replace(rule, clipping=Clipping(kind="value", limit=rule.clipping.limit)) if rule.clipping else rule


def _by_norm(rule: Optimizer) -> Optimizer:
    return replace(rule, clipping=Clipping(kind="global_norm", limit=rule.clipping.limit)) if rule.clipping else rule


def _one_step_late(graph: Graph) -> ProgramChange:
    """Of a program of its own, which remembers the last rate."""
    asked: list[float] = []

    def rate(learning_rate: float, moment: Moment) -> float:
        asked.append(learning_rate)
        return asked[-2] if len(asked) > 1 else learning_rate

    return ProgramChange(rate=rate)


def _last_images(batch: HostArrays, moment: Moment) -> HostArrays:
    """The second half of the images in place of the first."""
    count = moment.images
    return {name: np.concatenate([array[count - count // 2 :], array[count // 2 :]]) for name, array in batch.items()}


def _dampening(share: float) -> Callable[[Optimizer], Optimizer]:
    return lambda rule: replace(rule, dampening=share) if isinstance(rule, SGD) else rule


def _unclipped(rule: Optimizer) -> Optimizer:
    return replace(rule, clipping=None)


_DECAYED = classifier(
    TrainingSteps(SGD(weight_decay=0.05, clipping=Clipping(kind="global_norm", limit=0.1)), CrossEntropy())
)
_GLOBAL = classifier(TrainingSteps(SGD(clipping=Clipping(kind="global_norm", limit=0.1, epsilon=0.01)), CrossEntropy()))
_ACCUMULATED = classifier(TrainingSteps(SGD(accumulate=3), CrossEntropy()))
_VALUE = classifier(TrainingSteps(SGD(clipping=Clipping(kind="value", limit=0.01)), CrossEntropy()))
_ADAPTIVE = classifier(TrainingSteps(SGD(clipping=Clipping(kind="adaptive", limit=0.01, epsilon=0.9)), CrossEntropy()))
_DAMPED = classifier(TrainingSteps(SGD(dampening=0.3, damp_first=True), CrossEntropy()))
_WHOLE_AT_FIRST = classifier(TrainingSteps(SGD(dampening=0.3), CrossEntropy()))

FAULTS = (
    Fault(
        "schedule.one_step_late",
        "step",
        "each step taken with the rate of the one before it",
        classifier(TrainingSteps(SGD(), CrossEntropy())),
        check="training",
        node="optimizer",
        programs=changed_programs(_one_step_late, ("compile_step",)),
    ),
    Fault(
        "accumulation.last_only",
        "step",
        "the gradients of the last micro-batches alone",
        _ACCUMULATED,
        check="training",
        node="optimizer",
        programs=changed_programs(ProgramChange(upload=_last_images), ("compile_step",)),
    ),
    *(
        Fault(f"sgd.{name}", "step", what, _DAMPED, check="training", node="optimizer", optimizer=change)
        for name, what, change in (
            ("dampening_ignored", "momentum takes the whole gradient", _dampening(0.0)),
            ("dampening_complement", "the share that is left out taken for that which stays", _dampening(0.7)),
        )
    ),
    Fault(
        "sgd.dampened_at_first",
        "step",
        "the first step is damped, too, which PyTorch leaves whole",
        _WHOLE_AT_FIRST,
        check="training",
        node="optimizer",
        programs=changed_programs(ProgramChange(load=_as_started), ("compile_step",)),
    ),
    *(
        Fault(f"clipping.{name}", "step", what, case, check="training", node="optimizer", optimizer=change)
        for name, what, case, change in (
            ("each_array", "each array clipped by its own norm, not all by theirs", _GLOBAL, _clipping(kind="norm")),
            ("no_epsilon", "no epsilon added to the norm", _GLOBAL, _clipping(epsilon=0.0)),
            ("factor_missing", "the norm is taken and the gradients stay as they are", _GLOBAL, _unclipped),
            ("value_ignored", "elements beyond the limit stay as they are", _VALUE, _unclipped),
            ("value_for_norm", "elements cut to the limit that was meant for the norm", _GLOBAL, _by_value),
            ("norm_for_value", "gradients scaled to the limit that was meant for elements", _VALUE, _by_norm),
            ("adaptive.no_epsilon", "norms of small weights not held above epsilon", _ADAPTIVE, _clipping(epsilon=0.0)),
            ("adaptive.factor_missing", "limits as large as the weights' norms", _ADAPTIVE, _clipping(limit=1.0)),
        )
    ),
    *(
        Fault(
            name,
            "step",
            what,
            case,
            check="training",
            node="optimizer",
            programs=_gradients(change),
        )
        for name, what, case, change in (
            ("accumulation.summed", "micro-batches' gradients added, not averaged", _ACCUMULATED, _scaled(float)),
            (
                "accumulation.one_less",
                "micro-batches' gradients divided by their number less one",
                _ACCUMULATED,
                _scaled(lambda count: count / (count - 1)),
            ),
            (
                "clipping.after_decay",
                "gradients clipped after weight decay was added, not before",
                _DECAYED,
                _after_decay,
            ),
            ("clipping.adaptive.whole_arrays", "each array clipped as one unit", _ADAPTIVE, _whole_arrays),
        )
    ),
)
