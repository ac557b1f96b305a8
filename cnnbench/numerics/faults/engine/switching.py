"""Programs that are wrong only at some moments: from a call on, for some batches, sizes or values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.numerics.faults.engine.programs import Compilers, Moment

if TYPE_CHECKING:
    from cnnbench.execution.host import HostArrays, HostGradients, HostResult, HostSlots, HostTraining

When = Callable[[Moment], bool]


def from_call(number: int) -> When:
    """From this run of a program on, counted from 1."""
    return lambda moment: moment.call >= number


def from_load(number: int) -> When:
    """From this load of a program on, counted from 1."""
    return lambda moment: moment.loads >= number


def on_images(test: Callable[[int], bool]) -> When:
    """For batches whose number of images passes the test."""
    return lambda moment: test(moment.images)


def on_sizes(test: Callable[[tuple[int, ...]], bool]) -> When:
    """For batches of which an array's sizes behind the channels pass the test."""
    return lambda moment: any(array.ndim > 2 and test(array.shape[2:]) for array in moment.batch.values())


def on_values(test: Callable[[Any], bool]) -> When:
    """For batches of which an array passes the test."""
    return lambda moment: any(bool(test(array)) for array in moment.batch.values() if array.size)


class BothOperands(NamedTuple):
    """Operands for either program, with the host arrays that they were made of."""

    batch: HostArrays
    right: Any
    wrong: Any


class ResultOfOne(NamedTuple):
    """A result, and the program that gave it."""

    program: Any
    inner: Any


class _Switched:
    """Two programs of the same question, of which a run takes the wrong one at some moments."""

    program = ""

    def __init__(self, right: Any, wrong: Any, when: When) -> None:
        self._right, self._wrong, self._when = right, wrong, when
        self._loads = self._calls = 0

    def load(self, *arrays: Any) -> None:
        """Loads both."""
        self._loads += 1
        self._right.load(*arrays)
        self._wrong.load(*arrays)

    def upload(self, batch: HostArrays) -> BothOperands:
        """Uploads to both."""
        batch = {name: np.array(array) for name, array in batch.items()}  # the caller may overwrite its own
        return BothOperands(batch, self._right.upload(batch), self._wrong.upload(batch))

    def prepare(self, operands: BothOperands) -> None:
        """Prepares both."""
        self._right.prepare(operands.right)
        self._wrong.prepare(operands.wrong)

    def _choose(self, operands: BothOperands) -> tuple[Any, Any]:
        self._calls += 1
        if self._when(Moment(self.program, self._loads, self._calls, operands.batch)):
            return self._wrong, operands.wrong
        return self._right, operands.right


class SwitchedForward(_Switched, ForwardProgram):
    """A forward program that is wrong at some moments."""

    program = "forward"

    def run(self, operands: BothOperands) -> ResultOfOne:
        chosen, own = self._choose(operands)
        return ResultOfOne(chosen, chosen.run(own))

    def download(self, results: ResultOfOne) -> HostResult:
        found: HostResult = results.program.download(results.inner)
        return found

    def held(self) -> HostArrays | None:
        found: HostArrays | None = self._right.held()
        return found


class SwitchedGradient(_Switched, GradientProgram):
    """A gradient program that is wrong at some moments."""

    program = "gradient"

    def run(self, operands: BothOperands) -> ResultOfOne:
        chosen, own = self._choose(operands)
        return ResultOfOne(chosen, chosen.run(own))

    def download(self, results: ResultOfOne) -> HostGradients:
        found: HostGradients = results.program.download(results.inner)
        return found


class SwitchedStep(_Switched, StepProgram):
    """A step program that is wrong at some moments; the training state goes over from one to the other."""

    program = "step"

    def __init__(self, right: Any, wrong: Any, when: When) -> None:
        super().__init__(right, wrong, when)
        self._holder = right

    def load(self, weights: HostArrays, state: HostArrays, slots: HostSlots | None = None) -> None:
        super().load(weights, state, slots)
        self._holder = self._right

    def run(self, operands: BothOperands, learning_rate: float) -> ResultOfOne:
        chosen, own = self._choose(operands)
        if chosen is not self._holder:
            chosen.load(*self._holder.snapshot())
            self._holder = chosen
        return ResultOfOne(chosen, chosen.run(own, learning_rate))

    def loss(self, result: ResultOfOne) -> float:
        value: float = result.program.loss(result.inner)
        return value

    def snapshot(self) -> HostTraining:
        found: HostTraining = self._holder.snapshot()
        return found


SWITCHED: dict[str, Callable[[Any, Any, When], Any]] = {
    "compile_forward": SwitchedForward,
    "compile_gradient": SwitchedGradient,
    "compile_step": SwitchedStep,
}


def switching(right: Compilers, wrong: Compilers, when: When) -> Compilers:
    """Compilers of programs that are those of ``wrong`` at some moments and those of ``right`` at all others.

    Args:
        right: By name, with ``synchronize``.
        wrong: The same names.
        when: The moments.
    """

    def of_both(name: str) -> Callable[..., Any]:
        def compile_both(*arguments: Any, **keywords: Any) -> Any:
            programs = [compilers[name](*arguments, **keywords) for compilers in (right, wrong)]
            return SWITCHED[name](programs[0], programs[1], when)

        return compile_both

    def synchronize(value: Any = None) -> None:
        wrong["synchronize"](value.inner if isinstance(value, ResultOfOne) else value)

    return {name: of_both(name) for name in SWITCHED} | {"synchronize": synchronize}
