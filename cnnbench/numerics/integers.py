"""Small-integer operands whose sums are exact in the accumulator, so that a right result is equal bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import exact_rule
from cnnbench.numerics.case import Case
from cnnbench.numerics.reference import LayerCall, LayerGradients, LayerValues, reference
from cnnbench.spec.graph import Node
from cnnbench.spec.layers import AdaptiveAvgPool, AvgPool, GlobalAvgPool, GlobalMaxPool, Layer, Shapes
from cnnbench.spec.layers.windows import require_pairs
from cnnbench.spec.streams import stream

Array = NDArray[Any]
Arrays = tuple[Array, ...]

MOVES = ("relu", "max_pool", "global_max_pool", "flatten", "pad", "subsample", "concat", "add")
PRODUCTS = ("conv", "partial_conv", "linear", "radial_basis", "channel_affine")
LARGEST = 3  # of an operand's magnitude
# Integers up to this size are held exactly by accumulator and result.
_INTEGERS = {2.0**-53: 2**53, 2.0**-24: 2**24, 2.0**-11: 2**11, 2.0**-8: 2**8}


@dataclass(frozen=True)
class IntegerCall:
    """A node's integer operands and exact results; cotangents are integers too.

    ``gradients`` is None where their sums are exact in the accumulator but not in the storage type, in which
    frameworks may hold the sums of narrow gradients.
    """

    call: LayerCall
    cotangents: Arrays
    values: LayerValues
    gradients: LayerGradients | None


def is_exact(layer: Layer, inputs: Shapes) -> bool:
    """Whether a layer of small integers gives exact results whatever the order of its sums."""
    rule = exact_rule(layer.kind)
    if rule is not None:
        return rule(layer, inputs)
    if layer.kind in MOVES or layer.kind in PRODUCTS:
        return True
    if isinstance(layer, AvgPool):
        if layer.divisor is not None:
            return _power_of_two(layer.divisor)
        counts_pad = layer.count_include_pad and not layer.ceil_mode
        unpadded = not any(sum(pair) for pair in require_pairs(layer.padding))
        windows = int(np.prod(layer.window().kernel_size))
        return _power_of_two(windows) and (counts_pad or (unpadded and not layer.ceil_mode))
    if isinstance(layer, GlobalAvgPool) and not isinstance(layer, GlobalMaxPool):
        return _power_of_two(int(np.prod(inputs[0][2:])))
    if isinstance(layer, AdaptiveAvgPool):
        even = all(size % out == 0 for size, out in zip(inputs[0][2:], layer.sizes(), strict=True))
        return even and _power_of_two(int(np.prod([s // o for s, o in zip(inputs[0][2:], layer.sizes(), strict=True)])))
    return False


def _power_of_two(number: int) -> bool:
    return number > 0 and not number & (number - 1)


def integer_call(case: Case, node: Node) -> IntegerCall | None:
    """Integer operands of a node whose sums stay exact; None where they cannot (too many terms for the type).

    Weights have no zeros, so that each of them shows. Where results are stored in fewer bits than sums are held in,
    biases are zero: a result is then rounded once, and equality still holds.
    """
    policy, seed = case.policy, case.seed
    shapes = case.lowered.input_shapes(node, case.size)
    narrow = policy.storage_roundoff > policy.accumulator_roundoff
    limit = _INTEGERS[policy.accumulator_roundoff]
    inputs = tuple(_integers(seed, f"{node.name}.input{i}", shape) for i, shape in enumerate(shapes))
    weights = tuple(
        np.zeros(spec.shape)
        if narrow and spec.name == "bias"
        else _nonzero(seed, f"{node.name}.{spec.name}", spec.shape)
        for spec in node.layer.weights(shapes)
    )
    call = LayerCall(node.layer, inputs, weights)
    outputs = node.layer.output_shapes(shapes)
    cotangents = tuple(_integers(seed, f"{node.name}.cotangent{i}", shape) for i, shape in enumerate(outputs))
    # every sum of products has at most as many terms as its operands have values
    terms = max([x.size for x in inputs] + [g.size for g in cotangents])
    if terms * 4 * LARGEST**2 >= limit and not _fits(call, cotangents, limit):
        return None
    gradients = None
    if not narrow or _fits(call, cotangents, _INTEGERS[policy.storage_roundoff]):
        gradients = reference().gradient(call, cotangents)
    return IntegerCall(call, cotangents, reference().forward(call), gradients)


def _fits(call: LayerCall, cotangents: Arrays, limit: int) -> bool:
    """Whether sums of magnitudes stay below the limit; (|x| + |w|)^2 for distances."""
    sign = -1 if call.layer.kind == "radial_basis" else 1
    inputs = tuple(sign * np.abs(x) for x in call.inputs)
    size = LayerCall(call.layer, inputs, tuple(map(np.abs, call.weights)))
    gradients = reference().gradient(size, tuple(map(np.abs, cotangents)))
    known = [*reference().forward(size).outputs, *(g for g in (*gradients.inputs, *gradients.weights) if g is not None)]
    return all(np.abs(array).max(initial=0) < limit for array in known)


def _integers(seed: int, name: str, shape: tuple[int, ...]) -> Array:
    return stream(seed, "integers", name).integers(-LARGEST, LARGEST + 1, shape).astype(np.float64)


def _nonzero(seed: int, name: str, shape: tuple[int, ...]) -> Array:
    generator = stream(seed, "integers", name)
    return generator.integers(1, LARGEST + 1, shape) * np.where(generator.random(shape) < 0.5, -1.0, 1.0)
