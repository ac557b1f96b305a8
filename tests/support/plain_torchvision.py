"""torchvision where its compiled operators do not load: its import, and plain PyTorch in the place of the operators.

For the tests that hold detectors to torchvision's, and for ``benchmarks/torchvision_detectors.py``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

Wrap = Callable[[str, Callable[..., Any]], Callable[..., Any]]


def tolerant(register: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.library.register_fake``, which registers nothing for operators that are not compiled."""

    def registered(name: str, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        def decorate(function: Any) -> Any:
            try:
                return register(name, *args, **kwargs)(function)
            except RuntimeError:
                return function

        return decorate

    return registered


def stand_ins(wrap: Wrap = lambda name, function: function) -> list[tuple[Any, str, Any]]:
    """What takes the operators' place: modules, their attributes and the values to set.

    Args:
        wrap: Makes of an operator's name and its stand-in what is set.
    """
    boxes, align, poolers = (
        importlib.import_module(f"torchvision.ops.{name}") for name in ("boxes", "roi_align", "poolers")
    )
    return [
        (boxes, "nms", wrap("nms", suppressed)),
        (align, "_bilinear_interpolate", empty_outside(align._bilinear_interpolate)),
        (poolers, "roi_align", wrap("roi_align", align.roi_align)),
        (torch, "compile", lambda function, **how: function),  # of its roi_align in Python
    ]


def suppressed(boxes: Any, scores: Any, threshold: float) -> Any:
    """Greedy suppression; boxes whose union is 0 overlap nothing (``csrc/ops/cpu/nms_kernel.cpp``: NaN > threshold)."""
    stay, left = [], scores.argsort(descending=True, stable=True)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    while len(left):
        first, left = left[0], left[1:]
        stay.append(first)
        low, high = torch.maximum(boxes[first, :2], boxes[left, :2]), torch.minimum(boxes[first, 2:], boxes[left, 2:])
        common = (high - low).clamp(min=0).prod(1)
        left = left[~(common / (areas[first] + areas[left] - common) > threshold)]
    return torch.stack(stay) if stay else torch.zeros(0, dtype=torch.long)


def empty_outside(interpolate: Callable[..., Any]) -> Callable[..., Any]:
    """Samples beyond the features count as 0, as in torchvision's compiled ``roi_align`` and not in its Python form.

    Without ``aligned`` regions less than a position long are enlarged to one, and so reach over the border
    (``csrc/ops/cpu/roi_align_common.h``); the Python form repeats the features' border there.
    """

    def interpolated(features: Any, images: Any, y: Any, x: Any, ymask: Any, xmask: Any) -> Any:
        values = interpolate(features, images, y, x, ymask, xmask)
        height, width = features.shape[2:]
        rows, columns = (y >= -1) & (y <= height), (x >= -1) & (x <= width)
        return values * (rows[:, None, :, None, :, None] & columns[:, None, None, :, None, :])

    return interpolated
