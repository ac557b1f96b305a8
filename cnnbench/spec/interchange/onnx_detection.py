"""Importers of detection: regions of interest, non-maximum suppression."""

from __future__ import annotations

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_tensor import Array, Tensor
from cnnbench.spec.layers import Concat
from cnnbench.spec.layers.detection import NonMaxSuppression, RoIMaxPool
from cnnbench.spec.layers.indexing import Gather, Slice
from cnnbench.spec.layers.roi_align import RoIAlign
from cnnbench.spec.layers.shape import Unsqueeze


@importer("RoiAlign")
def roi_align(node: OnnxNode) -> Value:
    """RoiAlign; its default coordinates are half-pixel."""
    layer = RoIAlign(
        output_size=(node.attribute("output_height", 1), node.attribute("output_width", 1)),
        spatial_scale=node.attribute("spatial_scale", 1.0),
        sampling_ratio=node.attribute("sampling_ratio", 0),
        aligned=node.attribute("coordinate_transformation_mode", "half_pixel") == "half_pixel",
        mode="max" if node.attribute("mode", "avg") == "max" else "avg",
    )
    images = node.constant(2)
    if images is None:
        return node.add(layer, node.value(0), node.value(1), node.value(2))
    return _of_known_images(node, layer, images.reshape(-1))


def _of_known_images(node: OnnxNode, layer: RoIAlign, images: Array) -> Value:
    """Regions whose images the model fixes: each image's on its own, then in the order of the model.

    Args:
        node: Where the layers belong.
        layer: What is done with the regions of an image.
        images: The image of each region.
    """
    x, boxes = node.value(0), node.value(1)
    order: list[int] = []
    parts = []
    for image in sorted(set(map(int, images))):
        rows = tuple(i for i, other in enumerate(images) if other == image)
        order += rows
        own = node.add(Slice(starts=(image,), ends=(image + 1,), axes=(0,)), x, part=f"image{image}")
        chosen = boxes if len(rows) == len(images) else node.add(Gather(indices=rows, axis=0), boxes, part=f"of{image}")
        parts.append(node.add(layer, own, chosen, part=f"regions{image}"))
    found = parts[0] if len(parts) == 1 else node.add(Concat(axis=0), *parts, part="regions")
    back = tuple(order.index(i) for i in range(len(order)))
    return found if back == tuple(range(len(back))) else node.add(Gather(indices=back, axis=0), found)


@importer("MaxRoiPool")
def max_roi_pool(node: OnnxNode) -> Value:
    """MaxRoiPool, whose regions are rows (image, x1, y1, x2, y2)."""
    rows = node.value(1)
    boxes = node.add(Slice(starts=(1,), ends=(5,), axes=(1,)), rows, part="boxes")
    if node.shape(0)[0] != 1:
        raise node.reject("regions of several images are not imported", received=node.shape(0), expected="one image")
    layer = RoIMaxPool(
        output_size=tuple(node.attribute("pooled_shape")), spatial_scale=node.attribute("spatial_scale", 1.0)
    )
    return node.add(layer, node.value(0), boxes)


@importer("NonMaxSuppression")
def non_max_suppression(node: OnnxNode) -> Tensor:
    """NonMaxSuppression: for every image and class the indices of the boxes that stay, as rows (image, class, box)."""
    boxes, scores = node.value(0), node.value(1)
    most = int(node.scalar(2, "max_output_boxes_per_class"))
    if most < 1:
        raise node.reject("no box may stay", received=most, expected="max_output_boxes_per_class of at least 1")
    boxes = node.add(Unsqueeze(axes=(1,)), boxes, part="of_one_class")
    if scores.shape[1] != 1:
        boxes = node.add(Gather(indices=(0,) * scores.shape[1], axis=1), boxes, part="of_every_class")
    layer = NonMaxSuppression(
        iou_threshold=node.scalar(3, "iou_threshold"),
        max_outputs=min(most, scores.shape[2]),
        score_threshold=node.scalar(4, "score_threshold") if node.has(4) else None,
        box_format="center" if node.attribute("center_point_box", 0) else "corners",
    )
    return Tensor(value=node.add(layer, boxes, scores), rows=True)
