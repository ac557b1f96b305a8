"""Faults of the update rule that a network is trained by, located at the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import HostTraining
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import DECAYED, Configuration, case_of, classifier
from cnnbench.numerics.faults.engine.programs import Loaded, Moment, ProgramChange, changed_programs
from cnnbench.spec.graph import Builder, weight_parts
from cnnbench.spec.layers import Linear, ReLU
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from cnnbench.training.steps import TrainingSteps


def _doubled(rule: Optimizer) -> Optimizer:
    return replace(rule, weight_decay=2 * rule.weight_decay) if isinstance(rule, SGD) else rule


def _all_decay(rule: Optimizer) -> Optimizer:
    return replace(rule, decay="all") if isinstance(rule, SGD) else rule


def _nesterov(rule: Optimizer) -> Optimizer:
    return replace(rule, nesterov=True) if isinstance(rule, SGD) else rule


def _complement(rule: Optimizer) -> Optimizer:
    return replace(rule, momentum=1 - rule.momentum) if isinstance(rule, SGD) else rule


def _late(moment: Moment) -> bool:
    return moment.call > LATE


def _slots_lost(given: Loaded, moment: Moment) -> Loaded:
    return given if given.slots is None else given._replace(slots={n: np.zeros_like(a) for n, a in given.slots.items()})


def _with_slots(factor: float) -> Callable[[HostTraining, HostTraining, Moment], HostTraining]:
    """Slots after each step multiplied by a factor."""
    return lambda before, after, moment: after._replace(
        slots={name: array * array.dtype.type(factor) for name, array in after.slots.items()}
    )


def _slots_exchanged(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
    """The slots of weights of equal size, each with the one before it."""
    slots = {}
    for name, array in after.slots.items():
        alike = [other for other in after.slots if after.slots[other].shape == array.shape]
        slots[name] = after.slots[alike[alike.index(name) - 1]]
    return after._replace(slots=slots)


def _stopped(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
    """From a step on nothing moves."""
    return before if _late(moment) else after


def _frozen_bias(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
    held = {name: array for name, array in before.weights.items() if weight_parts(name)[1] == "bias"}
    return after._replace(weights={**after.weights, **held})


def _deep(options: ProgramOptions, seed: int) -> Case:
    """Two linear layers of equal size."""
    b = Builder("two layers")
    x = b.add("first", Linear(out_features=5), b.input("x", (5,)))
    graph = b.build({"logits": b.add("second", Linear(out_features=5), b.add("relu", ReLU(), x))})
    return replace(case_of(graph, options, seed, batch=4), training=TrainingSteps(SGD(momentum=0.9)))


def _steps_forgotten(given: Loaded, moment: Moment) -> Loaded:
    if given.slots is None:
        return given
    counted = {n: np.zeros_like(a) if n.slot == "step" else a for n, a in given.slots.items()}
    return given._replace(slots=counted)


def _counted_twice(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
    """The step count begins at 1."""
    if moment.call > 1:
        return after
    return after._replace(slots={n: a + 1 if n.slot == "step" else a for n, a in after.slots.items()})


def _with(**fields: Any) -> Callable[[Optimizer], Optimizer]:
    """The same rule with other fields."""
    return lambda rule: replace(rule, **fields)


def _as(kind: type[Adam]) -> Callable[[Optimizer], Optimizer]:
    """Adam's other form of decay with the same fields."""
    return lambda rule: kind(**asdict(rule))


LATE = 5  # steps that are right
_MOMENTUM = classifier(TrainingSteps(SGD(momentum=0.9), CrossEntropy()))
_ADAM = classifier(TrainingSteps(Adam(weight_decay=0.05, decay="kernels"), CrossEntropy()))
_ADAMW = classifier(TrainingSteps(AdamW(weight_decay=0.05, decay="kernels"), CrossEntropy()))
_RMSPROP = classifier(TrainingSteps(RMSprop(smoothing=0.9, momentum=0.8), CrossEntropy()))
_ADAGRAD = classifier(TrainingSteps(Adagrad(initial=0.1), CrossEntropy()))
# name: what goes wrong, the configuration, the rule that runs
WRONG_RULES: dict[str, tuple[str, Configuration, Callable[[Optimizer], Optimizer]]] = {
    "adam.epsilon_inside": (
        "epsilon added below the root and not to it (optax' eps_root for eps)",
        _ADAM,
        _with(epsilon_place="inside"),
    ),
    "adam.epsilon_uncorrected": (
        "epsilon added to the root before the bias is corrected (Keras, TensorFlow)",
        _ADAM,
        _with(epsilon_place="uncorrected"),
    ),
    "adam.epsilon_of_keras": ("an epsilon of 1e-7 (Keras' default) for 1e-8 (PyTorch's)", _ADAM, _with(epsilon=1e-7)),
    "adam.no_bias_correction": (
        "running means not corrected for their start at 0",
        _ADAM,
        _with(bias_correction=False),
    ),
    "adam.betas_exchanged": ("each running mean moved by the other's share", _ADAM, _with(beta1=0.999, beta2=0.9)),
    "adam.decoupled": ("decay applied to the weight (AdamW) where it belongs to the gradient", _ADAM, _as(AdamW)),
    "adamw.coupled": ("decay added to the gradient (Adam) where it moves the weight alone", _ADAMW, _as(Adam)),
    "adamw.decays_biases": (
        "decay applied to biases too, where kernels only were to decay",
        _ADAMW,
        _with(decay="all"),
    ),
    "rmsprop.epsilon_inside": ("Keras' and optax' place of epsilon", _RMSPROP, _with(epsilon_place="inside")),
    "rmsprop.smoothing": ("0.99 stays of the mean square (PyTorch) for 0.9 (Keras)", _RMSPROP, _with(smoothing=0.99)),
    "rmsprop.centered": ("the mean taken off where it was not to be", _RMSPROP, _with(centered=True)),
    "rmsprop.momentum_ignored": ("no momentum", _RMSPROP, _with(momentum=0.0)),
    "adagrad.starts_at_zero": ("sums begin at 0 (PyTorch) for 0.1 (Keras, optax)", _ADAGRAD, _with(initial=0.0)),
    "adagrad.decays": ("weights decay where they were not to", _ADAGRAD, _with(weight_decay=0.01)),
}
# name: what goes wrong, the change, the configuration, the node
WRONG_STEPS: dict[str, tuple[str, ProgramChange, Configuration, str]] = {
    "rate_late": (
        "from the sixth step on half of the learning rate",
        ProgramChange(rate=lambda rate, moment: rate / 2 if _late(moment) else rate),
        _MOMENTUM,
        "optimizer",
    ),
    "stops": ("from the sixth step on nothing moves", ProgramChange(trained=_stopped), _MOMENTUM, "optimizer"),
    "slots_lost_at_load": (
        "momentum is not taken up again from a checkpoint",
        ProgramChange(load=_slots_lost),
        _MOMENTUM,
        "optimizer",
    ),
    "slots_reset": (
        "momentum is lost after each step",
        ProgramChange(trained=_with_slots(0.0)),
        _MOMENTUM,
        "optimizer",
    ),
    "slots_percent": (
        "momentum is 1 % more after each step",
        ProgramChange(trained=_with_slots(1.01)),
        _MOMENTUM,
        "optimizer",
    ),
    "slots_exchanged": (
        "two weights of equal size move by each other's momentum",
        ProgramChange(trained=_slots_exchanged),
        _deep,
        "first",
    ),
    "biases_held": ("biases are not trained", ProgramChange(trained=_frozen_bias), _MOMENTUM, "optimizer"),
}
# name: what goes wrong, the change
WRONG_COUNTS: dict[str, tuple[str, ProgramChange]] = {
    "adam.steps_lost_at_load": ("the count of steps begins anew at a checkpoint", ProgramChange(load=_steps_forgotten)),
    "adam.step_off_by_one": ("the count of steps is one too many", ProgramChange(trained=_counted_twice)),
}

FAULTS = (
    *(
        Fault(
            f"sgd.{name}",
            "optimizer",
            what,
            case,
            check="training",
            node=node,
            programs=changed_programs(change, ("compile_step",)),
        )
        for name, (what, change, case, node) in WRONG_STEPS.items()
    ),
    *(
        Fault(name, "optimizer", what, case, check="training", node="optimizer", optimizer=change)
        for name, (what, case, change) in WRONG_RULES.items()
    ),
    *(
        Fault(
            name,
            "optimizer",
            what,
            _ADAM,
            check="training",
            node="optimizer",
            programs=changed_programs(change, ("compile_step",)),
        )
        for name, (what, change) in WRONG_COUNTS.items()
    ),
    Fault(
        "sgd.doubled_decay",
        "optimizer",
        "decay twice as strong: a penalty of c |w|^2 (Keras' l2) for one of c |w|^2 / 2",
        classifier(DECAYED),
        check="training",
        node="optimizer",
        optimizer=_doubled,
    ),
    Fault(
        "sgd.decays_biases",
        "optimizer",
        "weight decay applied to biases too, where kernels only were to decay",
        classifier(DECAYED),
        check="training",
        node="optimizer",
        optimizer=_all_decay,
    ),
    Fault(
        "sgd.nesterov",
        "optimizer",
        "Nesterov momentum where plain momentum was asked for",
        classifier(DECAYED),
        check="training",
        node="optimizer",
        optimizer=_nesterov,
    ),
    Fault(
        "sgd.momentum_convention",
        "optimizer",
        "momentum taken as the weight of the new gradient",
        classifier(DECAYED),
        check="training",
        node="optimizer",
        optimizer=_complement,
    ),
)
