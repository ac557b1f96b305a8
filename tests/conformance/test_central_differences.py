"""The reference's gradients of every shared case, held by central differences of its forward pass in float64."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.conformance import layer_cases
from cnnbench.numerics.reference import LayerCall, reference, reference_options
from cnnbench.numerics.rounding import Roundoff
from cnnbench.numerics.ties import Backward, hull
from cnnbench.spec.masks import masks_of
from cnnbench.spec.passes import lower

STEP = 1e-6
FLOAT64 = reference_options().precision
DIRECTIONS = 3
TRAINED = [name for name, case in layer_cases().items() if case.layer.differentiable and case.differences]


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_equal_central_differences(name):
    """Along random directions in all operands at once: <gradient, d> = (f(x + h d) - f(x - h d)) / 2 h."""
    case = layer_cases()[name].case(reference_options(training=True))
    graph = lower(case.graph).with_float_outputs()
    floats = [item.name for item in graph.inputs if item.dtype == "float"]
    arrays = {key: np.asarray(array, np.float64) for key, array in case.arrays.items()}
    batch = {key: np.asarray(x, np.float64) if key in floats else x for key, x in case.batch.items()}
    batch |= masks_of(graph, case.size, case.seed)
    generator = np.random.default_rng(7)
    shapes = graph.shapes(case.size)
    cotangents = {f"gradient.{out}": np.asarray(generator.normal(size=shapes[v])) for out, v in graph.outputs}
    options = reference_options(training=True)
    subject = reference().subject
    found = subject.gradient(graph, arrays, {**batch, **cotangents}, options)
    trained = [spec.name for spec in graph.named_weights() if spec.trainable]

    def value(step: float, direction: dict[str, np.ndarray]) -> float:
        moved = {key: x + step * direction[key] if key in direction else x for key, x in {**arrays, **batch}.items()}
        result = subject.forward(
            graph, {key: moved[key] for key in arrays}, {key: moved[key] for key in batch}, options
        )
        total = 0.0
        for out, _ in graph.outputs:
            found = result.outputs[out]
            still = np.isinf(found)  # a padding's constant, which no operand moves
            total += float((cotangents[f"gradient.{out}"] * np.where(still, 0.0, found)).sum())
        return total

    for _ in range(DIRECTIONS):
        direction = {key: generator.normal(size=np.shape(arrays[key])) for key in trained}
        fixed = case.graph.nodes[0].layer.no_gradient_to
        still = {item.name for i, item in enumerate(case.graph.inputs) if i in fixed}
        for i, key in enumerate(floats):
            if key in still:
                direction[key] = np.zeros(batch[key].shape)
                continue
            moves = np.asarray(generator.normal(size=batch[key].shape))
            corner = _ties(case.graph.nodes[0].layer, batch[key], arrays, cotangents) if i == 0 else None
            direction[key] = moves if corner is None else np.where(corner, 0.0, moves)
        size = np.sqrt(sum(float((d * d).sum()) for d in direction.values()))
        direction = {key: d / size for key, d in direction.items()}
        expected = (value(STEP, direction) - value(-STEP, direction)) / (2 * STEP)
        parts = [found.inputs[key] * direction[key] for key in floats]
        parts += [found.weights[key] * direction[key] for key in trained]
        got = sum(float(part.sum()) for part in parts)
        scale = np.sqrt(
            sum(float((np.asarray(g) ** 2).sum()) for g in (*found.inputs.values(), *found.weights.values()))
        )
        assert abs(got - expected) <= 1e-6 * max(scale, abs(expected), 1e-3), (got, expected)


def _ties(layer, x, arrays, cotangents):
    """Where the gradient of the first input is a matter of choice."""
    call = LayerCall(layer, (x,), tuple(arrays.values()))
    found = hull(Backward(call, next(iter(cotangents.values())), np.zeros(x.shape)), Roundoff.of(FLOAT64))
    return None if found is None else found.tied
