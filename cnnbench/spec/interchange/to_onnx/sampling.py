"""Resizing, sampling, regions, embeddings and anchors."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.interchange.to_onnx.writer import NodeWriter, exporter


@exporter("resize")
def resize(node: NodeWriter) -> list[str]:
    """Resize, whose attributes the layer's fields are."""
    layer = node.layer
    attributes = {
        "mode": layer.mode,
        "coordinate_transformation_mode": layer.coordinates,
        "nearest_mode": layer.nearest_rounding,
        "cubic_coeff_a": float(layer.cubic_coefficient),
        "exclude_outside": int(layer.exclude_outside),
        "antialias": int(layer.antialias),
    }
    spatial, outs = node.shapes[0][2:], node.output_shapes[0][2:]
    given = layer.scale if isinstance(layer.scale, tuple) and not layer.recompute_scale else None
    axes = list(range(2, node.rank))
    if given is not None:
        if tuple(int(np.floor(n * s)) for n, s in zip(spatial, given, strict=True)) != outs:
            raise node.refuse("ONNX takes a size or a scale, not both", received=f"size {layer.size}, scale {given}")
        scales = node.typed(np.array(given, np.float32), "scales")
        return [node.op("Resize", node.x, "", scales, axes=axes, **attributes)]
    return [node.op("Resize", node.x, "", "", node.constant(list(outs), "sizes"), axes=axes, **attributes)]


@exporter("grid_sample")
def grid_sample(node: NodeWriter) -> list[str]:
    """GridSample."""
    layer = node.layer
    flags = {"mode": layer.mode, "padding_mode": layer.padding, "align_corners": int(layer.align_corners)}
    return [node.op("GridSample", *node.inputs, **flags)]


@exporter("token_embedding")
def token_embedding(node: NodeWriter) -> list[str]:
    """Rows of a table."""
    node.keep_for_training(padding_idx=node.layer.padding_idx)
    return [node.op("Gather", node.weight("weight"), node.x, axis=0)]


@exporter("timestep_embedding")
def timestep_embedding(node: NodeWriter) -> list[str]:
    """Sines and cosines of t w, side by side."""
    layer = node.layer
    t = node.x if node.rank == 2 else node.op("Unsqueeze", node.x, node.constant([1], "axes"))
    angles = node.op("Mul", t, node.constant(layer.frequencies()[np.newaxis], "frequencies"))
    parts = [node.op("Sin", angles), node.op("Cos", angles)]
    if layer.order == "cos_sin":
        parts.reverse()
    if layer.features % 2:
        first = node.op("Mul", t, node.constant(0.0, "zero"))
        parts.append(first)
    return [node.op("Concat", *parts, axis=1)]


@exporter("anchor_grid")
def anchor_grid(node: NodeWriter) -> list[str]:
    """The boxes, as an initializer."""
    layer = node.layer
    rows, columns = node.shapes[0][2:]
    down, across = layer.strides()
    around = np.array(layer.around_origin())
    y, x = np.meshgrid(np.arange(rows) * down, np.arange(columns) * across, indexing="ij")
    centres = np.stack([x, y, x, y], -1).reshape(-1, 1, 4)
    return [node.op("Identity", node.constant((centres + around).reshape(-1, 4).astype(float), "boxes"))]


@exporter("roi_align")
def roi_align(node: NodeWriter) -> list[str]:
    """RoiAlign of regions whose image is given.

    With ``sampling_ratio`` 0 ONNX takes ever more samples of a region that is larger than the features; here their
    number ends with the features.
    """
    layer = node.layer
    if len(node.inputs) < 3:
        raise node.refuse("ONNX wants the image of each region", received="two inputs", expected="a third one")
    rows, columns = layer.output_size
    numbers = {"output_height": int(rows), "output_width": int(columns), "sampling_ratio": int(layer.sampling_ratio)}
    mode = "half_pixel" if layer.aligned else "output_half_pixel"
    found = node.op(
        "RoiAlign",
        *node.inputs,
        mode=layer.mode,
        spatial_scale=float(layer.spatial_scale),
        coordinate_transformation_mode=mode,
        **numbers,
    )
    return [found]
