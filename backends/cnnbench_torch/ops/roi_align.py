"""Regions sampled between pixels on PyTorch: a weighted sum of gathered rows for each cell, in one kernel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.execution.region_levels import RegionLevels, RegionSamples, RegionSource
from cnnbench.spec.layers.roi_align import LevelRoIAlign, RoIAlign
from cnnbench_torch.ops.detection import images_of, rows_of, wide
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


def _source(
    layers: list[RoIAlign], features: Tensors, level: Tensor, image: Tensor, dtype: torch.dtype
) -> RegionSource:
    levels = RegionLevels.of(layers, features[0].shape[0], [x.shape[2:] for x in features])

    def of_box(values: Sequence[float], kind: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=kind, device=level.device)[level]

    height, width = of_box(levels.heights, torch.int64), of_box(levels.widths, torch.int64)
    first = of_box(levels.begins, torch.int64) + image * height * width
    return RegionSource(first, of_box(levels.scales, dtype), (height, width), levels.most)


def _samples(layer: RoIAlign, source: RegionSource, first: Tensor, last: Tensor, axis: int) -> RegionSamples:
    offset = 0.5 if layer.aligned else 0.0
    start = first * source.scale - offset
    length = last * source.scale - offset - start
    if not layer.aligned:
        length = length.clamp(min=1.0)
    out, most, size = layer.grid()[axis], source.most[axis], source.sizes[axis][:, None, None]
    if layer.sampling_ratio:
        count = torch.full_like(start, most)
    else:
        limit = torch.div(source.sizes[axis] + out - 1, out, rounding_mode="floor").clamp(min=1)
        count = torch.minimum((length / out).ceil().clamp(min=0), limit)
    number = torch.arange(most, device=start.device)
    cell = torch.arange(out, device=start.device, dtype=start.dtype)
    parts = (number + 0.5) / count.clamp(min=1)[:, None]
    place = start[:, None, None] + (length / out)[:, None, None] * (cell[None, :, None] + parts[:, None, :])
    inside = (place >= -1) & (place <= size) & (number < count[:, None, None])
    place = torch.minimum(place.clamp(min=0), (size - 1).to(place.dtype))
    low = place.floor()
    share = place - low
    index = low.long()
    return RegionSamples(
        index,
        torch.minimum(index + 1, size - 1),
        torch.where(inside, 1 - share, 0),
        torch.where(inside, share, 0),
        count,
    )


def _pooled(layers: list[RoIAlign], features: Tensors, boxes: Tensor, level: Tensor, image: Tensor) -> Tensor:
    """(R, out, out, C) from the features that each box's level names."""
    layer, channels = layers[0], features[0].shape[1]
    x1, y1, x2, y2 = wide(boxes.detach()).unbind(1)
    source = _source(layers, features, level, image, x1.dtype)
    down, right = _samples(layer, source, y1, y2, 0), _samples(layer, source, x1, x2, 1)
    # (R, out, 1, 2 S, 1) and (R, 1, out, 1, 2 S): each cell sees the pixels of all its samples along either axis.
    y, at_y = (x[:, :, None, :, None] for x in (torch.cat(down[:2], -1), torch.cat(down[2:4], -1)))
    x, at_x = (x[:, None, :, None] for x in (torch.cat(right[:2], -1), torch.cat(right[2:4], -1)))
    first, width = (value[:, None, None, None, None] for value in (source.first, source.sizes[1]))
    index, weight = first + y * width + x, at_y * at_x
    grid = (len(boxes), *layer.grid())
    rows = torch.cat([rows_of(wide(x)) for x in features])
    if layer.mode == "avg":
        weight = weight / (down.count * right.count).clamp(min=1)[:, None, None, None, None]
        flat = (index.flatten(3).flatten(0, 2), weight.flatten(3).flatten(0, 2).to(rows.dtype))
        return functional.embedding_bag(flat[0], rows, mode="sum", per_sample_weights=flat[1]).view(*grid, channels)
    # Points beyond a box's own number of samples are copies that no maximum may see.
    seen = [(torch.arange(s.low.shape[2], device=rows.device) < s.count[:, None]).repeat(1, 2) for s in (down, right)]
    hidden = ~(seen[0][:, None, None, :, None] & seen[1][:, None, None, None, :])
    products = rows.index_select(0, index.flatten()).view(*index.shape, channels) * weight.to(rows.dtype)[..., None]
    largest = products.masked_fill(hidden[..., None], -torch.inf).amax((3, 4))
    none = torch.minimum(down.count, right.count) == 0
    return largest.masked_fill(none[:, None, None, None], 0)


@OPERATIONS.register("roi_align")
def roi_align(layer: RoIAlign, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``embedding_bag`` over the features' rows: no product is held; torchvision is not needed."""
    features, boxes = inputs[:2]
    image = inputs[2] if len(inputs) == 3 else images_of(boxes, features.shape[0])
    pooled = _pooled([layer], (features,), boxes, torch.zeros_like(image), image)
    return OpResult((pooled.permute(0, 3, 1, 2).to(features.dtype),))


@OPERATIONS.register("level_roi_align")
def level_roi_align(layer: LevelRoIAlign, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The rows of all levels one after another; each box adds where its level begins."""
    boxes, level, *features = inputs
    layers = [layer.of_level(number) for number in range(len(features))]
    image = images_of(boxes, features[0].shape[0])
    pooled = _pooled(layers, tuple(features), boxes, level[:, 0].long(), image)
    return OpResult((pooled.permute(0, 3, 1, 2).to(features[0].dtype),))
