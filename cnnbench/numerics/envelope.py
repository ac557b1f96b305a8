"""The error that rounding explains in a whole network's results, measured by float64 runs with added noise.

For example, each value that a node computes is moved at random within its rounding budget, in a few runs. If the logits
then move by up to 3e-6, a backend's logits may lie a small multiple of 3e-6 from the exact ones: that is the envelope.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.cache_entry import CacheEntry
from cnnbench.numerics.calibration import (
    ENDS_AT,
    LOSS,
    LOSS_SAFETY,
    MANY,
    ROUGH,
    Envelope,
    calibrate,
    joined,
    num_runs,
    rounding_floor,
    with_loss,
)
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import largest, largest_differences
from cnnbench.numerics.forced_choices import ForcedChoices
from cnnbench.numerics.noise import Noises, inference_budgets, noise, one_rounding, perturbed_precision
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.teacher_forcing import with_noise
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import digest

Array = NDArray[Any]


class Inference(NamedTuple):
    """The exact results of an inference pass whose discrete choices are given, with their envelopes.

    A discrete choice is for example which boxes non-maximum suppression keeps.

    Args:
        exact: The outputs in float64, by name.
        envelope: How far outputs may lie from ``exact``.
        operands: The values in float64 that choices are made from (such as scores), by the value that is chosen.
        around: How far operands may lie from ``operands``.
    """

    exact: dict[str, Array]
    envelope: Envelope
    operands: dict[str, Array]
    around: Envelope


def forward_envelope(oracle: Oracle, choices: Mapping[str, Array] | None = None) -> tuple[dict[str, Array], Envelope]:
    """The exact outputs at inference, and how far rounding may move them.

    Args:
        oracle: The oracle of the case.
        choices: The discrete choices that every run is made to take, by value; None for the reference's own.
    """
    found = inference(oracle, choices)
    return found.exact, found.envelope


def inference(oracle: Oracle, choices: Mapping[str, Array] | None = None) -> Inference:
    """The exact outputs at inference and the operands of discrete choices, each with its envelope.

    Args:
        oracle: The oracle of the case.
        choices: As for ``forward_envelope``.
    """
    case = oracle.case
    forced = ForcedChoices(case)
    chosen = {value: choices[value] for value in forced.values} if choices is not None else own_choices(oracle)

    def fill(entry: CacheEntry) -> None:
        subject, options = reference().subject, reference_options()
        clean = subject.forward(forced.given, case.stored, forced.batch(chosen), options).outputs
        budgets = inference_budgets(oracle)
        graph = with_noise(forced.given, list(budgets))
        few = case if num_runs(case) == sum(MANY) else case.cut(1)  # images do not meet at inference
        inputs = ForcedChoices(few).batch(chosen)
        # not a part of the clean outputs: rows of boxes, and joined axes, hold images elsewhere than in the first axis
        start = clean if few is case else subject.forward(forced.given, case.stored, inputs, options).outputs
        options = reference_options(name=perturbed_precision(case))
        for run in range(num_runs(case)):
            batch = {**inputs, **noise(few, budgets, run)}
            moved = subject.forward(graph, one_rounding(case, run), batch, options).outputs
            _write_run(entry, run, largest_differences(moved, start))
        for i, (name, _) in enumerate(forced.given.outputs):
            entry.write(f"value.{i}", clean[name])

    entry = oracle.cache.entry(case.key("end to end", **({"choices": digest(chosen)} if chosen else {})), fill)
    names = [name for name, _ in forced.given.outputs]
    exact = {name: np.asarray(entry.read(f"value.{i}")) for i, name in enumerate(names)}
    runs = _read_runs(entry, names, case)
    outputs, operands = (
        {name: value for name, value in exact.items() if (name in forced.operand_outputs) is of_choices}
        for of_choices in (False, True)
    )
    envelopes = [calibrate(runs, rounding_floor(part, case), largest(part)) for part in (outputs, operands)]
    by_value = {forced.operand_outputs[name]: value for name, value in operands.items()}
    around = Envelope(
        {forced.operand_outputs[name]: size for name, size in envelopes[1].size.items()}, envelopes[1].factor
    )
    return Inference(outputs, envelopes[0], by_value, around)


def own_choices(oracle: Oracle) -> dict[str, Array]:
    """The discrete choices that the float64 reference makes, by value; empty for a network without any."""
    case, forced = oracle.case, ForcedChoices(oracle.case)
    if not forced.values:
        return {}

    def fill(entry: CacheEntry) -> None:
        outputs = (
            reference().subject.forward(forced.with_choices, case.stored, case.inputs, reference_options()).outputs
        )
        for i, value in enumerate(forced.of(outputs).values()):
            entry.write(f"choice.{i}", value)

    entry = oracle.cache.entry(case.key("choices"), fill)
    return {value: np.asarray(entry.read(f"choice.{i}")) for i, value in enumerate(forced.values)}


def gradient_envelope(oracle: Oracle) -> tuple[dict[str, Array], Envelope]:
    """The exact loss and gradient of every trainable weight in one training pass, and how far rounding may move them.

    Where rounding moves a gradient by more than ``ENDS_AT`` of its largest value, as behind a batch norm over few
    values, a few runs do not show how far it may move. There the envelope is ``ROUGH`` times as wide.
    """
    case = oracle.case

    def fill(entry: CacheEntry) -> None:
        subject, options = reference().subject, reference_options(training=True)
        batch = case.training_batch()
        clean = with_loss(subject.gradient(case.lowered, case.stored, batch, options, case.loss))
        for name, value in clean.items():
            entry.write(f"value.{name}", value)
        del clean  # perturbed ones are compared with what lies on disk
        noises = Noises.of(case)
        options = reference_options(training=True, name=perturbed_precision(case))
        for run in range(num_runs(case)):
            noisy = {**batch, **noise(case, noises.budgets, run)}
            with noises.reverse.perturbed(stream(case.seed, f"reverse noise {run}")) as perturbed:
                moved = with_loss(perturbed.gradient(noises.graph, one_rounding(case, run), noisy, options, case.loss))
            _write_run(entry, run, largest_differences(moved, {name: entry.read(f"value.{name}") for name in moved}))
            del moved

    entry = oracle.cache.entry(case.key("gradient", loss=case.loss, labels=case.labels.tolist()), fill)
    names = [spec.name for spec in case.lowered.named_weights() if spec.trainable]
    exact = {name: np.asarray(entry.read(f"value.{name}")) for name in (*names, LOSS)}
    runs = _read_runs(entry, exact, case)
    floor, scale = rounding_floor(exact, case), largest(exact)
    found = calibrate(runs, {name: floor[name] for name in names}, scale)
    rough = {name: size * (ROUGH if size > ENDS_AT * scale[name] else 1.0) for name, size in found.size.items()}
    of_loss = calibrate(runs, {LOSS: floor[LOSS]}, scale, safety=LOSS_SAFETY)
    return exact, joined([Envelope(rough, found.factor), of_loss]) if names else of_loss


def _write_run(entry: CacheEntry, run: int, deviation: Mapping[str, float]) -> None:
    entry.write(f"deviation.{run}", np.array([deviation[name] for name in sorted(deviation)]))


def _read_runs(entry: CacheEntry, names: Collection[str], case: Case) -> list[dict[str, float]]:
    return [
        dict(zip(sorted(names), map(float, np.nan_to_num(entry.read(f"deviation.{run}"), nan=np.inf)), strict=True))
        for run in range(num_runs(case))
    ]
