"""Detectors on PyTorch: regions by gathered rows, suppression by whole matrices of overlaps."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, RoIMaxPool, TakeRows
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]


def wide(x: Tensor) -> Tensor:
    """Coordinates and sums need more bits than narrow types have."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rows_of(features: Tensor) -> Tensor:
    """(N H W, C): a view where the memory format is channels-last."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def images_of(boxes: Tensor, images: int) -> Tensor:
    """The image of each box, where boxes belong to the images in equal shares."""
    return torch.arange(boxes.shape[0], device=boxes.device) // max(boxes.shape[0] // max(images, 1), 1)


def _half_away(x: Tensor) -> Tensor:
    """round() of C: halves away from zero; ``torch.round`` takes them to the even neighbour."""
    whole = x.abs().floor()
    return (torch.sign(x) * (whole + (x.abs() - whole >= 0.5))).long()


def _ranges(layer: RoIMaxPool, first: Tensor, last: Tensor, axis: int, size: int) -> tuple[Tensor, Tensor]:
    """The begin and the end (R, out) of every cell along an axis, within the features."""
    begin = _half_away(first * layer.spatial_scale)
    length = (_half_away(last * layer.spatial_scale) - begin + 1).clamp(min=1)
    out = layer.grid()[axis]
    cell = torch.arange(out, device=first.device)
    low = begin[:, None] + cell * length[:, None] // out
    high = begin[:, None] - torch.div(-(cell + 1) * length[:, None], out, rounding_mode="floor")
    return low.clamp(0, size), high.clamp(0, size)


def _doubled(x: Tensor, dim: int) -> list[Tensor]:
    """Along an axis the maxima of 1, 2, 4 ... values from each position on; near the end of those that are there."""
    tables = [x]
    while 2 ** len(tables) <= x.shape[dim]:
        reach = 2 ** (len(tables) - 1)
        kept, moved = (
            tables[-1].narrow(dim, 0, x.shape[dim] - reach),
            tables[-1].narrow(dim, reach, x.shape[dim] - reach),
        )
        end = tables[-1].narrow(dim, x.shape[dim] - reach, reach)
        tables.append(torch.cat([torch.maximum(kept, moved), end], dim))
    return tables


@OPERATIONS.register("roi_max_pool")
def roi_max_pool(layer: RoIMaxPool, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Each cell is covered by four overlapping blocks whose sides are powers of 2, maxima of which stand in tables."""
    features = inputs[0]
    number, channels, height, width = features.shape
    x1, y1, x2, y2 = wide(inputs[1].detach()).unbind(1)
    tables = [rows_of(table) for tall in _doubled(features, 2) for table in _doubled(tall, 3)]
    columns_tables = width.bit_length()
    rows = torch.cat(tables)
    sides = [_ranges(layer, y1, y2, 0, height), _ranges(layer, x1, x2, 1, width)]
    blocks = []
    for low, high in sides:
        level = (torch.frexp((high - low).clamp(min=1).float()).exponent - 1).long()
        blocks.append((level, low, (high - 2**level).clamp(min=0)))
    (level_y, top, bottom), (level_x, left, right) = blocks
    table = level_y[:, :, None] * columns_tables + level_x[:, None, :]
    own = inputs[2] if len(inputs) == 3 else images_of(inputs[1], number)
    image = (table * number + own[:, None, None]) * height
    found = [
        rows.index_select(0, ((image + y[:, :, None]) * width + x[:, None, :]).reshape(-1))
        for y in (top.clamp(max=height - 1), bottom)
        for x in (left.clamp(max=width - 1), right)
    ]
    largest = torch.maximum(torch.maximum(found[0], found[1]), torch.maximum(found[2], found[3]))
    pooled = largest.view(len(x1), *layer.grid(), channels)
    (low_y, high_y), (low_x, high_x) = sides
    filled = (high_y > low_y)[:, :, None, None] & (high_x > low_x)[:, None, :, None]
    return OpResult((torch.where(filled, pooled, torch.zeros_like(pooled)).permute(0, 3, 1, 2),))


@OPERATIONS.register("anchor_grid")
def anchor_grid(layer: AnchorGrid, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """Broadcasting, in float32 at least."""
    height, width = inputs[0].shape[2:]
    down, right = layer.strides()
    dtype = torch.promote_types(inputs[0].dtype, torch.float32)
    y = (torch.arange(height, device=inputs[0].device, dtype=dtype) * down)[:, None].expand(height, width)
    x = (torch.arange(width, device=inputs[0].device, dtype=dtype) * right)[None].expand(height, width)
    base = torch.tensor(layer.around_origin(), dtype=dtype, device=inputs[0].device)
    boxes = torch.stack([x, y, x, y], -1).reshape(-1, 1, 4) + base
    return OpResult((boxes.reshape(-1, 4).to(inputs[0].dtype),))


def _as_corners(layer: NonMaxSuppression, boxes: Tensor) -> Tensor:
    first, second = boxes[..., :2], boxes[..., 2:]
    if layer.box_format == "center":
        first, second = first - second / 2, first + second / 2
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], -1)


def _overlaps(corners: Tensor) -> Tensor:
    """(..., B, B) intersection over union, 0 where the union is 0."""
    low, high = corners[..., :2], corners[..., 2:]
    sides = torch.minimum(high[..., :, None, :], high[..., None, :, :])
    sides = (sides - torch.maximum(low[..., :, None, :], low[..., None, :, :])).clamp(min=0)
    common = sides[..., 0] * sides[..., 1]
    area = (high - low).prod(-1)
    union = area[..., :, None] + area[..., None, :] - common
    return torch.where(union > 0, common / union, 0)


@torch.library.custom_op("cnnbench::greedy_suppression", mutates_args=())
def greedy_suppression(suppresses: Tensor, takes_part: Tensor) -> Tensor:
    """Which boxes (B,), best first, stay: i stays if it takes part and no j < i that stays suppresses it.

    Starting from all, the rule is applied until nothing changes. After k rounds the first k boxes are right, so the
    answer is the greedy one; a round settles whole chains, so that a few do. Its own operator: the number of rounds
    depends on values, which a compiled graph does not hold.
    """
    stay = takes_part
    while True:
        found = takes_part & ~(suppresses & stay[:, None]).any(0)
        if torch.equal(found, stay):
            return found.clone()
        stay = found


@greedy_suppression.register_fake
def _(suppresses: Tensor, takes_part: Tensor) -> Tensor:
    return torch.empty_like(takes_part)


def _stay(layer: NonMaxSuppression, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """(indices padded with -1, count) of one set of boxes."""
    order = torch.argsort(scores, descending=True, stable=True)
    corners = _as_corners(layer, boxes[order])
    takes_part = torch.ones_like(order, dtype=torch.bool)
    if layer.score_threshold is not None:
        takes_part &= scores[order] > layer.score_threshold
    if layer.min_size is not None:
        takes_part &= (corners[:, 2:] - corners[:, :2] >= layer.min_size).all(1)
    suppresses = (_overlaps(corners) > layer.iou_threshold).triu(1)
    stay = greedy_suppression(suppresses, takes_part)
    place = torch.where(stay, stay.long().cumsum(0) - 1, layer.max_outputs).clamp(max=layer.max_outputs)
    indices = torch.full((layer.max_outputs + 1,), -1, device=order.device)
    indices = indices.scatter(0, place, order)[: layer.max_outputs]
    return indices, stay.sum().clamp(max=layer.max_outputs)


@OPERATIONS.register("non_max_suppression")
def non_max_suppression(
    layer: NonMaxSuppression, inputs: Tensors, weights: Tensors, state: Tensors, call: Call
) -> OpResult:
    """The matrix of overlaps of boxes sorted by score, and one operator that settles who stays."""
    boxes, scores = wide(inputs[0].detach()), wide(inputs[1].detach())
    batch, count = scores.shape[:-1], scores.shape[-1]
    answers = [_stay(layer, b, s) for b, s in zip(boxes.reshape(-1, count, 4), scores.reshape(-1, count), strict=True)]
    indices = torch.stack([answer[0] for answer in answers]).reshape(*batch, layer.max_outputs)
    return OpResult((indices, torch.stack([answer[1] for answer in answers]).reshape(batch)))


@OPERATIONS.register("take_rows")
def takerows_of(layer: TakeRows, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """``torch.gather`` along axis 1."""
    values, indices = inputs
    inner = (1,) * (values.dim() - 2)
    index = indices.reshape(*indices.shape, *inner).expand(*indices.shape, *values.shape[2:])
    taken = torch.gather(values, 1, index.clamp(min=0))
    return OpResult((torch.where(index >= 0, taken, torch.zeros_like(taken)),))
