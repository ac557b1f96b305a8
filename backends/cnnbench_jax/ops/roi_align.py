"""Regions sampled between pixels on JAX: four gathers of rows, one for each neighbour of a sample point."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from cnnbench.execution.operations import Call, OpResult
from cnnbench.execution.region_levels import RegionLevels, RegionSamples, RegionSource
from cnnbench.spec.layers.roi_align import LevelRoIAlign, RoIAlign
from cnnbench_jax.ops.detection import as_called, channels_last, corners_of, images_of, wide
from cnnbench_jax.ops.registry import OPERATIONS

Arrays = tuple[Array, ...]


def _source(
    layers: list[RoIAlign], features: list[Array], level: Array, image: Array, dtype: jnp.dtype
) -> RegionSource:
    levels = RegionLevels.of(layers, features[0].shape[0], [x.shape[1:3] for x in features])
    height, width = jnp.array(levels.heights)[level], jnp.array(levels.widths)[level]
    first = jnp.array(levels.begins)[level] + image * height * width
    return RegionSource(first, jnp.array(levels.scales, dtype)[level], (height, width), levels.most)


def _samples(layer: RoIAlign, source: RegionSource, first: Array, last: Array, axis: int) -> RegionSamples:
    offset = 0.5 if layer.aligned else 0.0
    start = first * source.scale - offset
    length = last * source.scale - offset - start
    if not layer.aligned:
        length = jnp.maximum(length, 1.0)
    out, most, size = layer.grid()[axis], source.most[axis], source.sizes[axis][:, None, None]
    if layer.sampling_ratio:
        count = jnp.full_like(start, most)
    else:
        count = jnp.clip(jnp.ceil(length / out), 0, jnp.maximum(-(-source.sizes[axis] // out), 1))
    number = jnp.arange(most)
    parts = (number + 0.5).astype(start.dtype) / jnp.maximum(count, 1)[:, None]
    cell = jnp.arange(out, dtype=start.dtype)
    place = start[:, None, None] + (length / out)[:, None, None] * (cell[None, :, None] + parts[:, None, :])
    inside = (place >= -1) & (place <= size) & (number < count[:, None, None])
    place = jnp.clip(place, 0, (size - 1).astype(place.dtype))
    low = jnp.floor(place)
    share = place - low
    index = low.astype(jnp.int32)
    flat = (start.shape[0], out * most)
    return RegionSamples(
        index.reshape(flat),
        jnp.minimum(index + 1, size - 1).reshape(flat),
        jnp.where(inside, 1 - share, 0).reshape(flat),
        jnp.where(inside, share, 0).reshape(flat),
        count,
    )


def _pooled(layers: list[RoIAlign], features: list[Array], boxes: Array, level: Array, image: Array) -> Array:
    """(R, out, out, C) from the features that each box's level names; XLA fuses the gathers with the mean."""
    layer, channels = layers[0], features[0].shape[3]
    x1, y1, x2, y2 = corners_of(boxes)
    source = _source(layers, features, level, image, x1.dtype)
    down, right = _samples(layer, source, y1, y2, 0), _samples(layer, source, x1, x2, 1)
    rows = jnp.concatenate([wide(x).reshape(-1, channels) for x in features])
    first, width = source.first[:, None, None], source.sizes[1][:, None, None]
    (out_rows, out_columns), (most_down, most_right) = layer.grid(), source.most
    cells = (len(x1), out_rows, most_down, out_columns, most_right, channels)

    def product(y: Array, at_y: Array, x: Array, at_x: Array) -> Array:
        taken = rows[first + y[:, :, None] * width + x[:, None, :]]
        return (taken * (at_y[:, :, None] * at_x[:, None, :])[..., None]).reshape(cells)

    vertical = ((down.low, down.at_low), (down.high, down.at_high))
    horizontal = ((right.low, right.at_low), (right.high, right.at_high))
    products = [product(*y, *x) for y in vertical for x in horizontal]
    if layer.mode == "avg":
        total = sum(products[1:], products[0]).sum((2, 4))
        return total / jnp.maximum(down.count * right.count, 1)[:, None, None, None]
    # Points beyond a box's own number of samples are copies that no maximum may see.
    seen = [jnp.arange(most) < s.count[:, None] for most, s in zip(source.most, (down, right), strict=True)]
    both = seen[0][:, None, :, None, None, None] & seen[1][:, None, None, None, :, None]
    largest = jnp.max(jnp.where(both, jnp.stack(products), -jnp.inf), (0, 3, 5))
    none = jnp.minimum(down.count, right.count) == 0
    return jnp.where(none[:, None, None, None], 0, largest)


@OPERATIONS.register("roi_align")
def roi_align(layer: RoIAlign, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """One level."""
    features, boxes = channels_last(inputs[0], call), inputs[1]
    image = inputs[2] if len(inputs) == 3 else images_of(boxes, features.shape[0])
    pooled = _pooled([layer], [features], boxes, jnp.zeros_like(image), image)
    return OpResult((as_called(pooled.astype(features.dtype), call),))


@OPERATIONS.register("level_roi_align")
def level_roi_align(layer: LevelRoIAlign, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
    """The rows of all levels one after another; each box adds where its level begins."""
    boxes, level = inputs[:2]
    features = [channels_last(x, call) for x in inputs[2:]]
    layers = [layer.of_level(number) for number in range(len(features))]
    pooled = _pooled(layers, features, boxes, level[:, 0], images_of(boxes, features[0].shape[0]))
    return OpResult((as_called(pooled.astype(features[0].dtype), call),))
