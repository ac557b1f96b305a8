"""Detectors on TensorFlow: regions by gathered rows, suppression by whole matrices of overlaps.

``tf.image.crop_and_resize`` places samples by another convention than any published detector, its gradient is not
repeatable and XLA lacks it; ``tf.image.non_max_suppression`` knows float32 and float16 only and fails under XLA where
there are fewer boxes than outputs.
"""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, RoIMaxPool, TakeRows
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def wide(x: Any) -> Any:
    """Coordinates and sums need more bits than narrow types have."""
    return tf.cast(x, tf.float32) if x.dtype in (tf.bfloat16, tf.float16) else x


def corners_of(boxes: Any) -> list[Any]:
    """x1, y1, x2, y2, to which no gradient goes."""
    return tf.unstack(tf.stop_gradient(wide(boxes)), axis=1)


def images_of(boxes: Any, images: int) -> Any:
    """The image of each box, where boxes belong to the images in equal shares."""
    return tf.range(boxes.shape[0]) // max(boxes.shape[0] // max(images, 1), 1)


def _half_away(x: Any) -> Any:
    """round() of C: halves away from zero; ``tf.round`` takes them to the even neighbour."""
    whole = tf.floor(tf.abs(x))
    return tf.cast(tf.sign(x) * (whole + tf.cast(tf.abs(x) - whole >= 0.5, x.dtype)), tf.int32)


def _ranges(layer: RoIMaxPool, first: Any, last: Any, axis: int, size: int) -> tuple[Any, Any]:
    """The begin and the end (R, out) of every cell along an axis, within the features."""
    begin = _half_away(first * layer.spatial_scale)[:, None]
    length = tf.maximum(_half_away(last * layer.spatial_scale)[:, None] - begin + 1, 1)
    out = layer.grid()[axis]
    cell = tf.range(out)
    low, high = begin + cell * length // out, begin - (-(cell + 1) * length // out)
    return tf.clip_by_value(low, 0, size), tf.clip_by_value(high, 0, size)


def _doubled(x: Any, axis: int) -> list[Any]:
    """Along an axis the maxima of 1, 2, 4 ... values from each position on; near the end of those that are there."""
    tables = [x]
    size = x.shape[axis]
    before = (slice(None),) * axis
    while 2 ** len(tables) <= size:
        reach = 2 ** (len(tables) - 1)
        kept, moved = tables[-1][(*before, slice(0, size - reach))], tables[-1][(*before, slice(reach, size))]
        end = tables[-1][(*before, slice(size - reach, size))]
        tables.append(tf.concat([tf.maximum(kept, moved), end], axis))
    return tables


@OPERATIONS.register("roi_max_pool")
def roi_max_pool(layer: RoIMaxPool, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Each cell is covered by four overlapping blocks whose sides are powers of 2, maxima of which stand in tables."""
    features = inputs[0]
    number, height, width, channels = features.shape
    x1, y1, x2, y2 = corners_of(inputs[1])
    tables = tf.stack([table for tall in _doubled(features, 1) for table in _doubled(tall, 2)])
    rows = tf.reshape(tables, (-1, channels))
    sides = [_ranges(layer, y1, y2, 0, height), _ranges(layer, x1, x2, 1, width)]
    blocks = []
    for (low, high), size in zip(sides, (height, width), strict=True):
        length = tf.maximum(high - low, 1)
        level = tf.add_n([tf.cast(length >= 2**k, tf.int32) for k in range(size.bit_length())]) - 1
        blocks.append((level, low, tf.maximum(high - tf.bitwise.left_shift(tf.ones_like(level), level), 0)))
    (level_y, top, bottom), (level_x, left, right) = blocks
    table = level_y[:, :, None] * width.bit_length() + level_x[:, None, :]
    own = tf.cast(inputs[2], tf.int32) if len(inputs) == 3 else images_of(inputs[1], number)
    image = (table * number + own[:, None, None]) * height
    found = [
        tf.gather(rows, (image + y[:, :, None]) * width + x[:, None, :])
        for y in (tf.minimum(top, height - 1), bottom)
        for x in (tf.minimum(left, width - 1), right)
    ]
    pooled = tf.maximum(tf.maximum(found[0], found[1]), tf.maximum(found[2], found[3]))
    (low_y, high_y), (low_x, high_x) = sides
    filled = (high_y > low_y)[:, :, None, None] & (high_x > low_x)[:, None, :, None]
    return OpResult((tf.where(filled, pooled, tf.zeros_like(pooled)),))


@OPERATIONS.register("anchor_grid")
def anchor_grid(layer: AnchorGrid, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """Broadcasting, in float32 at least."""
    _, height, width, _ = inputs[0].shape
    down, right = layer.strides()
    dtype = wide(tf.zeros((), inputs[0].dtype)).dtype
    y, x = tf.meshgrid(tf.range(height, dtype=dtype) * down, tf.range(width, dtype=dtype) * right, indexing="ij")
    boxes = tf.reshape(tf.stack([x, y, x, y], -1), (-1, 1, 4)) + tf.constant(layer.around_origin(), dtype)
    return OpResult((tf.cast(tf.reshape(boxes, (-1, 4)), inputs[0].dtype),))


def _as_corners(layer: NonMaxSuppression, boxes: Any) -> Any:
    first, second = boxes[..., :2], boxes[..., 2:]
    if layer.box_format == "center":
        first, second = first - second / 2, first + second / 2
    return tf.concat([tf.minimum(first, second), tf.maximum(first, second)], -1)


def _overlaps(corners: Any) -> Any:
    """(S, B, B) intersection over union, 0 where the union is 0."""
    low, high = corners[..., :2], corners[..., 2:]
    sides = tf.minimum(high[:, :, None], high[:, None]) - tf.maximum(low[:, :, None], low[:, None])
    common = tf.reduce_prod(tf.maximum(sides, 0.0), -1)
    area = tf.reduce_prod(high - low, -1)
    return tf.math.divide_no_nan(common, area[:, :, None] + area[:, None] - common)


def _greedy(suppresses: Any, takes_part: Any) -> Any:
    """Which boxes, best first, stay: i stays if it takes part and no j < i that stays suppresses it.

    Starting from all, the rule is applied until nothing changes. After k rounds the first k boxes are right, so the
    answer is the greedy one; a round settles whole chains, so that a few do.
    """

    def settled(stay: Any) -> Any:
        return takes_part & ~tf.reduce_any(suppresses & stay[:, :, None], 1)

    def goes_on(before: Any, stay: Any) -> Any:
        return tf.reduce_any(before != stay)

    return tf.while_loop(goes_on, lambda _, stay: (stay, settled(stay)), (takes_part, settled(takes_part)))[1]


@OPERATIONS.register("non_max_suppression")
def non_max_suppression(
    layer: NonMaxSuppression, inputs: Values, weights: Values, state: Values, call: Call
) -> OpResult:
    """The matrices of overlaps of boxes sorted by score."""
    boxes, scores = (tf.stop_gradient(wide(x)) for x in inputs)
    batch, number, most = list(scores.shape[:-1]), scores.shape[-1], layer.max_outputs
    boxes, scores = tf.reshape(boxes, (-1, number, 4)), tf.reshape(scores, (-1, number))
    order = tf.argsort(scores, axis=-1, direction="DESCENDING", stable=True)
    corners = _as_corners(layer, tf.gather(boxes, order, batch_dims=1))
    takes_part = tf.fill(order.shape, True)
    if layer.score_threshold is not None:
        takes_part &= tf.gather(scores, order, batch_dims=1) > layer.score_threshold
    if layer.min_size is not None:
        takes_part &= tf.reduce_all(corners[..., 2:] - corners[..., :2] >= layer.min_size, -1)
    later = tf.range(number)[:, None] < tf.range(number)
    stay = _greedy((_overlaps(corners) > layer.iou_threshold) & later, takes_part)
    # Those that stay come first, in their order.
    first = tf.argsort(tf.cast(stay, tf.int32), axis=-1, direction="DESCENDING", stable=True)
    indices = tf.where(tf.gather(stay, first, batch_dims=1), tf.gather(order, first, batch_dims=1), -1)[:, :most]
    indices = tf.pad(indices, ((0, 0), (0, max(most - number, 0))), constant_values=-1)
    count = tf.minimum(tf.reduce_sum(tf.cast(stay, tf.int32), -1), most)
    return OpResult((tf.reshape(indices, (*batch, most)), tf.reshape(count, batch)))


@OPERATIONS.register("take_rows")
def take_rows(layer: TakeRows, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """``tf.gather`` with the images as its batch."""
    values, indices = inputs
    taken = tf.gather(values, tf.maximum(indices, 0), batch_dims=1)
    there = tf.reshape(indices >= 0, (*indices.shape, *(1,) * (values.shape.rank - 2)))
    return OpResult((tf.where(there, taken, tf.zeros_like(taken)),))
