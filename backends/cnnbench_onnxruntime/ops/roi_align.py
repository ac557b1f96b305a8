"""Regions sampled between pixels: ONNX takes ever more samples of large regions, where the layer has an end to them."""

from __future__ import annotations

from cnnbench_onnxruntime.ops.registry import OPERATIONS

OPERATIONS.lacks(
    "roi_align",
    "ONNX has no end to the samples of a region that is larger than the features",
    condition="a number of samples that depends on the region",
    when=lambda layer: layer.sampling_ratio == 0,
)
