"""Networks of maps and of proposals start near 0, and have features enough for their maps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.registry import architectures, build
from cnnbench.spec.layers.conv import Conv
from cnnbench.spec.passes.heads import small_heads
from cnnbench.spec.weights import initialize

MAPPING = [name for name, item in architectures().items() if item.task in ("pose", "segmentation") and "tiny" in name]


@pytest.mark.parametrize(
    ("network", "head", "std"),
    [
        ("hrnet_pose_tiny", "final_layer.weight", 0.001),
        ("faster_rcnn_tiny", "rpn.head.cls_logits.weight", 0.01),
        ("mask_rcnn_tiny", "rpn.head.bbox_pred.weight", 0.01),
    ],
)
def test_a_head_has_the_deviation_of_its_paper(network: str, head: str, std: float) -> None:
    values = initialize(build(network), seed=0)[head]
    spread = float(np.sqrt(np.mean(values.astype(np.float64) ** 2))) / std
    assert abs(spread - 1) < 4 / math.sqrt(2 * values.size)


def test_every_stage_of_a_pose_network_starts_small() -> None:
    graph = build("openpose_tiny")
    assert set(small_heads(graph)) == {f"{value}.weight" for _, value in graph.outputs}
    assert len(graph.outputs) == 6


def test_other_networks_start_as_before() -> None:
    assert not small_heads(build("unet_tiny"))
    assert not small_heads(build("resnet20"))


@pytest.mark.parametrize("name", MAPPING)
def test_maps_are_made_of_at_least_as_many_channels(name: str) -> None:
    """A 1x1 convolution of fewer channels than maps could only give maps that depend on each other."""
    graph = build(name)
    node = graph.node(dict(graph.outputs)[graph.outputs[0][0]])
    assert isinstance(node.layer, Conv)
    (weight, *_) = node.layer.weights(graph.input_shapes(node))
    assert math.prod(weight.shape[1:]) >= weight.shape[0]
