"""Faults of loading: arrays that are left as they start, exchanged between layers, rounded, or not taken again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import case_of
from cnnbench.numerics.faults.engine.programs import Loaded, Moment, ProgramChange, changed_programs
from cnnbench.spec.graph import Builder, Graph, weight_parts
from cnnbench.spec.layers import BatchNorm, Conv, Linear, ReLU
from cnnbench.spec.layers.pooling import AvgPool
from cnnbench.spec.layers.shape import Flatten

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def two_blocks() -> Graph:
    """Two convolutions of equal shape, each with a batch norm and a ReLU, and a classifier."""
    b = Builder("two blocks")
    x = b.input("image", (4, 6, 6))
    for number in (1, 2):
        x = b.add(f"conv{number}", Conv(out_channels=4, kernel_size=3, padding=1), x)
        x = b.add(f"relu{number}", ReLU(), b.add(f"norm{number}", BatchNorm(eps=1e-3), x))
    x = b.add("flatten", Flatten(), b.add("pool", AvgPool(kernel_size=3), x))
    return b.build({"logits": b.add("fc", Linear(out_features=5), x)})


def _case(options: ProgramOptions, seed: int) -> Case:
    return case_of(two_blocks(), options, seed)


def _each(change: Callable[[str, Array, Arrays], Array]) -> ProgramChange:
    """Other arrays at every load: (name, array, all arrays) -> array."""

    def load(given: Loaded, moment: Moment) -> Loaded:
        known = {**given.weights, **given.state}
        weights = {name: change(name, array, known) for name, array in given.weights.items()}
        return given._replace(
            weights=weights, state={name: change(name, array, known) for name, array in given.state.items()}
        )

    return ProgramChange(load=load)


def _of_the_first_block(*roles: str) -> ProgramChange:
    """The second block reads arrays of the first."""

    def change(name: str, array: Array, known: Arrays) -> Array:
        other = name.replace("2.", "1.")
        return known.get(other, array) if weight_parts(name)[1] in roles else array

    return _each(change)


def _at_start(role: str, value: float, *nodes: str) -> ProgramChange:
    """Arrays of a role keep the value that they start with: those of these nodes, or of all where none is given."""

    def change(name: str, array: Array, known: Arrays) -> Array:
        node, own = weight_parts(name)
        return np.full_like(array, value) if own == role and (not nodes or node in nodes) else array

    return _each(change)


def _by_position(name: str, array: Array, known: Arrays) -> Array:
    """Each array is the one before it of the same shape, as in a file that is read by position from one off."""
    alike = [other for other in known if known[other].shape == array.shape]
    return known[alike[alike.index(name) - 1]]


def _rounded(dtype: str) -> ProgramChange:
    return _each(lambda name, array, known: array.astype(dtype).astype(array.dtype))


def _once(take: Callable[[Loaded, Loaded], Loaded]) -> Callable[[Graph], ProgramChange]:
    """What later loads take: (the first load, this one) -> what is loaded."""

    def of_graph(graph: Graph) -> ProgramChange:
        first: list[Loaded] = []

        def load(given: Loaded, moment: Moment) -> Loaded:
            first.append(given)
            return take(first[0], given)

        return ProgramChange(load=load)

    return of_graph


Change = ProgramChange | Callable[[Graph], ProgramChange]
# name: what goes wrong, the change, the check, the node
WRONG: dict[str, tuple[str, Change, str, str]] = {
    "statistics_of_another_layer": (
        "a batch norm reads the running statistics of the one before it",
        _of_the_first_block("running_mean", "running_var"),
        "local",
        "norm2",
    ),
    "variance_of_another_layer": (
        "a batch norm reads the running variance of the one before it",
        _of_the_first_block("running_var"),
        "local",
        "norm2",
    ),
    "scale_of_another_layer": (
        "a batch norm reads the scale of the one before it, and its own shift",
        _each(lambda name, array, known: known["norm1.weight"] if name == "norm2.weight" else array),
        "local",
        "norm2",
    ),
    "kernel_of_another_layer": (
        "two convolutions of equal shape read one kernel",
        _each(lambda name, array, known: known["conv1.weight"] if name == "conv2.weight" else array),
        "local",
        "conv2",
    ),
    "means_at_start": (
        "running means left at 0, as where buffers are not in the file",
        _at_start("running_mean", 0.0),
        "local",
        "norm1",
    ),
    "variances_at_start": ("running variances left at 1", _at_start("running_var", 1.0), "local", "norm1"),
    "biases_at_start": (
        "biases left at 0 (read with strict=False)",
        _at_start("bias", 0.0, "conv2"),
        "local",
        "conv2",
    ),
    "one_off": ("arrays of equal shape read one place off", _each(_by_position), "local", "conv1"),
    "float16": ("arrays that went through float16", _rounded("float16"), "local", "conv1"),
    "second_load_ignored": (
        "weights that are loaded into a program after others are not taken",
        _once(lambda first, given: first),
        "timed",
        "conv1",
    ),
    "statistics_loaded_once": (
        "weights that are loaded after others are taken, their running statistics are not (folded once, at the start)",
        _once(lambda first, given: given._replace(state=first.state)),
        "timed",
        "norm1",
    ),
    "biases_loaded_once": (
        "arrays of one axis are taken from the first load",
        _once(
            lambda first, given: given._replace(
                weights={name: first.weights[name] if a.ndim == 1 else a for name, a in given.weights.items()}
            )
        ),
        "timed",
        "conv1",
    ),
}

FAULTS = tuple(
    Fault(f"load.{name}", "load", what, _case, check=check, node=node, programs=changed_programs(change))
    for name, (what, change, check, node) in WRONG.items()
)
