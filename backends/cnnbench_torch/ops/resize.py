"""Resizing: ``functional.interpolate`` in the conventions that it has; else products with each axis' matrix."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cnnbench.execution.operations import Call, OpResult
from cnnbench.spec.layers.interpolation import Axis, coordinates, is_dyadic, matrix_of, taps_at
from cnnbench.spec.layers.resize import Resize
from cnnbench_torch.ops import inductor
from cnnbench_torch.ops.registry import OPERATIONS

Tensors = tuple[Tensor, ...]
_LINEAR = ("linear", "bilinear", "trilinear")
_NEAREST = {("asymmetric", "floor"): "nearest", ("half_pixel", "round_prefer_ceil"): "nearest-exact"}
_NARROW = (torch.bfloat16, torch.float16)


@OPERATIONS.register("resize")
def resize(layer: Resize, inputs: Tensors, weights: Tensors, state: Tensors, call: Call) -> OpResult:
    """The library's function, or along each axis a product, or for the nearest a selection."""
    x = inputs[0]
    axes = layer.axes(tuple(x.shape[2:]))
    native = _native(layer, axes, x.dtype)
    if native is not None:
        # upsample_linear1d rounds its products to a narrow type (PyTorch 2.13); the others sum in float32
        wide = x.float() if x.dtype in _NARROW and x.dim() == 3 and layer.mode == "linear" else x
        return OpResult((functional.interpolate(wide, [axis.out for axis in axes], **native).to(x.dtype),))
    if layer.mode == "nearest":
        for position, axis in enumerate(axes, start=2):
            x = inductor.index_select(x, position, _columns(axis, x.device))
        return OpResult((x,))
    y = x.float() if x.dtype in _NARROW else x
    for position, axis in enumerate(axes, start=2):
        y = functional.linear(y.transpose(position, -1), _rows(axis, y.dtype, y.device)).transpose(position, -1)
    return OpResult((y.to(x.dtype),))


def _native(layer: Resize, axes: tuple[Axis, ...], dtype: torch.dtype) -> dict[str, Any] | None:
    """The arguments of ``interpolate`` where it computes this layer, else None."""
    if any(axis.scale not in (None, axis.out / axis.size) for axis in axes):
        return None
    if layer.mode == "nearest":
        mode = _NEAREST.get((layer.coordinates, layer.nearest_rounding))
        return {"mode": mode} if mode is not None and all(map(is_dyadic, axes)) else None
    if layer.coordinates not in ("half_pixel", "align_corners"):
        return None
    aligned = layer.coordinates == "align_corners"
    if layer.antialias:
        # the library aligns corners by other coordinates here, and has no narrow types (PyTorch 2.13)
        fits = len(axes) == 2 and layer.exclude_outside and not aligned and dtype not in _NARROW
        if layer.mode == "cubic":
            fits = fits and layer.cubic_coefficient == -0.5
        return {"mode": "bilinear" if layer.mode == "linear" else "bicubic", "antialias": True} if fits else None
    if layer.mode == "linear":
        return {"mode": _LINEAR[len(axes) - 1], "align_corners": aligned}
    if len(axes) == 2 and layer.cubic_coefficient == -0.75 and not layer.exclude_outside:
        return {"mode": "bicubic", "align_corners": aligned}
    return None


# Each is made once where code runs eagerly. Dynamo traces NumPy into the compiled graph, but looks through caches.
def _columns(axis: Axis, device: torch.device) -> Tensor:
    """The neighbour of each output."""
    return _make_columns(axis, device) if torch.compiler.is_compiling() else _cached_columns(axis, device)


def _rows(axis: Axis, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix of an axis."""
    return _make_rows(axis, dtype, device) if torch.compiler.is_compiling() else _cached_rows(axis, dtype, device)


def _make_columns(axis: Axis, device: torch.device) -> Tensor:
    return torch.as_tensor(taps_at(axis, coordinates(axis)).indices[:, 0]).to(device)


def _make_rows(axis: Axis, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.as_tensor(matrix_of(taps_at(axis, coordinates(axis)), axis.size)).to(device, dtype)


@lru_cache(maxsize=256)
def _cached_columns(axis: Axis, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in inference mode could not serve a gradient later
        return _make_columns(axis, device).clone()


@lru_cache(maxsize=256)
def _cached_rows(axis: Axis, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return _make_rows(axis, dtype, device).clone()
