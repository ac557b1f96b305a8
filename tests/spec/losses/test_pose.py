"""Losses of maps of keypoints, against the authors' formulas in PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.registry import build
from cnnbench.spec.losses import KeypointHeatmaps, PoseStages, objective_graph

RNG = np.random.default_rng(4)


@pytest.mark.torch
def test_keypoint_heatmaps_equal_a_mean_of_each_keypoint(equals_pytorch):
    from torch.nn import functional

    def expected(outputs, targets):
        weights = targets["visible"][:, :, None, None]
        found, wanted = outputs["heatmaps"] * weights, targets["targets"] * weights
        each = [0.5 * functional.mse_loss(found[:, k], wanted[:, k]) for k in range(3)]
        return sum(each) / 3

    shape = (2, 3, 4, 5)
    visible = np.array([[1, 0, 1], [0, 1, 1.0]])
    targets = {"targets": RNG.uniform(size=shape), "visible": visible}
    equals_pytorch(KeypointHeatmaps(), {"heatmaps": RNG.normal(size=shape)}, targets, expected)


@pytest.mark.torch
def test_all_stages_are_held_to_the_same_maps_where_the_mask_is_one(equals_pytorch):
    maps, fields = (2, 3, 4, 5), (2, 4, 4, 5)
    outputs = {"fields": fields, "heatmaps": maps, "fields1": fields, "heatmaps1": maps, "fields2": fields}
    targets = {
        "target_heatmaps": RNG.uniform(size=maps),
        "target_fields": RNG.normal(size=fields),
        "mask": RNG.integers(0, 2, (2, 1, 4, 5)) * 1.0,
    }

    def expected(found, wanted):
        total = 0
        for name, x in found.items():
            target = wanted["target_fields" if name.startswith("fields") else "target_heatmaps"]
            total = total + (wanted["mask"] * (x - target) ** 2).sum() / 2
        return 0.5 * total

    given = {name: RNG.normal(size=shape) for name, shape in outputs.items()}
    equals_pytorch(PoseStages(scale=0.5), given, targets, expected)


def test_every_stage_of_openpose_takes_part():
    whole = objective_graph(build("openpose_tiny"), PoseStages())
    assert [item.name for item in whole.inputs] == ["image", "target_heatmaps", "target_fields", "mask"]
    assert sum(node.name.startswith("objective.stage.") for node in whole.nodes) == 6
    with pytest.raises(SpecError, match="reads heat maps and fields"):
        objective_graph(build("hrnet_pose_tiny"), PoseStages())
