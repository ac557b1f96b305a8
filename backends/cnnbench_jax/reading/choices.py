"""Choices between values: the activations that are one, and logaddexp's form for infinities."""

from __future__ import annotations

from typing import Any

from cnnbench.spec.layers import ELU, ReLU
from cnnbench.spec.layers.arithmetic import Clip
from cnnbench.spec.layers.rectifier import LeakyReLU, PReLU
from cnnbench_jax.reading.call import JaxCall, reads
from cnnbench_jax.reading.draft import Draft, Drafted, FixedArray, Operand, UnreadFormError, inverse
from cnnbench_jax.reading.joining import with_parameter

_NONE_KNOWN = "a choice between values that is none of the known activations: jax.nn has those"


_DIRECTIONS = {"ge": (1, 2), "gt": (1, 2), "le": (2, 1), "lt": (2, 1)}  # the operands below 0 and above
_AT_NAN = (
    "a choice between x and 0 gives 0 where x is NaN, and the layer that it is read as gives NaN: "
    "jax.nn.relu and jax.numpy.minimum do, too"
)


@reads("ge", "gt", "le", "lt", "eq", "ne")
def compare(call: JaxCall) -> Drafted:
    """Kept for the selection that reads it."""
    return call.draft.compared(call.primitive, call.value(0), call.value(1))


@reads("select_n")
def select(call: JaxCall) -> Operand:
    """A branch that is known; logaddexp's; a leaky ReLU."""
    condition = call.operands[0]
    if not isinstance(condition, Drafted):
        chosen = condition.compact()
        if chosen.size == 1:
            return call.operands[1 + int(chosen.reshape(()))]
        raise UnreadFormError("a mask by positions: add a constant mask of large negative numbers instead")
    if len(call.operands) == 3 and condition.compared:
        one, other = condition.inputs
        if condition.compared == "ne" and one is other:
            if _is_logaddexp(one, call.value(1), call.value(2)):
                return call.operands[1]
            raise UnreadFormError("other values in the place of NaN, which no layer gives")
        if condition.compared in _DIRECTIONS and _is_zero(other):
            order = _DIRECTIONS[condition.compared]
            if _is_zero(call.value(1)):  # what is taken where the comparison fails, as it does at NaN
                call.draft.notes.append(_AT_NAN)
            return leaky(call.draft, one, *(call.value(i) for i in order))
    raise UnreadFormError(_NONE_KNOWN)


def _is_logaddexp(difference: Drafted, formula: Drafted, total: Drafted) -> bool:
    """Whether a choice is logaddexp's: where a - b is NaN, a + b, which is NaN too unless both are the same infinity.

    Args:
        difference: a - b.
        formula: What is taken elsewhere.
        total: What is taken where the difference is NaN.
    """
    source = _unscaled(difference)
    summed = total.kind == "add" and source.kind == "subtract" and total.inputs == source.inputs
    if not summed and _unscaled(total) is not source:
        return False
    if formula.kind == "softplus":
        return _unscaled(formula.inputs[0]) is source
    return formula.kind == "add" and any(_is_correction(item, difference) for item in formula.inputs)


def _is_correction(x: Drafted, difference: Drafted) -> bool:
    """Whether it is log(1 + exp(-|a - b|))."""
    for function in ("log1p", "exp"):
        if x.kind != "elementwise" or x.layer.function != function:
            return False
        x = x.inputs[0]
    if x.kind != "scalar_affine" or (x.layer.scale, x.layer.shift) != (-1.0, 0.0):
        return False
    x = x.inputs[0]
    return x.kind == "elementwise" and x.layer.function == "abs" and x.inputs[0] is difference


def _unscaled(x: Drafted) -> Drafted:
    """A value before factors other than 0 and shifts, which is NaN where it is."""
    while x.kind == "scalar_affine" and x.layer.scale:
        x = x.inputs[0]
    return x


def _is_zero(x: Drafted) -> bool:
    """Whether it is the number 0, and no parameter that is 0 now."""
    return x.is_parameter() and not x.layer.trainable and not x.arrays["value"].array.any()


def leaky(draft: Draft, x: Drafted, below: Drafted, above: Drafted) -> Drafted:
    """The activation that takes one value below 0 and another above.

    Args:
        draft: The network so far.
        x: What is compared with 0.
        below: The value below 0.
        above: The value above.
    """
    layer: Any = below.layer
    if above is x and _is_zero(below):
        return draft.add(ReLU(), x)
    if below is x and _is_zero(above):
        return draft.add(Clip(maximum=0.0), x)
    if above is x and below.kind == "scalar_affine" and below.inputs[0] is x and layer.shift == 0:
        return draft.add(LeakyReLU(negative_slope=layer.scale), x)
    if above is x and below.kind == "multiply" and (found := with_parameter(below)) is not None and found[0] is x:
        return _with_slopes(draft, x, found[1])
    inner, alpha = (below.inputs[0], layer.scale) if below.kind == "scalar_affine" and not layer.shift else (below, 1.0)
    grown = inner.kind == "elementwise" and inner.layer.function == "expm1"
    if above is x and grown and (inner.inputs[0] is x or _zero_above(inner.inputs[0], x)):
        return draft.add(ELU(alpha=alpha), x)
    raise UnreadFormError(_NONE_KNOWN)


def _with_slopes(draft: Draft, x: Drafted, slopes: FixedArray) -> Drafted:
    """A leaky ReLU whose slope is a parameter: one, or one for each place along an axis."""
    array, rank = slopes.compact(), len(x.shape)
    given = FixedArray(array.reshape(-1), slopes.name)
    if array.size == 1:
        return draft.add(PReLU(slopes="one"), x, weight=given)
    axis = next((i for i in range(1, rank) if slopes.along(rank, i, x.shape[i])), None)
    if axis is None:
        raise UnreadFormError("a slope for each element: PReLU has one, or one for each channel")
    order = (0, axis, *(i for i in range(1, rank) if i != axis))
    return draft.moved(draft.add(PReLU(slopes="channel"), draft.moved(x, order), weight=given), inverse(order))


def _zero_above(found: Drafted, x: Drafted) -> bool:
    return found.kind == "clip" and found.inputs[0] is x and (found.layer.minimum, found.layer.maximum) == (None, 0.0)
