"""Joins the steps of a bound inference program: a product with the bias, batch norm, add and activation after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cnnbench.execution.program import BoundStep, Program
from cnnbench.spec.layers import Conv, Linear
from cnnbench_numpy.fast.activation import IN_PLACE
from cnnbench_numpy.fast.epilogue import Activate, Bias, Rectify, Residual, Scale, Stage

GUESTS = ("batch_norm", "channel_affine", "add", "relu", *IN_PLACE)
HOSTS = ("conv", "linear", *GUESTS)  # kinds that take in what follows them


Role = Literal["kernel", "fresh", "view"]


@dataclass
class FusedStep:
    """A step and what it has taken in.

    Args:
        step: The first of the steps.
        role: ``kernel``: a kernel runs it; else its own op does, which returns a ``fresh`` array or may return a
            ``view`` of its operands.
        inputs, weights, state: As in ``BoundStep``, those of the guests after the host's.
        stages: What follows the host's own computation on each block.
        outputs: The slots of the last step's outputs.
        members: The names of all steps in it, in order.
    """

    step: BoundStep
    role: Role
    inputs: tuple[int, ...]
    weights: tuple[int, ...]
    state: tuple[int, ...]
    stages: tuple[Stage, ...]
    outputs: tuple[int, ...]
    members: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The host's kind."""
        return self.step.layer.kind

    def take_in(self, guest: BoundStep) -> None:
        """Fuses ``guest``, the only reader of this step's output, into this step."""
        if guest.layer.kind == "add":
            (other,) = (slot for slot in guest.inputs if slot not in self.outputs)
            self.stages += (Residual(len(self.inputs)),)
            self.inputs += (other,)
        else:
            self.stages += (_stage(guest, len(self.weights), len(self.state)),)
            self.weights += guest.weights
            self.state += guest.state
        self.outputs = guest.outputs
        self.members += (guest.name,)


def _stage(step: BoundStep, weight: int, state: int) -> Stage:
    if step.layer.kind in IN_PLACE:
        return Activate(step.layer)
    return Rectify() if step.layer.kind == "relu" else Scale(step.layer, weight, state)


def _start(step: BoundStep, role: Role) -> FusedStep:
    """A step on its own. An element-wise host is nothing but stages on its first input."""
    stages: tuple[Stage, ...] = ()
    fast = role == "kernel"
    if fast and isinstance(step.layer, Conv | Linear):
        stages = (Bias(1),) if step.layer.bias else ()
    elif fast and step.layer.kind == "add":
        stages = tuple(Residual(i) for i in range(1, len(step.inputs)))
    elif fast and step.layer.kind in GUESTS:
        stages = (_stage(step, 0, 0),)
    return FusedStep(step, role, step.inputs, step.weights, step.state, stages, step.outputs, (step.name,))


def fuse(program: Program, role_of: Callable[[BoundStep], Role]) -> list[FusedStep]:
    """The program's steps with every guest taken into the host before it.

    Args:
        program: Bound for inference.
        role_of: The role of each step; those without a kernel are left as they are.
    """
    readers: dict[int, int] = dict.fromkeys(program.outputs, 2)  # an output is never taken in
    for step in program.steps:
        for slot in step.inputs:
            readers[slot] = readers.get(slot, 0) + 1
    fused: list[FusedStep] = []
    producers: dict[int, int] = {}  # slot -> position in ``fused``
    for step in program.steps:
        role = role_of(step)
        host = _host(step, fused, producers, readers) if role == "kernel" and step.layer.kind in GUESTS else None
        if host is None:
            producers.update(dict.fromkeys(step.outputs, len(fused)))
            fused.append(_start(step, role))
        else:
            fused[host].take_in(step)
            producers[step.outputs[0]] = host
    return fused


def _host(guest: BoundStep, fused: list[FusedStep], producers: dict[int, int], readers: dict[int, int]) -> int | None:
    """The fused step that takes ``guest`` in: the last producer of its operands, if nothing else reads that one."""
    if guest.layer.kind == "add" and len(guest.inputs) != 2:
        return None
    known = [(producers.get(slot, -1), slot) for slot in guest.inputs]
    position, slot = max(known)
    if position < 0 or readers[slot] != 1:
        return None
    host = fused[position]
    return position if host.role == "kernel" and host.kind in HOSTS else None
