"""How far the results of networks may lie from the exact ones, measured by runs of the oracle with noise."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import HostGradients
from cnnbench.numerics.cache import CacheEntry
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
)
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import largest, largest_differences
from cnnbench.numerics.forced_choices import OPERAND, ForcedChoices
from cnnbench.numerics.oracle import Oracle, walk
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.reverse_noise import ReverseNoise
from cnnbench.numerics.teacher_forcing import noise_input, output_names, with_noise
from cnnbench.spec.graph import Graph
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import digest

Array = NDArray[Any]


def perturbed_precision(case: Case) -> str:
    """The arithmetic of perturbed runs: float32 where the noise is so much larger that its roundings do not show."""
    return "float64" if case.policy.storage == "float64" else "float32"


def noise(case: Case, budgets: Mapping[str, Array], run: int, step: int = 0) -> dict[str, Array]:
    """Uniform noise in +- the sharp budget of each value, by the names of the noise inputs.

    Args:
        case: Whose network has the values.
        budgets: The sharp budget of each value that is to move; images beyond the case's batch are left out.
        run: Number of the perturbed run, which says the noise.
        step: Number of the training step, which has noise of its own.
    """
    shapes = case.lowered.shapes(case.size)
    dtype = np.dtype(perturbed_precision(case)).type
    result = {}
    for value, sharp in budgets.items():
        item = noise_input(case.lowered, value)
        if item is None:
            continue
        generator = stream(case.seed, f"noise {run}", value, step)
        drawn = np.asarray(generator.random(shapes[value], dtype=dtype))
        drawn -= dtype(0.5)
        known = tuple(slice(0, size) for size in drawn.shape)  # the budget may be of more images
        drawn *= 2 * np.asarray(sharp[known], dtype)
        result[item.name] = drawn.reshape(item.full_shape(case.size))
    return result


def one_rounding(case: Case, run: int) -> dict[str, Array]:
    """The case's arrays with each value moved by at most one rounding (in float32: to a neighbour, or not at all)."""
    if perturbed_precision(case) == "float64":
        u = case.policy.storage_roundoff
        return {
            name: np.asarray(a, np.float64)
            * (1 + u * stream(case.seed, f"rounding {run}", name).uniform(-1, 1, a.shape))
            for name, a in case.stored.items()
        }
    step = np.float32(2 * case.policy.storage_roundoff)
    moved = {}
    for name, array in case.stored.items():
        generator = stream(case.seed, f"rounding {run}", name)
        signs = generator.integers(-1, 2, array.shape, dtype=np.int8).astype(np.float32)
        moved[name] = array * (1 + step * signs)
    return moved


def _inference_budgets(oracle: Oracle) -> dict[str, Array]:
    """The sharp budget of each value that an inference pass computes; a value that is only moved has none."""
    budgets = {}
    for node in oracle.case.lowered.nodes:
        truth = oracle.outputs(node.name)
        for value, exact, budget in zip(output_names(oracle.case.lowered, node), *truth, strict=True):
            if budget.sharp.ndim or not exact.ndim:  # of one number, such as a loss, the budget is one, too
                budgets[value] = budget.sharp
    return budgets


def training_budgets(case: Case) -> dict[str, Array]:
    """The sharp budget of each value that a training pass computes."""
    budgets = {}
    for visit in walk(case, training=True):
        names = output_names(case.lowered, visit.node)
        for value, exact, budget in zip(names, visit.values.outputs, visit.budget.outputs, strict=True):
            if np.ndim(budget.sharp) or not np.ndim(exact):
                budgets[value] = np.asarray(budget.sharp, np.float32)
    return budgets


def reverse_noise(case: Case, graph: Graph, budgets: Mapping[str, Array], batch: Mapping[str, Array]) -> ReverseNoise:
    """The budgets of all gradients of a gradient pass, recorded with the noise of the forward pass at 0.

    Args:
        case: Whose loss the gradients are of.
        graph: The case's network, with noise inputs for ``budgets``.
        budgets: The values that have noise inputs.
        batch: Inputs, masks and targets.
    """
    result = ReverseNoise(case.policy, case.loss, case.labels)
    items = [item for value in budgets if (item := noise_input(case.lowered, value)) is not None]
    quiet = {item.name: np.zeros(item.full_shape(case.size)) for item in items}
    with result.recording() as subject:
        subject.gradient(graph, case.stored, {**batch, **quiet}, reference_options(training=True), case.loss)
    return result


class Inference(NamedTuple):
    """What an inference pass gives under given choices.

    Args:
        exact: The exact outputs. envelope: theirs.
        operands: The exact values that choices are made of, by value. around: their envelope.
    """

    exact: dict[str, Array]
    envelope: Envelope
    operands: dict[str, Array]
    around: Envelope


def forward_envelope(oracle: Oracle, choices: Mapping[str, Array] | None = None) -> tuple[dict[str, Array], Envelope]:
    """The exact outputs at inference, and the envelope of perturbed runs.

    Args:
        oracle: Of the case.
        choices: The network's discrete choices, by value; None for the reference's own. All runs make the same ones.
    """
    found = inference(oracle, choices)
    return found.exact, found.envelope


def inference(oracle: Oracle, choices: Mapping[str, Array] | None = None) -> Inference:
    """As ``forward_envelope``, with what choices are made of.

    Args:
        oracle: Of the case.
        choices: As there.
    """
    case = oracle.case
    forced = ForcedChoices(case)
    chosen = {value: choices[value] for value in forced.values} if choices is not None else own_choices(oracle)

    def fill(entry: CacheEntry) -> None:
        subject, options = reference().subject, reference_options()
        clean = subject.forward(forced.given, case.stored, forced.batch(chosen), options).outputs
        budgets = _inference_budgets(oracle)
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
        {name: value for name, value in exact.items() if name.startswith(OPERAND) is of_choices}
        for of_choices in (False, True)
    )
    envelopes = [calibrate(runs, rounding_floor(part, case), largest(part)) for part in (outputs, operands)]
    by_value = {name.removeprefix(OPERAND): value for name, value in operands.items()}
    around = Envelope(
        {name.removeprefix(OPERAND): size for name, size in envelopes[1].size.items()}, envelopes[1].factor
    )
    return Inference(outputs, envelopes[0], by_value, around)


def own_choices(oracle: Oracle) -> dict[str, Array]:
    """The reference's choices; none for a network that does not choose."""
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
    """The exact gradient of every trainable weight in a training pass and the ``LOSS``, with their envelope.

    Where rounding moves a gradient by more than ``ENDS_AT`` of itself, as behind a batch norm of few values, some runs
    do not show how far it may go: the envelope is ``ROUGH`` times as wide.
    """
    case = oracle.case

    def fill(entry: CacheEntry) -> None:
        subject, options = reference().subject, reference_options(training=True)
        batch = case.training_batch()
        clean = subject.gradient(case.lowered, case.stored, batch, options, case.loss)
        budgets = training_budgets(case)
        graph = with_noise(case.lowered, list(budgets))
        reverse = reverse_noise(case, graph, budgets, batch)
        options = reference_options(training=True, name=perturbed_precision(case))
        for run in range(num_runs(case)):
            noisy = {**batch, **noise(case, budgets, run)}
            with reverse.perturbed(stream(case.seed, f"reverse noise {run}")) as perturbed:
                moved = perturbed.gradient(graph, one_rounding(case, run), noisy, options, case.loss)
            _write_run(entry, run, largest_differences(with_loss(moved), with_loss(clean)))
        for name, value in with_loss(clean).items():
            entry.write(f"value.{name}", value)

    entry = oracle.cache.entry(case.key("gradient", loss=case.loss, labels=case.labels.tolist()), fill)
    names = [spec.name for spec in case.lowered.named_weights() if spec.trainable]
    exact = {name: np.asarray(entry.read(f"value.{name}")) for name in (*names, LOSS)}
    runs = _read_runs(entry, exact, case)
    floor, scale = rounding_floor(exact, case), largest(exact)
    found = calibrate(runs, {name: floor[name] for name in names}, scale)
    rough = {name: size * (ROUGH if size > ENDS_AT * scale[name] else 1.0) for name, size in found.size.items()}
    of_loss = calibrate(runs, {LOSS: floor[LOSS]}, scale, safety=LOSS_SAFETY)
    return exact, joined([Envelope(rough, found.factor), of_loss]) if names else of_loss


def with_loss(result: HostGradients) -> dict[str, Array]:
    """The gradients of weights, and the loss as ``LOSS``."""
    return {**result.weights, LOSS: np.asarray(result.loss, np.float64)}


def _write_run(entry: CacheEntry, run: int, deviation: Mapping[str, float]) -> None:
    entry.write(f"deviation.{run}", np.array([deviation[name] for name in sorted(deviation)]))


def _read_runs(entry: CacheEntry, names: Collection[str], case: Case) -> list[dict[str, float]]:
    return [
        dict(zip(sorted(names), map(float, np.nan_to_num(entry.read(f"deviation.{run}"), nan=np.inf)), strict=True))
        for run in range(num_runs(case))
    ]
