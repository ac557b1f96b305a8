"""Batch norms at inference and layer norms, recognised in the arithmetic of a jaxpr."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.spec.layers import BatchNorm, LayerNorm
from cnnbench_jax.reading.draft import Draft, Drafted, FixedArray, behind_order, inverse, rule
from cnnbench_jax.reading.joining import reduced, with_parameter


def _variance(root: FixedArray) -> tuple[FixedArray, float] | None:
    """The variance and the epsilon of a sum of both."""
    if root.made_by == "add":
        for one, other in (root.operands, root.operands[::-1]):
            if (eps := other.number()) is not None:
                return one, eps
    return None


def _scaled(factor: FixedArray) -> tuple[FixedArray, float, FixedArray | None] | None:
    """The variance, the epsilon and the factor in gamma / sqrt(variance + epsilon)."""
    if factor.made_by == "rsqrt":
        found = _variance(factor.operands[0])
        return None if found is None else (*found, None)
    if factor.made_by == "div" and factor.operands[1].made_by == "sqrt":
        found, over = _variance(factor.operands[1].operands[0]), factor.operands[0]
        return None if found is None else (*found, None if over.number() == 1.0 else over)
    if factor.made_by == "mul":
        for one, other in (factor.operands, factor.operands[::-1]):
            if (inner := _scaled(one)) is not None and inner[2] is None:
                return inner[0], inner[1], other
    return None


def _channel(x: Drafted, array: FixedArray) -> int | None:
    """The axis along which an array has one value for each channel of a value."""
    return next((i for i in range(len(x.shape) - 1, 0, -1) if array.along(len(x.shape), i, x.shape[i])), None)


def _normalized(draft: Draft, x: Drafted, axis: int, eps: float, **arrays: FixedArray) -> Drafted:
    order = (0, axis, *(i for i in range(1, len(x.shape)) if i != axis))
    flat = {role: FixedArray(item.array.reshape(-1), item.name) for role, item in arrays.items()}
    layer = BatchNorm(eps=eps, affine="weight" in arrays)
    made = draft.add(layer, draft.moved(x, order), **flat)
    return draft.moved(made, inverse(order))


@rule
def batch_norm(draft: Draft, made: Drafted) -> Drafted | None:
    """(x - mean) / sqrt(variance + epsilon), the statistics being parameters."""
    if made.kind not in ("multiply", "divide") or len(made.inputs) != 2:
        return None
    found = with_parameter(made)
    if found is None or found[0].kind != "subtract" or (made.kind == "divide" and not made.inputs[1].is_parameter()):
        return None
    difference, factor = found
    if not difference.inputs[1].is_parameter():
        return None
    x, centre = difference.inputs[0], difference.inputs[1].arrays["value"]
    axis = _channel(x, centre)
    if made.kind == "divide":
        inner = _variance(factor.operands[0]) if factor.made_by == "sqrt" else None
        scaled = None if inner is None else (*inner, None)
    else:
        scaled = _scaled(factor)
    if axis is None or scaled is None or not factor.along(len(x.shape), axis, x.shape[axis]):
        return None
    variance, eps, gamma = scaled
    if not variance.array.size == centre.array.size == x.shape[axis]:
        return None
    plain = _normalized(draft, x, axis, eps, running_mean=centre, running_var=variance)
    if gamma is None:
        return plain
    return _times(draft, plain, gamma, axis)


def _times(draft: Draft, x: Drafted, gamma: FixedArray, axis: int) -> Drafted:
    from cnnbench.spec.layers.merge import Multiply

    shape = tuple(-1 if i == axis else 1 for i in range(len(x.shape)))
    factor = FixedArray(gamma.array.reshape(shape), gamma.name, gamma.made_by, gamma.operands)
    return draft.add(Multiply(), x, draft.value(factor))


@rule
def affine_batch_norm(draft: Draft, made: Drafted) -> Drafted | None:
    """A normalised value times gamma plus beta."""
    found = with_parameter(made) if made.kind == "add" and len(made.inputs) == 2 else None
    if found is None or found[0].kind != "multiply" or len(found[0].inputs) != 2:
        return None
    product, beta = with_parameter(found[0]), found[1]
    if product is None:
        return None
    (x, gamma), scaled = product, _scaled(product[1])
    inner, order = behind_order(x)
    axis = _channel(x, gamma)
    if axis is None or not beta.along(len(x.shape), axis, x.shape[axis]):
        return None
    if inner.kind == "batch_norm" and not inner.layer.affine and order[axis] == 1:
        flat = {"weight": gamma, "bias": beta, **inner.arrays}
        return _normalized(draft, draft.moved(inner.inputs[0], order), axis, inner.layer.eps, **flat)
    if scaled is None or beta.made_by != "sub":
        return None
    shift, rest = beta.operands  # beta - mean * (gamma / sqrt(variance + epsilon))
    if rest.made_by != "mul" or gamma.array.size != shift.array.size:
        return None
    for centre, factor in (rest.operands, rest.operands[::-1]):
        if factor.array.size == gamma.array.size and (factor.array.reshape(-1) == gamma.array.reshape(-1)).all():
            given = {"running_mean": centre, "running_var": scaled[0], "bias": shift}
            if scaled[2] is not None:
                return _normalized(draft, x, axis, scaled[1], weight=scaled[2], **given)
    return None


@rule
def layer_norm(draft: Draft, made: Drafted) -> Drafted | None:
    """(x - mean) / sqrt(variance + epsilon) along the last axes, both computed of x."""
    if made.kind not in ("multiply", "divide") or len(made.inputs) != 2:
        return None
    centred, root = made.inputs
    name = "sqrt" if made.kind == "divide" else "rsqrt"
    if made.kind == "multiply" and centred.kind != "subtract":
        centred, root = root, centred
    gamma = None
    if root.kind == "multiply" and (parts := with_parameter(root)) is not None:
        root, gamma = parts
    if centred.kind != "subtract" or root.kind != "elementwise" or root.layer.function != name:
        return None
    shifted, x = root.inputs[0], centred.inputs[0]
    if shifted.kind != "scalar_affine" or shifted.layer.scale != 1 or reduced(centred.inputs[1], "mean") is not x:
        return None
    axes, rank = centred.inputs[1].layer.axes, len(x.shape)
    if axes != tuple(range(axes[0], rank)) or not axes[0] or not _is_variance(shifted.inputs[0], x, centred):
        return None
    layer = LayerNorm(start_axis=axes[0], eps=shifted.layer.shift, affine=False, bias=False)
    plain = draft.add(layer, x)
    if gamma is None:
        return plain
    from cnnbench.spec.layers.merge import Multiply

    return draft.add(Multiply(), plain, draft.value(gamma))


def _is_variance(found: Drafted, x: Drafted, centred: Drafted) -> bool:
    axes = centred.inputs[1].layer.axes
    if found.kind == "relu":  # against a variance below 0 by rounding
        found = found.inputs[0]
    squares = reduced(found, "mean")
    if squares is not None and found.layer.axes == axes:
        return squares.kind == "elementwise" and squares.layer.function == "square" and squares.inputs[0] is centred
    if found.kind != "subtract":
        return False
    of_squares, square = found.inputs
    inner = reduced(of_squares, "mean")
    return (
        inner is not None
        and of_squares.layer.axes == axes
        and all(item.kind == "elementwise" and item.layer.function == "square" for item in (inner, square))
        and inner.inputs[0] is x
        and square.inputs[0] is centred.inputs[1]
    )


@rule
def affine_layer_norm(draft: Draft, made: Drafted) -> Drafted | None:
    """A normalised value times gamma, then plus beta."""
    found = with_parameter(made) if made.kind in ("multiply", "add") and len(made.inputs) == 2 else None
    if found is None or found[0].kind != "layer_norm":
        return None
    (x, array), norm = found, found[0].layer
    compact, own = array.compact(), x.shape[norm.start_axis :]
    if compact.shape != (1,) * norm.start_axis + own:
        return None
    given = FixedArray(compact.reshape(own), array.name)
    if made.kind == "multiply" and not norm.affine:
        return draft.add(replace(norm, affine=True), *x.inputs, weight=given)
    if made.kind == "add" and norm.affine and not norm.bias:
        return draft.add(replace(norm, bias=True), *x.inputs, **x.arrays, bias=given)
    return None
