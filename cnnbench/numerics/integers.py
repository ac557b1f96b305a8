"""Small-integer operands whose sums are exact in the accumulator, so that a right result is equal bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.budgets.base import exact_rule
from cnnbench.numerics.case import Case
from cnnbench.numerics.reference import LayerCall, LayerGradients, LayerValues, reference
from cnnbench.numerics.rounding import host_dtype
from cnnbench.spec.graph import Node
from cnnbench.spec.layers import AdaptiveAvgPool, AvgPool, GlobalAvgPool, GlobalMaxPool, Layer, Shape, Shapes
from cnnbench.spec.layers.interpolation import taps
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.layers.windows import require_pairs
from cnnbench.spec.streams import stream

Array = NDArray[Any]
Arrays = tuple[Array, ...]

MOVES = ("relu", "max_pool", "global_max_pool", "flatten", "pad", "subsample", "concat", "add")
PRODUCTS = ("conv", "partial_conv", "linear", "radial_basis", "channel_affine")
LARGEST = 3  # of an operand's magnitude
LONG_PRODUCTS = ("conv", "linear")
LONG_BITS = 12  # of an operand: one more than TF32 holds
# Integers up to this size are held exactly by accumulator and result.
INTEGERS = {2.0**-53: 2**53, 2.0**-24: 2**24, 2.0**-11: 2**11, 2.0**-8: 2**8}


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

    @staticmethod
    def of(
        call: LayerCall, cotangents: Arrays, gradients: LayerGradients | None, policy: PrecisionPolicy
    ) -> IntegerCall:
        """Weights and their gradients are held in the host's type, in which all of these integers are exact.

        Args:
            call: In float64.
            cotangents: Of its outputs.
            gradients: Of the call.
            policy: Which says the type.
        """
        values, dtype = reference().forward(call), host_dtype(policy)
        call = replace(call, weights=tuple(array.astype(dtype, copy=False) for array in call.weights))
        if gradients is not None:
            narrow = tuple(None if g is None else g.astype(dtype, copy=False) for g in gradients.weights)
            gradients = gradients._replace(weights=narrow)
        return IntegerCall(call, cotangents, values, gradients)


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


def has_exact_weights(layer: Resize, shape: Shape) -> bool:
    """Whether all weights of the interpolation are multiples of 1/256, so that no type rounds them."""
    found = (taps(axis).weights for axis in layer.axes(shape[2:]))
    return all(bool((weights * 256 == np.rint(weights * 256)).all()) for weights in found)


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
    limit = INTEGERS[policy.accumulator_roundoff]
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
    if not narrow or _fits(call, cotangents, INTEGERS[policy.storage_roundoff]):
        gradients = reference().gradient(call, cotangents)
    return IntegerCall.of(call, cotangents, gradients, policy)


def long_call(case: Case, node: Node) -> IntegerCall | None:
    """Operands of a product that a narrower one would round: odd integers of 12 bits against few ones of either sign.

    TF32 holds 11 bits, so that each product of a 12-bit integer is wrong by one unit, and sums that are held in fewer
    bits lose their ends. Of the three pairs (input, weight), (cotangent, weight) and (input, cotangent) no two operands
    are of 12 bits where they meet: so are the first image's values in some channels, weights of the other channels in
    some outputs, and cotangents of the other outputs in later images. All sums stay below 2^24, exact in any order.

    None where the layer is no such product, or its results are stored in fewer bits than sums are held in.
    """
    policy, layer = case.policy, node.layer
    if layer.kind not in LONG_PRODUCTS or policy.storage_roundoff > policy.accumulator_roundoff:
        return None
    shapes = case.lowered.input_shapes(node, case.size)
    (output,), specs = layer.output_shapes(shapes), layer.weights(shapes)
    draw = _LongDraw(stream(case.seed, "long integers", node.name), INTEGERS[policy.product_roundoff])
    axis = 1 if layer.kind == "conv" else len(output) - 1
    kernel = specs[0].shape
    wide_channel, wide_output = (draw.chosen(shape[axis]) for shape in (shapes[0], output))
    groups = shapes[0][axis] // kernel[1]
    channel = np.arange(kernel[0])[:, np.newaxis] // (kernel[0] // groups) * kernel[1] + np.arange(kernel[1])
    wide = wide_output[:, np.newaxis] & ~wide_channel[channel]
    terms = max(int(np.prod(kernel[1:])), int(np.prod(kernel)) // kernel[1], output[0] * int(np.prod(output[1:])))
    first = np.arange(output[0]) == 0

    def along(flags: Array, images: Array, rank: int) -> Array:
        return images.reshape(-1, *(1,) * (rank - 1)) & flags.reshape(-1, *(1,) * (rank - 1 - axis))

    x = draw.mixed(shapes[0], along(wide_channel, first, len(shapes[0])), terms)
    weight = draw.mixed(kernel, wide.reshape(*wide.shape, *(1,) * (len(kernel) - 2)), terms)
    cotangent = draw.mixed(output, along(~wide_output, ~first, len(output)), terms)
    bias = tuple(draw.odd(spec.shape) for spec in specs[1:])
    call = LayerCall(layer, (x,), (weight, *bias))
    return IntegerCall.of(call, (cotangent,), reference().gradient(call, (cotangent,)), policy)


@dataclass(frozen=True)
class _LongDraw:
    """Draws odd integers of as many bits as products hold, at most ``LONG_BITS``, and few ones.

    Args:
        generator: Of all values.
        limit: Integers up to this size are held exactly by an operand of a product.
    """

    generator: np.random.Generator
    limit: int

    @property
    def largest(self) -> int:
        """2^bits."""
        return int(min(2**LONG_BITS, self.limit))

    def chosen(self, count: int) -> Array:
        """Half of so many, at random; all of one."""
        return np.asarray(self.generator.permutation(count) < (count + 1) // 2)

    def odd(self, shape: tuple[int, ...]) -> Array:
        """Odd integers of all bits, of either sign."""
        half = self.largest // 4
        odd = 2 * self.generator.integers(half, 2 * half, shape) + 1
        return np.asarray(odd * np.where(self.generator.random(shape) < 0.5, -1.0, 1.0))

    def mixed(self, shape: tuple[int, ...], wide: Array, terms: int) -> Array:
        """Odd integers where ``wide``, elsewhere -1, 0 or 1: of ``terms`` such values about 1024 are not 0, or half.

        Args:
            shape: Of the result.
            wide: Where odd integers go, of a shape that broadcasts.
            terms: The length of the longest sum that they are in.
        """
        some = self.generator.random(shape) < min(0.5, 1024 / terms)
        ones = some * np.where(self.generator.random(shape) < 0.5, -1.0, 1.0)
        return np.where(np.broadcast_to(wide, shape), self.odd(shape), ones)


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
