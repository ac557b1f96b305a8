"""Faults put in around compiled programs: what is loaded, uploaded, kept, put off and given back, by call and batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnnbench.execution.compiled import ForwardProgram, GradientProgram, StepProgram
from cnnbench.execution.host import HostGradients, HostResult, HostSlots, HostTraining

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend
    from cnnbench.execution.host import HostArrays, HostSlots
    from cnnbench.spec.graph import Graph

COMPILERS = ("compile_forward", "compile_gradient", "compile_step")
Compilers = Mapping[str, Callable[..., Any]]
"""Changed ones of a backend's ``compile_forward``, ``compile_gradient``, ``compile_step``, ``synchronize``, by name."""


class Loaded(NamedTuple):
    """What a program is given at load, canonical and on the host."""

    weights: HostArrays
    state: HostArrays
    slots: HostSlots | None = None


@dataclass(frozen=True)
class Moment:
    """Where a compiled program is in its life.

    Args:
        program: ``forward``, ``gradient`` or ``step``.
        loads: How often it was loaded, this time included.
        call: How often it was run since it was compiled, this run included; at ``load`` the runs so far.
        batch: What was uploaded for this run, by name; empty at ``load``. rate: the one asked of a step.
    """

    program: str
    loads: int
    call: int
    batch: HostArrays = field(default_factory=dict)
    rate: float = 0.0

    @property
    def images(self) -> int:
        """The size of the first axis of the largest array of the batch."""
        return max((array.shape[0] for array in self.batch.values() if array.ndim), default=0)


@dataclass(frozen=True, kw_only=True)
class ProgramChange:
    """What is changed around a compiled program, each part by a function of host arrays and the ``Moment``.

    Args:
        graph: The graph that is compiled in place of the one that was asked for.
        load: (what is loaded, moment) -> what the program is loaded with.
        moves: Whether ``load`` is asked again before each run, so that what was loaded changes with the calls; in
            training, on what the program holds.
        upload: (batch, moment) -> the batch that is uploaded.
        outputs: (result, moment) -> what a forward pass gives back.
        gradients: (result, moment) -> what a gradient pass gives back.
        trained: (training state before, after the step, moment) -> the state that training goes on from.
        loss: (value, moment) -> the loss that a gradient pass or a step reports.
        rate: (learning rate, moment) -> the one that the step is run with.
        kept: moment -> a key, or None for a run of its own: a run whose key was met gives that run's result.
        put_off: Whether ``run`` does nothing and the work is done by ``download``.
        hidden: Whether ``held`` tells nothing, as that of a backend which cannot.
    """

    graph: Callable[[Graph], Graph] | None = None
    load: Callable[[Loaded, Moment], Loaded] | None = None
    moves: bool = False
    upload: Callable[[HostArrays, Moment], HostArrays] | None = None
    outputs: Callable[[HostResult, Moment], HostResult] | None = None
    gradients: Callable[[HostGradients, Moment], HostGradients] | None = None
    trained: Callable[[HostTraining, HostTraining, Moment], HostTraining] | None = None
    loss: Callable[[float, Moment], float] | None = None
    rate: Callable[[float, Moment], float] | None = None
    kept: Callable[[Moment], Hashable | None] | None = None
    put_off: bool = False
    hidden: bool = False


class HeldOperands(NamedTuple):
    """Uploaded operands with the host arrays that they were made of."""

    batch: HostArrays
    inner: Any


@dataclass
class HeldResult:
    """A run's result with its moment; ``inner`` is None until the work that was put off is done."""

    moment: Moment
    inner: Any
    work: Callable[[], Any] | None = None

    def done(self) -> Any:
        """The inner program's result."""
        if self.work is not None:
            self.inner, self.work = self.work(), None
        return self.inner


class _Changed:
    """The life of a program with a change around it: what every kind of program shares."""

    program = ""

    def __init__(self, inner: Any, change: ProgramChange) -> None:
        self._inner, self._change = inner, change
        self._loads = self._calls = 0
        self._given: Loaded | None = None
        self._results: dict[Hashable, HeldResult] = {}

    def _moment(self, batch: HostArrays) -> Moment:
        return Moment(self.program, self._loads, self._calls, batch)

    def _put(self, given: Loaded, moment: Moment) -> None:
        found = given if self._change.load is None else self._change.load(given, moment)
        self._inner.load(found.weights, found.state, *(() if found.slots is None else (found.slots,)))

    def _held(self) -> Loaded | None:
        return self._given

    def load(self, weights: HostArrays, state: HostArrays, slots: HostSlots | None = None) -> None:
        """Loads what the change makes of the arrays."""
        self._loads += 1
        self._given = Loaded(weights, state, slots)
        self._put(self._given, self._moment({}))

    def upload(self, batch: HostArrays) -> HeldOperands:
        """Uploads what the change makes of the batch."""
        batch = {name: np.array(array) for name, array in batch.items()}  # the caller may overwrite its own
        moment = Moment(self.program, self._loads, self._calls + 1, batch)
        changed = batch if self._change.upload is None else self._change.upload(batch, moment)
        return HeldOperands(batch, self._inner.upload(changed))

    def prepare(self, operands: HeldOperands) -> None:
        """Prepares the inner program."""
        self._inner.prepare(operands.inner)

    def _run(self, operands: HeldOperands, *more: Any) -> HeldResult:
        self._calls += 1
        moment = self._moment(operands.batch)
        key = None if self._change.kept is None else self._change.kept(moment)
        if key is not None and key in self._results:
            return self._results[key]
        if self._change.moves and (held := self._held()) is not None:
            self._put(held, moment)
        result = HeldResult(moment, None, lambda: self._inner.run(operands.inner, *more))
        if not self._change.put_off:
            result.done()
        if key is not None:
            self._results[key] = result
        return result


class ChangedForward(_Changed, ForwardProgram):
    """A forward program with a change around it."""

    program = "forward"

    def run(self, operands: HeldOperands) -> HeldResult:
        return self._run(operands)

    def download(self, results: HeldResult) -> HostResult:
        found: HostResult = self._inner.download(results.done())
        return found if self._change.outputs is None else self._change.outputs(found, results.moment)

    def held(self) -> HostArrays | None:
        found: HostArrays | None = None if self._change.hidden else self._inner.held()
        return found


class ChangedGradient(_Changed, GradientProgram):
    """A gradient program with a change around it."""

    program = "gradient"

    def run(self, operands: HeldOperands) -> HeldResult:
        return self._run(operands)

    def download(self, results: HeldResult) -> HostGradients:
        found: HostGradients = self._inner.download(results.done())
        if self._change.loss is not None:
            found = found._replace(loss=self._change.loss(found.loss, results.moment))
        return found if self._change.gradients is None else self._change.gradients(found, results.moment)


class ChangedStep(_Changed, StepProgram):
    """A step program with a change around it."""

    program = "step"

    def _held(self) -> Loaded:
        return Loaded(*self._inner.snapshot())

    def run(self, operands: HeldOperands, learning_rate: float) -> HeldResult:
        change, trained = self._change, self._change.trained
        moment = Moment(self.program, self._loads, self._calls + 1, operands.batch, learning_rate)
        rate = learning_rate if change.rate is None else change.rate(learning_rate, moment)
        if trained is None:
            return self._run(operands, rate)
        before = self._inner.snapshot()
        result = self._run(operands, rate)
        result.inner = self._inner.loss(result.done())  # before its buffers go
        self._inner.load(*trained(before, self._inner.snapshot(), moment))
        return result

    def loss(self, result: HeldResult) -> float:
        inner = result.done()
        value = inner if isinstance(inner, float) else self._inner.loss(inner)
        return value if self._change.loss is None else self._change.loss(value, result.moment)

    def snapshot(self) -> HostTraining:
        found: HostTraining = self._inner.snapshot()
        return found


WRAPPERS: dict[str, Callable[[Any, ProgramChange], Any]] = {
    "compile_forward": ChangedForward,
    "compile_gradient": ChangedGradient,
    "compile_step": ChangedStep,
}


def changed_programs(
    change: ProgramChange | Callable[[Graph], ProgramChange], compilers: tuple[str, ...] = COMPILERS
) -> Callable[[Backend], Compilers]:
    """For ``Fault.programs``: every program that a backend compiles has the change around it.

    Args:
        change: The change, or what makes it for the graph that is to be compiled.
        compilers: The compilers whose programs are changed.
    """

    def of_backend(backend: Any) -> Compilers:
        def wrapped(name: str, right: Callable[..., Any]) -> Callable[..., Any]:
            def compile_changed(graph: Graph, *arguments: Any, **keywords: Any) -> Any:
                found = change if isinstance(change, ProgramChange) else change(graph)
                other = graph if found.graph is None else found.graph(graph)
                return WRAPPERS[name](right(other, *arguments, **keywords), found)

            return compile_changed

        right: Callable[..., None] = backend.synchronize

        def synchronize(value: Any = None) -> None:
            right(value.inner if isinstance(value, HeldResult) else value)

        return {name: wrapped(name, getattr(backend, name)) for name in compilers} | {"synchronize": synchronize}

    return of_backend
