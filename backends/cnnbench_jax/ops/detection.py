"""Detectors on JAX: regions by gathered rows, suppression by whole matrices of overlaps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, RoIMaxPool, TakeRows
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def wide(x: Array) -> Array:
    """Coordinates and sums need more bits than narrow types have."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def channels_last(x: Array, call: Call) -> Array:
    """(N, H, W, C) of an operand in either layout."""
    return x if call.channels_last else jnp.moveaxis(x, 1, -1)


def as_called(x: Array, call: Call) -> Array:
    """(N, H, W, C) in the layout that the call has."""
    return x if call.channels_last else jnp.moveaxis(x, -1, 1)


def corners_of(boxes: Array) -> list[Array]:
    """x1, y1, x2, y2, to which no gradient goes."""
    fixed = lax.stop_gradient(wide(boxes))
    return [fixed[:, i] for i in range(4)]


def images_of(boxes: Array, images: int) -> Array:
    """The image of each box, where boxes belong to the images in equal shares."""
    return jnp.arange(boxes.shape[0]) // max(boxes.shape[0] // max(images, 1), 1)


def _half_away(x: Array) -> Array:
    """round() of C: halves away from zero; ``jnp.round`` takes them to the even neighbour."""
    whole = jnp.floor(jnp.abs(x))
    return (jnp.sign(x) * (whole + (jnp.abs(x) - whole >= 0.5))).astype(jnp.int32)


def _ranges(layer: RoIMaxPool, first: Array, last: Array, axis: int, size: int) -> tuple[Array, Array]:
    """The begin and the end (R, out) of every cell along an axis, within the features."""
    begin = _half_away(first * layer.spatial_scale)[:, None]
    length = jnp.maximum(_half_away(last * layer.spatial_scale)[:, None] - begin + 1, 1)
    out = layer.grid()[axis]
    cell = jnp.arange(out)
    low, high = begin + cell * length // out, begin - (-(cell + 1) * length // out)
    return jnp.clip(low, 0, size), jnp.clip(high, 0, size)


def _doubled(x: Array, axis: int) -> list[Array]:
    """Along an axis the maxima of 1, 2, 4 ... values from each position on; near the end of those that are there."""
    tables = [x]
    size = x.shape[axis]
    while 2 ** len(tables) <= size:
        reach = 2 ** (len(tables) - 1)
        parts = [(0, size - reach), (reach, size), (size - reach, size)]
        kept, moved, end = (lax.slice_in_dim(tables[-1], low, high, axis=axis) for low, high in parts)
        tables.append(jnp.concatenate([jnp.maximum(kept, moved), end], axis))
    return tables


@OPERATIONS.register("roi_max_pool")
def roi_max_pool(layer: RoIMaxPool, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Each cell is covered by four overlapping blocks whose sides are powers of 2, maxima of which stand in tables."""
    features = channels_last(inputs[0], call)
    x1, y1, x2, y2 = corners_of(inputs[1])
    tables = jnp.stack([jnp.stack(_doubled(tall, 2)) for tall in _doubled(features, 1)])
    sides = [_ranges(layer, y1, y2, 0, features.shape[1]), _ranges(layer, x1, x2, 1, features.shape[2])]
    blocks = []
    for low, high in sides:
        level = jnp.frexp(jnp.maximum(high - low, 1).astype(jnp.float32))[1] - 1
        blocks.append((level, low, jnp.maximum(high - 2**level, 0)))
    (level_y, top, bottom), (level_x, left, right) = blocks
    own = inputs[2] if len(inputs) == 3 else images_of(inputs[1], features.shape[0])
    image = own[:, None, None]
    found = [
        tables[level_y[:, :, None], level_x[:, None, :], image, y[:, :, None], x[:, None, :]]
        for y in (jnp.minimum(top, features.shape[1] - 1), bottom)
        for x in (jnp.minimum(left, features.shape[2] - 1), right)
    ]
    pooled = jnp.maximum(jnp.maximum(found[0], found[1]), jnp.maximum(found[2], found[3]))
    (low_y, high_y), (low_x, high_x) = sides
    filled = (high_y > low_y)[:, :, None, None] & (high_x > low_x)[:, None, :, None]
    return OpResult((as_called(jnp.where(filled, pooled, 0), call),))


@OPERATIONS.register("anchor_grid")
def anchor_grid(layer: AnchorGrid, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """Broadcasting, in float32 at least."""
    shape = inputs[0].shape
    height, width = shape[1:3] if call.channels_last else shape[2:]
    down, right = layer.strides()
    dtype = jnp.promote_types(inputs[0].dtype, jnp.float32)
    y, x = jnp.meshgrid(jnp.arange(height, dtype=dtype) * down, jnp.arange(width, dtype=dtype) * right, indexing="ij")
    boxes = jnp.stack([x, y, x, y], -1).reshape(-1, 1, 4) + jnp.array(layer.around_origin(), dtype)
    return OpResult((boxes.reshape(-1, 4).astype(inputs[0].dtype),))


def _as_corners(layer: NonMaxSuppression, boxes: Array) -> Array:
    first, second = boxes[:, :2], boxes[:, 2:]
    if layer.box_format == "center":
        first, second = first - second / 2, first + second / 2
    return jnp.concatenate([jnp.minimum(first, second), jnp.maximum(first, second)], 1)


def _overlaps(corners: Array) -> Array:
    """(B, B) intersection over union, 0 where the union is 0."""
    low, high = corners[:, :2], corners[:, 2:]
    sides = jnp.maximum(jnp.minimum(high[:, None], high) - jnp.maximum(low[:, None], low), 0)
    common = sides[..., 0] * sides[..., 1]
    area = (high - low)[:, 0] * (high - low)[:, 1]
    union = area[:, None] + area - common
    return jnp.where(union > 0, common / jnp.where(union > 0, union, 1), 0)


def _greedy(suppresses: Array, takes_part: Array) -> Array:
    """Which boxes, best first, stay: i stays if it takes part and no j < i that stays suppresses it.

    Starting from all, the rule is applied until nothing changes. After k rounds the first k boxes are right, so the
    answer is the greedy one; a round settles whole chains, so that a few do.
    """

    def settled(stay: Array) -> Array:
        return takes_part & ~(suppresses & stay[:, None]).any(0)

    def body(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        return pair[1], settled(pair[1])

    return lax.while_loop(lambda pair: (pair[0] != pair[1]).any(), body, (takes_part, settled(takes_part)))[1]


@OPERATIONS.register("non_max_suppression")
def non_max_suppression(
    layer: NonMaxSuppression, inputs: Arrays, weights: Arrays, state: Arrays, call: Call
) -> OpResult:
    """The matrix of overlaps of boxes sorted by score; leading axes by ``vmap``."""
    boxes, scores = (lax.stop_gradient(wide(x)) for x in inputs)
    batch, number, most = scores.shape[:-1], scores.shape[-1], layer.max_outputs

    def one(boxes: Array, scores: Array) -> tuple[Array, Array]:
        order = jnp.argsort(scores, descending=True, stable=True).astype(jnp.int32)
        corners = _as_corners(layer, boxes[order])
        takes_part = jnp.ones(number, bool)
        if layer.score_threshold is not None:
            takes_part &= scores[order] > layer.score_threshold
        if layer.min_size is not None:
            takes_part &= (corners[:, 2:] - corners[:, :2] >= layer.min_size).all(1)
        stay = _greedy(jnp.triu(_overlaps(corners) > layer.iou_threshold, 1), takes_part)
        place = jnp.where(stay, jnp.cumsum(stay) - 1, most)
        indices = jnp.full(most, -1, jnp.int32).at[place].set(order, mode="drop")
        return indices, jnp.minimum(stay.sum(dtype=jnp.int32), most)

    indices, count = jax.vmap(one)(boxes.reshape(-1, number, 4), scores.reshape(-1, number))
    return OpResult((indices.reshape(*batch, most), count.reshape(batch)))


@OPERATIONS.register("take_rows")
def take_rows(layer: TakeRows, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """``take_along_axis`` along axis 1."""
    values, indices = inputs
    index: Any = indices.reshape(*indices.shape, *(1,) * (values.ndim - 2))
    taken = jnp.take_along_axis(values, jnp.maximum(index, 0), 1)
    return OpResult((jnp.where(index >= 0, taken, 0),))
