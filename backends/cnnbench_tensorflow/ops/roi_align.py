"""Regions sampled between pixels on TensorFlow: four gathers of rows, one for each neighbour of a sample point."""

from __future__ import annotations

from typing import Any

from cnnbench.execution.operations import Call, OpResult
from cnnbench.execution.region_levels import RegionLevels, RegionSamples, RegionSource
from cnnbench.spec.layers.roi_align import LevelRoIAlign, RoIAlign
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.ops.detection import corners_of, images_of, wide
from cnnbench_tensorflow.ops.registry import OPERATIONS

Values = tuple[Any, ...]


def _source(layers: list[RoIAlign], features: list[Any], level: Any, image: Any, dtype: Any) -> RegionSource:
    levels = RegionLevels.of(layers, features[0].shape[0], [x.shape[1:3] for x in features])
    height, width, first = (
        tf.gather(tf.constant(values, tf.int32), level) for values in (levels.heights, levels.widths, levels.begins)
    )
    scale = tf.gather(tf.constant(levels.scales, dtype), level)
    return RegionSource(first + image * height * width, scale, (height, width), levels.most)


def _samples(layer: RoIAlign, source: RegionSource, first: Any, last: Any, axis: int) -> RegionSamples:
    offset = 0.5 if layer.aligned else 0.0
    start = first * source.scale - offset
    length = last * source.scale - offset - start
    if not layer.aligned:
        length = tf.maximum(length, 1.0)
    out, most, size = layer.grid()[axis], source.most[axis], source.sizes[axis]
    if layer.sampling_ratio:
        count = tf.fill(start.shape, tf.cast(most, start.dtype))
    else:
        limit = tf.cast(tf.maximum((size + out - 1) // out, 1), start.dtype)
        count = tf.clip_by_value(tf.math.ceil(length / out), tf.zeros_like(limit), limit)
    number = tf.range(most, dtype=start.dtype)
    parts = (number + 0.5) / tf.maximum(count, 1.0)[:, None]
    cell = tf.range(out, dtype=start.dtype)
    place = start[:, None, None] + (length / out)[:, None, None] * (cell[None, :, None] + parts[:, None, :])
    size = size[:, None, None]
    inside = (place >= -1.0) & (place <= tf.cast(size, place.dtype)) & (number < count[:, None, None])
    place = tf.minimum(tf.maximum(place, 0.0), tf.cast(size - 1, place.dtype))
    low = tf.floor(place)
    share = place - low
    index = tf.cast(low, tf.int32)
    flat = (start.shape[0], out * most)
    zero = tf.zeros_like(share)
    return RegionSamples(
        tf.reshape(index, flat),
        tf.reshape(tf.minimum(index + 1, size - 1), flat),
        tf.reshape(tf.where(inside, 1 - share, zero), flat),
        tf.reshape(tf.where(inside, share, zero), flat),
        count,
    )


def _pooled(layers: list[RoIAlign], features: list[Any], boxes: Any, level: Any, image: Any) -> Any:
    """(R, out, out, C) from the features that each box's level names."""
    layer, channels = layers[0], features[0].shape[3]
    x1, y1, x2, y2 = corners_of(boxes)
    source = _source(layers, features, level, image, x1.dtype)
    down, right = _samples(layer, source, y1, y2, 0), _samples(layer, source, x1, x2, 1)
    rows = tf.concat([tf.reshape(wide(x), (-1, channels)) for x in features], 0)
    first, width = source.first[:, None, None], source.sizes[1][:, None, None]
    (out_rows, out_columns), (most_down, most_right) = layer.grid(), source.most
    cells = (boxes.shape[0], out_rows, most_down, out_columns, most_right, channels)

    def product(y: Any, at_y: Any, x: Any, at_x: Any) -> Any:
        taken = tf.gather(rows, first + y[:, :, None] * width + x[:, None, :])
        return tf.reshape(taken * (at_y[:, :, None] * at_x[:, None, :])[..., None], cells)

    vertical = ((down.low, down.at_low), (down.high, down.at_high))
    horizontal = ((right.low, right.at_low), (right.high, right.at_high))
    products = [product(*y, *x) for y in vertical for x in horizontal]
    if layer.mode == "avg":
        total = tf.reduce_sum(tf.add_n(products), (2, 4))
        return total / tf.maximum(down.count * right.count, 1.0)[:, None, None, None]
    # Points beyond a box's own number of samples are copies that no maximum may see.
    sides = zip(source.most, (down, right), strict=True)
    seen = [tf.range(most, dtype=s.count.dtype) < s.count[:, None] for most, s in sides]
    both = seen[0][:, None, :, None, None, None] & seen[1][:, None, None, None, :, None]
    largest = tf.maximum(tf.maximum(products[0], products[1]), tf.maximum(products[2], products[3]))
    largest = tf.where(both, largest, tf.fill(largest.shape, largest.dtype.min))
    # An axis at a time: the gradient of a maximum has no kernel for so many axes (TensorFlow 2.21).
    largest = tf.reduce_max(tf.reshape(largest, (cells[0] * cells[1], cells[2], -1)), 1)
    largest = tf.reduce_max(tf.reshape(largest, (-1, cells[4], channels)), 1)
    pooled = tf.reshape(largest, (*cells[:2], cells[3], channels))
    none = (tf.minimum(down.count, right.count) == 0)[:, None, None, None]
    return tf.where(none, tf.zeros_like(pooled), pooled)


@OPERATIONS.register("roi_align")
def roi_align(layer: RoIAlign, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """One level."""
    features, boxes = inputs[:2]
    image = tf.cast(inputs[2], tf.int32) if len(inputs) == 3 else images_of(boxes, features.shape[0])
    pooled = _pooled([layer], [features], boxes, tf.zeros_like(image), image)
    return OpResult((tf.cast(pooled, features.dtype),))


@OPERATIONS.register("level_roi_align")
def level_roi_align(layer: LevelRoIAlign, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
    """The rows of all levels one after another; each box adds where its level begins."""
    boxes, level, *features = inputs
    layers = [layer.of_level(number) for number in range(len(features))]
    images = images_of(boxes, features[0].shape[0])
    pooled = _pooled(layers, features, boxes, tf.cast(level[:, 0], tf.int32), images)
    return OpResult((tf.cast(pooled, features[0].dtype),))
