"""The fallback where no formula is written: how far outputs move when operands move by one rounding, measured.

For a composite that is examined as one node every value between its parts moves too, by what the part's own budget
admits: operands alone would not show what is lost inside, such as in 1 - y^2 where y is near 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    exact,
    forward_budget,
)
from cnnbench.numerics.reference import LayerCall, alone, layer_arrays, reference_options
from cnnbench.numerics.teacher_forcing import noise_name, output_names, with_noise
from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Graph
from cnnbench.spec.passes import lower
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    from cnnbench.numerics.reverse_noise import ReverseNoise

Array = NDArray[Any]
DRAWS = 6
SHARP = 8.0  # standard deviations of one rounding of every operand
WORST = 64.0


def measured_forward(setting: Setting) -> ForwardBudget:
    """Sharp: 8 root-mean-square moves of the output under one rounding of each operand, and 4 roundings of itself."""
    run = _Run(setting, gradient=False)

    def evaluate(call: LayerCall, draw: int) -> tuple[Array, ...]:
        return run.forward(call, draw)

    budgets = _measure(evaluate, (*setting.values.outputs, *setting.values.state), setting)
    count = len(setting.values.outputs)
    return ForwardBudget(budgets[:count], budgets[count:])


def measured_gradient(setting: GradientSetting) -> GradientBudget:
    """The same for gradients, the cotangents being operands too."""
    run = _Run(setting, gradient=True)

    def evaluate(call: LayerCall, draw: int) -> tuple[Array, ...]:
        cotangents = tuple(_moved(g, setting, draw, f"cotangent{i}") for i, g in enumerate(setting.cotangents))
        return run.gradient(call, cotangents, draw)

    known = [g for g in (*setting.gradients.inputs, *setting.gradients.weights) if g is not None]
    budgets = iter(_measure(evaluate, known, setting))
    inputs = tuple(None if g is None else next(budgets) for g in setting.gradients.inputs)
    weights = tuple(None if g is None else next(budgets) for g in setting.gradients.weights)
    return GradientBudget(inputs, weights)


class _Run:
    """A layer on moved operands; a composite with noise at the values between its parts."""

    def __init__(self, setting: Setting, *, gradient: bool) -> None:
        self._setting = setting
        graph, batch, arrays = alone(setting.call)
        self._source = graph.with_float_outputs() if gradient else graph
        self._graph = self._source
        self._sizes: dict[str, Array] = {}
        self._reverse: ReverseNoise | None = None
        if isinstance(setting.layer, Composite):
            parts = lower(self._source)
            shown = {value for _, value in parts.outputs}
            inner = _part_budgets(parts, {**batch, **arrays}, setting)
            self._sizes = {value: size for value, size in inner.items() if value not in shown}
            self._graph = with_noise(parts, list(self._sizes))
            self._reverse = self._reverse_noise(batch, arrays) if gradient else None

    def _reverse_noise(self, batch: dict[str, Array], arrays: dict[str, Array]) -> ReverseNoise:
        """A quarter of the budget of every gradient between the parts."""
        from cnnbench.numerics.reverse_noise import ReverseNoise

        setting = self._setting
        assert isinstance(setting, GradientSetting)
        noise = ReverseNoise(setting.policy, None)
        silent = {noise_name(value): np.zeros(size.shape) for value, size in self._sizes.items()}
        arriving = self._arriving(setting.cotangents)
        with noise.recording() as recording:
            options = reference_options(training=setting.call.training)
            recording.gradient(self._graph, arrays, {**batch, **silent, **arriving}, options)
        noise.amplitudes = [
            tuple(tuple(None if size is None else size / 4 for size in sizes) for sizes in pair)  # type: ignore[misc]
            for pair in noise.amplitudes
        ]
        return noise

    def _arriving(self, cotangents: tuple[Array, ...]) -> dict[str, Array]:
        return {f"gradient.{name}": g for (name, _), g in zip(self._source.outputs, cotangents, strict=True)}

    def _operands(self, call: LayerCall, draw: int) -> tuple[dict[str, Array], dict[str, Array]]:
        _, batch, arrays = alone(call)
        for value, size in self._sizes.items():
            generator = stream(draw, "sensitivity", f"{self._setting.layer.kind}/part {value}")
            batch[noise_name(value)] = size * generator.uniform(-1.0, 1.0, size.shape)
        return batch, arrays

    def forward(self, call: LayerCall, draw: int) -> tuple[Array, ...]:
        """Outputs and state."""
        batch, arrays = self._operands(call, draw)
        options = reference_options(training=call.training)
        result = self._setting.reference.subject.forward(self._graph, arrays, batch, options)
        outputs = (result.outputs[name] for name, _ in self._source.outputs)
        return (*outputs, *(result.state[spec.name] for spec in self._source.named_state()))

    def gradient(self, call: LayerCall, cotangents: tuple[Array, ...], draw: int) -> tuple[Array, ...]:
        """The gradients of inputs and weights that there are."""
        batch, arrays = self._operands(call, draw)
        batch |= self._arriving(cotangents)
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
    """A quarter of each value's sharp budget: ``SHARP`` root-mean-square moves of it are then a little more than it."""
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
    squares = [np.zeros(value.shape) for value in clean]
    for draw in range(DRAWS):
        call = replace(
            setting.call,
            inputs=tuple(_moved(x, setting, draw, f"input{i}") for i, x in enumerate(setting.call.inputs)),
            weights=tuple(_moved(w, setting, draw, f"weight{i}") for i, w in enumerate(setting.call.weights)),
        )
        for total, value, before in zip(squares, evaluate(call, draw), clean, strict=True):
            total += np.square(value - before)
    return tuple(_budget(total, value, setting) for total, value in zip(squares, clean, strict=True))


def _budget(squares: Array, value: Array, setting: Setting) -> Budget:
    u = setting.u
    if value.dtype.kind in "iu":
        return exact(u)
    moves = np.sqrt(squares / DRAWS)
    pooled = np.sqrt(np.mean(np.square(moves))) if moves.size else np.zeros(())
    size = np.maximum(moves, pooled)  # a few draws know one element badly, and all of them together well
    own = 4 * u.stored * np.abs(value) + 8 * u.smallest
    return Budget(SHARP * size + own, WORST * size + 4 * own)


def _moved(array: Array, setting: Setting, draw: int, name: str) -> Array:
    if array.dtype.kind != "f":
        return array
    generator = stream(draw, "sensitivity", f"{setting.layer.kind}/{name}")
    return array * (1 + setting.u.stored * generator.uniform(-1.0, 1.0, array.shape))
