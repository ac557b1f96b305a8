"""Trains by a program: rounds in turn, in a few parts of which each is reported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from cnnbench.measurement.clock import MACHINE, Clock
from cnnbench.training.epoch import Epoch
from cnnbench.training.programs.runner import ProgramRunner, ProgramState

PARTS = 10


@dataclass(frozen=True)
class ProgramResult:
    """What a training by a program gives.

    Args:
        losses: Of each phase of each round, in turn, before its update.
        parts: What each part of the training came to.
        final: Everything that is held at the end.
    """

    losses: tuple[float, ...]
    parts: tuple[Epoch, ...]
    final: ProgramState


def train_by_program(
    runner: ProgramRunner,
    rounds: int,
    start: ProgramState | None = None,
    *,
    on_part: Callable[[Epoch], None] = lambda part: None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    clock: Clock = MACHINE,
) -> ProgramResult:
    """Trains, and stops where a loss is no finite number: nothing that follows could be.

    Args:
        runner: Of the program.
        rounds: How many.
        start: What it begins with; None for the initial weights of the settings' seed.
        on_part: Called with each of ``PARTS`` parts of the training as it ends.
        on_step: Called with the number (from 1) of each step of a phase, and its loss.
        clock: By which steps take time.
    """
    runner.load(start)
    losses, parts, first = list[float](), list[Epoch](), 0
    seconds = waited = 0.0
    phases = len(runner.program.phases)
    for at in range(rounds):
        for number in range(phases):
            asked = clock.now()
            batch = runner.batch(number, at)
            begun = clock.now()
            losses.append(runner.take(number, batch))
            seconds, waited = seconds + clock.now() - begun, waited + begun - asked
            on_step(len(losses), losses[-1])
        runner.end_round()
        finite = all(map(math.isfinite, losses[-phases:]))
        if (at + 1) * PARTS // rounds > at * PARTS // rounds or not finite:
            mean = math.fsum(losses[first:]) / (len(losses) - first)
            images = runner.settings.batch * (len(losses) - first) // phases
            part = Epoch(epoch=len(parts) + 1, step=len(losses), train_loss=mean, seconds=seconds)
            parts.append(part.model_copy(update={"data_seconds": waited, "images": images}))
            on_part(parts[-1])
            seconds, waited, first = 0.0, 0.0, len(losses)
        if not finite:
            break
    return ProgramResult(tuple(losses), tuple(parts), runner.snapshot())
