"""Faults of whole programs: right at first, and wrong at some calls, for some batches, or in what they keep."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.host import HostArrays, HostResult
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import case_of
from cnnbench.numerics.faults.engine.programs import Compilers, Loaded, Moment, ProgramChange, changed_programs
from cnnbench.numerics.faults.engine.switching import When, from_call, from_load, on_images, on_values
from cnnbench.numerics.faults.loads import two_blocks
from cnnbench.spec.graph import Graph, weight_parts

Array = NDArray[Any]


def in_two_blocks(options: ProgramOptions, seed: int) -> Case:
    """The network of these faults."""
    return case_of(two_blocks(), options, seed)


def _changed(array: Array, change: Callable[[Array], Array]) -> Array:
    return change(array) if array.dtype.kind == "f" else array


def _outputs(change: Callable[[Array], Array]) -> ProgramChange:
    def altered(found: HostResult, moment: Moment) -> HostResult:
        return found._replace(outputs={name: _changed(array, change) for name, array in found.outputs.items()})

    return ProgramChange(outputs=altered)


def _inputs(change: Callable[[Array], Array]) -> ProgramChange:
    def altered(batch: HostArrays, moment: Moment) -> HostArrays:
        return {name: _changed(array, change) for name, array in batch.items()}

    return ProgramChange(upload=altered)


def _programs(change: ProgramChange | Callable[[Graph], ProgramChange]) -> Callable[[Backend], Compilers]:
    return changed_programs(change, ("compile_forward",))


def _less(array: Array) -> Array:
    """A hundredth less."""
    return np.asarray(array * array.dtype.type(0.99))


def _first_for_all(array: Array) -> Array:
    return np.repeat(array[:1], array.shape[0], axis=0) if array.ndim > 1 else array


def _rounded(dtype: str) -> Callable[[Array], Array]:
    return lambda array: array.astype(dtype).astype(array.dtype)


def _smaller(array: Array) -> Array:
    """Every second pixel, twice."""
    if array.ndim < 4:
        return array
    small = array[..., ::2, ::2]
    return np.ascontiguousarray(small.repeat(2, -2).repeat(2, -1)[..., : array.shape[-2], : array.shape[-1]])


def _last_lost(array: Array) -> Array:
    found = array.copy()
    found[-1:] = 0
    return found


def _moving(given: Loaded, moment: Moment) -> Loaded:
    """Running means that drift with each call, as where a layer stays in training mode."""
    if not moment.batch:
        return given
    means = {n: a for n, a in given.state.items() if weight_parts(n)[1] == "running_mean"}
    return given._replace(state={**given.state, **{n: a * a.dtype.type(0.9**moment.call) for n, a in means.items()}})


def _by_first_value(moment: Moment) -> Hashable:
    return tuple((name, float(array.reshape(-1)[0]), array.shape) for name, array in moment.batch.items())


def _after_nan(graph: Graph) -> ProgramChange:
    """1 % less once a batch held NaN, as where a workspace is not cleared."""
    seen: list[int] = []

    def upload(batch: HostArrays, moment: Moment) -> HostArrays:
        if any(array.dtype.kind == "f" and np.isnan(array).any() for array in batch.values()):
            seen.append(moment.call)
        return batch

    def outputs(found: HostResult, moment: Moment) -> HostResult:
        if not seen or LESS.outputs is None:
            return found
        return LESS.outputs(found, moment)

    return ProgramChange(upload=upload, outputs=outputs)


def _constant(array: Array) -> bool:
    return bool(array.size > 1 and np.ptp(array) == 0)


def _equal_images(array: Array) -> bool:
    return bool(array.ndim > 1 and len(array) > 1 and (array == array[:1]).all() and not _constant(array))


def _one_constant_image(array: Array) -> bool:
    return array.ndim > 1 and any(map(_constant, array)) and not _constant(array)


LESS = _outputs(_less)
# name: what goes wrong, the change, when
WRONG: dict[str, tuple[str, ProgramChange | Callable[[Graph], ProgramChange], When | None]] = {
    "second_call": ("from the second call on 1 % less", LESS, from_call(2)),
    "twentieth_call": ("from the twentieth call on 1 % less", LESS, from_call(20)),
    "second_load": ("after weights were loaded a second time 1 % less", LESS, from_load(2)),
    "single_image": ("1 % less for a batch of one (another kernel)", LESS, on_images(lambda count: count == 1)),
    "many_images": ("1 % less for three images and more", LESS, on_images(lambda count: count >= 3)),
    "odd_batch": ("1 % less for an odd number of images", LESS, on_images(lambda count: count % 2 == 1)),
    "first_image_for_all": (
        "once warm, the first image is computed and its answer given for all",
        _outputs(_first_for_all),
        from_call(3),
    ),
    "last_image_lost": (
        "the last image of a larger batch is not computed",
        _outputs(_last_lost),
        on_images(lambda n: n > 2),
    ),
    "float16_once_warm": ("once warm, inputs in float16", _inputs(_rounded("float16")), from_call(3)),
    "smaller_once_warm": ("once warm, every second pixel", _inputs(_smaller), from_call(3)),
    "after_nan": ("after a call on NaN 1 % less, as from a workspace that is not cleared", _after_nan, None),
    "state_moves": (
        "running means move at inference",
        ProgramChange(load=_moving, moves=True),
        None,
    ),
    "result_kept_for_all": ("the first result is given for every later batch", ProgramChange(kept=lambda m: 0), None),
    "result_kept_by_first_value": (
        "a result is kept for batches that agree in one value",
        ProgramChange(kept=_by_first_value),
        None,
    ),
    "constant_images": ("1 % less for a batch of one value, such as zeros", LESS, on_values(_constant)),
    "ones": ("1 % less for a batch of ones", LESS, on_values(lambda array: bool((array == 1).all()))),
    "sparse_images": (
        "1 % less for a batch of which nearly all values are 0, and not all (another kernel)",
        LESS,
        on_values(lambda array: 0 < np.count_nonzero(array) < array.size / 8),
    ),
    "equal_images": ("1 % less for images that are equal", LESS, on_values(_equal_images)),
    "one_constant_image": ("1 % less where one image of several is constant", LESS, on_values(_one_constant_image)),
    "result_kept_by_identity": (
        "a result is kept for the same memory, whatever is in it",
        ProgramChange(kept=lambda moment: tuple(id(array) for array in moment.batch.values())),
        None,
    ),
}
# Where one is located that is not of every program, even of one that only copies its input.
NODES = {"state_moves": "norm1", "constant_images": "conv1"}  # zeros that are copied stay zeros
ALSO = {"result_kept_by_identity": "conv1"}  # other weights show it where operands cannot be overwritten

FAULTS = tuple(
    Fault(
        f"program.{name}",
        "program",
        what,
        in_two_blocks,
        "timed",
        NODES.get(name, "image"),
        programs=_programs(change),
        when=when,
        also=ALSO.get(name),
    )
    for name, (what, change, when) in WRONG.items()
)
