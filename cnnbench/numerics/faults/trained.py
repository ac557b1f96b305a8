"""Faults of what gradient passes and steps give back: gradients of single weights, running statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import HostArrays, HostGradients, HostTraining
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault, rounded
from cnnbench.numerics.faults.engine.configurations import case_of
from cnnbench.numerics.faults.engine.programs import Moment, ProgramChange, changed_programs
from cnnbench.numerics.faults.loads import two_blocks
from cnnbench.spec.graph import weight_parts
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.training.steps import TrainingSteps

Array = NDArray[Any]


def _gradient_of(name: str, change: Callable[[Array], Array]) -> ProgramChange:
    def altered(found: HostGradients, moment: Moment) -> HostGradients:
        weights = {key: change(array) if key == name else array for key, array in found.weights.items()}
        return found._replace(weights=weights)

    return ProgramChange(gradients=altered)


def _flipped(array: Array) -> Array:
    return np.ascontiguousarray(array[..., ::-1, ::-1])


def _one_off(array: Array) -> Array:
    """The last element 1 % less."""
    found = array.copy()
    found.reshape(-1)[-1] *= array.dtype.type(0.99)
    return found


def _eight_bits(array: Array) -> Array:
    return np.asarray(rounded(array, 8))


# name: what goes wrong with the gradient that a program gives back, the change, the check, the node
WRONG_GRADIENTS: dict[str, tuple[str, ProgramChange, str, str]] = {
    "gradient_of_scale_lost": (
        "a batch norm's scale has no gradient (taken for fixed)",
        _gradient_of("norm1.weight", lambda array: array * 0),
        "gradient",
        "norm1",
    ),
    "gradient_of_shift_doubled": (
        "a batch norm's shift has twice its gradient",
        _gradient_of("norm2.bias", lambda array: array * 2),
        "gradient",
        "norm2",
    ),
    "gradient_of_bias_averaged": (
        "a bias's gradient is a mean over two images where it is their sum",
        _gradient_of("fc.bias", lambda array: array / 2),
        "gradient",
        "fc",
    ),
    "gradient_of_kernel_flipped": (
        "a kernel's gradient is that of the flipped kernel",
        _gradient_of("conv2.weight", _flipped),
        "gradient",
        "conv2",
    ),
    "gradient_in_bfloat16": (
        "a kernel's gradient has eight bits",
        _gradient_of("conv1.weight", _eight_bits),
        "gradient",
        "conv1",
    ),
    "gradient_one_off": (
        "one element of a kernel's gradient is 1 % less",
        _gradient_of("conv1.weight", _one_off),
        "exact",
        "conv1",
    ),
}


def _statistics(change: Callable[[HostArrays, HostArrays], HostArrays]) -> ProgramChange:
    """Running statistics after a step: (before, after) -> those that it goes on with."""

    def trained(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
        return after._replace(state=dict(change(before.state, after.state)))

    return ProgramChange(trained=trained)


def _of_the_second(arrays: HostArrays) -> HostArrays:
    return {name: array for name, array in arrays.items() if weight_parts(name)[0] == "norm2"}


def _exchanged(before: HostArrays, after: HostArrays) -> HostArrays:
    other = {"1": "2", "2": "1"}
    return {name: after[f"norm{other[name[4]]}{name[5:]}"] for name in after}


# name: what goes wrong with running statistics in training steps, the change, the node
WRONG_STATISTICS: dict[str, tuple[str, ProgramChange, str]] = {
    "statistics_not_updated": (
        "running statistics stay as they were in training",
        _statistics(lambda before, after: {**after, **_of_the_second(before)}),
        "norm2",
    ),
    "statistics_updated_twice": (
        "running statistics go twice as far in each step",
        _statistics(
            lambda before, after: {
                **after,
                **{name: 2 * array - before[name] for name, array in _of_the_second(after).items()},
            }
        ),
        "norm2",
    ),
    "statistics_exchanged": ("two batch norms update each other's statistics", _statistics(_exchanged), "norm1"),
}


def _frozen(before: HostTraining, after: HostTraining, moment: Moment) -> HostTraining:
    """The first element of the second batch norm's scale stays."""
    weights = {name: np.array(array) for name, array in after.weights.items()}
    if "norm2.weight" in weights:
        weights["norm2.weight"][0] = before.weights["norm2.weight"][0]
    return after._replace(weights=weights)


_TRAINED = TrainingSteps(SGD(momentum=0.9), CrossEntropy())


def _trained(options: ProgramOptions, seed: int) -> Case:
    return replace(case_of(two_blocks(), options, seed, batch=4), training=_TRAINED)


def _case(options: ProgramOptions, seed: int) -> Case:
    return case_of(two_blocks(), options, seed)


FAULTS = (
    *(
        Fault(
            f"trained.{name}",
            "trained",
            what,
            _case,
            check,
            node,
            programs=changed_programs(change, ("compile_gradient",)),
        )
        for name, (what, change, check, node) in WRONG_GRADIENTS.items()
    ),
    *(
        Fault(
            f"trained.{name}",
            "trained",
            what,
            _trained,
            "training",
            node,
            programs=changed_programs(change, ("compile_step",)),
        )
        for name, (what, change, node) in WRONG_STATISTICS.items()
    ),
    Fault(
        "trained.element_frozen",
        "trained",
        "one element of a batch norm's scale is left alone by every step",
        _trained,
        "training",
        "norm2",
        programs=changed_programs(ProgramChange(trained=_frozen), ("compile_step",)),
    ),
)
