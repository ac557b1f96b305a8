"""Faults of resizing: coordinates, rounding, kernels, aliasing."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.layers.resize import Resize

_IMAGE = SuspectNetwork((3, 6, 8))
_LINEAR = surrounded(Resize(size=(11, 13), mode="linear"), _IMAGE)
_CUBIC = surrounded(Resize(size=(11, 13), mode="cubic"), _IMAGE)


FAULTS = (
    Fault(
        "resize.align_corners",
        "resize",
        "corners' centres made to meet (the default of PyTorch before 0.4 and of Caffe)",
        _LINEAR,
        operation=other_layer(lambda layer: replace(layer, coordinates="align_corners")),
    ),
    Fault(
        "resize.asymmetric_coordinates",
        "resize",
        "i / s for the coordinate of output i (TensorFlow 1): the image moves by half a pixel",
        _LINEAR,
        operation=other_layer(lambda layer: replace(layer, coordinates="asymmetric")),
    ),
    Fault(
        "resize.nearest_rounding",
        "resize",
        "the nearest neighbour by rounding down (PyTorch's 'nearest') and not to the nearest",
        surrounded(Resize(size=(9, 5), nearest_rounding="round_prefer_ceil"), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, nearest_rounding="floor")),
    ),
    Fault(
        "resize.half_goes_down",
        "resize",
        "what lies half-way between two neighbours given to the first (ONNX's default) and not to the second",
        surrounded(Resize(size=(3, 4), nearest_rounding="round_prefer_ceil"), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, nearest_rounding="round_prefer_floor")),
    ),
    Fault(
        "resize.cubic_coefficient",
        "resize",
        "Keys' a = -0.5 (TensorFlow, Pillow) for -0.75 (PyTorch, OpenCV)",
        _CUBIC,
        operation=other_layer(lambda layer: replace(layer, cubic_coefficient=-0.5)),
    ),
    Fault(
        "resize.cubic_edge",
        "resize",
        "weights scaled at the edge (TensorFlow) where the edge was to be repeated (PyTorch)",
        _CUBIC,
        operation=other_layer(lambda layer: replace(layer, exclude_outside=True)),
    ),
    Fault(
        "resize.no_antialias",
        "resize",
        "the kernel not widened where the image shrinks (PyTorch's default) as was asked for (Pillow, JAX)",
        surrounded(Resize(size=(2, 3), mode="linear", antialias=True, exclude_outside=True), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, antialias=False)),
    ),
    Fault(
        "resize.recomputed_scale",
        "resize",
        "the factor computed anew from the sizes where the one given was to be used",
        surrounded(Resize(scale=(1.6, 1.3), mode="linear"), _IMAGE),
        operation=other_layer(lambda layer: replace(layer, recompute_scale=True)),
    ),
    Fault(
        "resize.linear_for_cubic",
        "resize",
        "bilinear where bicubic was asked for",
        _CUBIC,
        operation=other_layer(lambda layer: replace(layer, mode="linear")),
    ),
)
