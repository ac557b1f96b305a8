"""Error budgets of layer kinds without a formula, measured: each operand is moved by one rounding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import cotangent_name
from cnnbench.numerics.budgets.base import (
    FALLBACK,
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    forward_budget,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.reference import LayerCall, alone, layer_arrays, reference_options
from cnnbench.numerics.reverse_noise import ReverseNoise
from cnnbench.numerics.rounding import Roundoff
from cnnbench.numerics.teacher_forcing import noise_name, output_names, with_noise
from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Graph
from cnnbench.spec.passes import lower
from cnnbench.spec.streams import stream

Array = NDArray[Any]
DRAWS = 6
SHARP = 8.0  # standard deviations of one rounding of every operand
WORST = 64.0


@forward_formula(FALLBACK)
def measured_forward(setting: Setting) -> ForwardBudget:
    """The error budgets of a layer's outputs and running statistics, from ``DRAWS`` runs on perturbed operands.

    For example, let a layer without a formula compute y = x^3. Each run multiplies every x by a random factor between
    1 - u and 1 + u, and y moves by m. Let r be the root mean square of m over the runs. The sharp budget is
    ``SHARP`` r + 4 u |y|. Its first term is for rounded operands, its second for the roundings of the layer itself.

    Sums need more. The perturbations of n operands partly cancel in their sum, while computing the sum rounds n times.
    So where n operands enter each value, r is multiplied by max(1, sqrt(n) a / u), where a is the unit roundoff of the
    accumulator, and the second term is (4 u + 2 sqrt(n) a) |y|.

    A composite that is checked as one node also gets noise on every value between its parts, a quarter of that part's
    sharp budget. Perturbed operands alone would not show the digits lost inside, as in 1 - y^2 where y is near 1.
    """
    run = _Rerun(setting, gradient=False)
    budgets = _measure(run.forward, (*setting.values.outputs, *setting.values.state), setting)
    count = len(setting.values.outputs)
    return ForwardBudget(budgets[:count], budgets[count:])


@gradient_formula(FALLBACK)
def measured_gradient(setting: GradientSetting) -> GradientBudget:
    """The error budgets of a layer's gradients, measured as by ``measured_forward`` with perturbed cotangents too."""
    run = _Rerun(setting, gradient=True)

    def evaluate(call: LayerCall, draw: int) -> tuple[Array, ...]:
        cotangents = tuple(_moved(g, setting, draw, f"cotangent{i}") for i, g in enumerate(setting.cotangents))
        return run.gradient(call, cotangents, draw)

    known = [g for g in (*setting.gradients.inputs, *setting.gradients.weights) if g is not None]
    budgets = iter(_measure(evaluate, known, setting))
    inputs = tuple(None if g is None else next(budgets) for g in setting.gradients.inputs)
    weights = tuple(None if g is None else next(budgets) for g in setting.gradients.weights)
    return GradientBudget(inputs, weights)


class _Rerun:
    """Runs a layer again on perturbed operands. The graph of a composite has noise inputs between its parts.

    Args:
        setting: The layer with its exact operands.
        gradient: Whether gradients are asked for.
    """

    def __init__(self, setting: Setting, *, gradient: bool) -> None:
        self._setting = setting
        graph, batch, arrays = alone(setting.call)
        self._source = graph.with_float_outputs() if gradient else graph
        self._graph = self._source
        self._sizes: dict[str, Array] = {}  # of the noise, by the value that gets it
        self._reverse: ReverseNoise | None = None
        if isinstance(setting.layer, Composite):
            parts = lower(self._source)
            shown = {value for _, value in parts.outputs}
            inner = _part_budgets(parts, {**batch, **arrays}, setting)
            self._sizes = {value: size for value, size in inner.items() if value not in shown}
            self._graph = with_noise(parts, list(self._sizes))
            self._reverse = self._reverse_noise(batch, arrays) if gradient else None

    def _reverse_noise(self, batch: dict[str, Array], arrays: dict[str, Array]) -> ReverseNoise:
        """Noise on the gradients between the parts: a quarter of their sharp budgets."""
        setting = self._setting
        assert isinstance(setting, GradientSetting)
        noise = ReverseNoise(setting.policy, None)
        silent = {noise_name(value): np.zeros(size.shape) for value, size in self._sizes.items()}
        with noise.recording() as recording:
            options = reference_options(training=setting.call.training)
            given = {**batch, **silent, **self._cotangent_inputs(setting.cotangents)}
            recording.gradient(self._graph, arrays, given, options)
        noise.amplitudes = [
            tuple(tuple(None if size is None else size.scaled(0.25) for size in sizes) for sizes in pair)  # type: ignore[misc]
            for pair in noise.amplitudes
        ]
        return noise

    def _cotangent_inputs(self, cotangents: tuple[Array, ...]) -> dict[str, Array]:
        return {cotangent_name(name): g for (name, _), g in zip(self._source.outputs, cotangents, strict=True)}

    def _operands(self, call: LayerCall, draw: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """The call's batch and arrays, and the draw's noise."""
        _, batch, arrays = alone(call)
        for value, size in self._sizes.items():
            generator = stream(draw, "sensitivity", f"{self._setting.layer.kind}/part {value}")
            batch[noise_name(value)] = size * generator.uniform(-1.0, 1.0, size.shape)
        return batch, arrays

    def forward(self, call: LayerCall, draw: int) -> tuple[Array, ...]:
        """Outputs and state of a call, with the noise of one draw."""
        batch, arrays = self._operands(call, draw)
        options = reference_options(training=call.training)
        result = self._setting.reference.subject.forward(self._graph, arrays, batch, options)
        outputs = (result.outputs[name] for name, _ in self._source.outputs)
        return (*outputs, *(result.state[spec.name] for spec in self._source.named_state()))

    def gradient(self, call: LayerCall, cotangents: tuple[Array, ...], draw: int) -> tuple[Array, ...]:
        """The gradients of the inputs, then of the weights, without those that do not exist.

        Args:
            call: The layer on perturbed operands.
            cotangents: The perturbed cotangents of the outputs.
            draw: Number of the draw, which seeds the noise.
        """
        batch, arrays = self._operands(call, draw)
        batch |= self._cotangent_inputs(cotangents)
        options = reference_options(training=call.training)
        if self._reverse is None:
            result = self._setting.reference.subject.gradient(self._graph, arrays, batch, options)
        else:
            with self._reverse.perturbed(stream(draw, "sensitivity", "reverse")) as perturbed:
                result = perturbed.gradient(self._graph, arrays, batch, options)
        inputs = (result.inputs.get(item.name) for item in self._source.inputs)
        weights = (result.weights.get(spec.name) for spec in self._source.named_weights())
        return tuple(g for g in (*inputs, *weights) if g is not None)


def _part_budgets(parts: Graph, known: dict[str, Array], setting: Setting) -> dict[str, Array]:
    """A quarter of the sharp budget of each value that a composite's parts compute.

    Uniform noise in +- 1/4 of a budget has a root mean square of 0.14 budgets; ``SHARP`` times that is 1.15 budgets.
    """
    values, sizes = dict(known), {}
    for node in parts.nodes:
        shapes = parts.input_shapes(node)
        weights, state = layer_arrays(parts, node, known)
        masks = node.layer.masks(shapes) if setting.call.training else ()
        call = LayerCall(
            node.layer,
            tuple(values[value] for value in node.inputs),
            weights,
            state,
            tuple(known[f"{node.name}.{spec.name}"] for spec in masks),
            setting.call.training,
        )
        results = setting.reference.forward(call)
        budget = forward_budget(Setting(call, results, setting.policy, setting.reference))
        for name, value, admitted in zip(output_names(parts, node), results.outputs, budget.outputs, strict=True):
            values[name] = value
            if value.dtype.kind == "f":
                sizes[name] = np.broadcast_to(admitted.sharp / 4, value.shape)
    return sizes


def _measure(
    evaluate: Callable[[LayerCall, int], Sequence[Array]], clean: Sequence[Array], setting: Setting
) -> tuple[Budget, ...]:
    """The budget of each value, from how far it moves in each draw.

    For a composite the roundings of sums are not added again: its parts have them as noise.

    Args:
        evaluate: (call with perturbed operands, number of the draw) -> the values.
        clean: The values on exact operands.
        setting: The layer with its exact operands.
    """
    squares = [np.zeros(value.shape) for value in clean]
    for draw in range(DRAWS):
        call = replace(
            setting.call,
            inputs=tuple(_moved(x, setting, draw, f"input{i}") for i, x in enumerate(setting.call.inputs)),
            weights=tuple(_moved(w, setting, draw, f"weight{i}") for i, w in enumerate(setting.call.weights)),
        )
        for total, value, before in zip(squares, evaluate(call, draw), clean, strict=True):
            total += np.square(value - before)
    operands = sum(array.size for array in (*setting.call.inputs, *setting.call.weights))
    fewest = math.inf
    if isinstance(setting, GradientSetting):  # it may read the forward pass' sums, however many values it has itself
        operands += sum(array.size for array in setting.cotangents)
        fewest = min((value.size for value in setting.values.outputs), default=1)
    whole = isinstance(setting.layer, Composite)
    budgets = []
    for total, value in zip(squares, clean, strict=True):
        terms = 1 if whole else max(1, math.ceil(operands / max(1, min(value.size, fewest))))
        budgets.append(_budget(total, value, setting.u, terms))
    return tuple(budgets)


def _budget(squares: Array, value: Array, u: Roundoff, terms: int) -> Budget:
    """The budget of a value each of whose elements is computed from ``terms`` operands."""
    if value.dtype.kind in "iu":
        return exact(u)
    moves = np.sqrt(squares / DRAWS)
    pooled = np.sqrt(np.mean(np.square(moves))) if moves.size else np.zeros(())
    summed = np.sqrt(min(terms, u.narrow_terms)) * u.accumulated if terms > 1 else 0.0
    size = np.maximum(moves, pooled)  # a few draws know one element badly, and all of them together well
    size *= max(1.0, summed / u.stored)
    own = (4 * u.stored + 2 * summed) * np.abs(value) + 8 * u.smallest
    return Budget(SHARP * size + own, WORST * size + 4 * own)


def _moved(array: Array, setting: Setting, draw: int, name: str) -> Array:
    """The operand with each value moved at random by at most one rounding; integers do not change."""
    if array.dtype.kind != "f":
        return array
    generator = stream(draw, "sensitivity", f"{setting.layer.kind}/{name}")
    return array * (1 + setting.u.stored * generator.uniform(-1.0, 1.0, array.shape))
