"""Losses of maps of keypoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.detection_loss import require_shapes
from cnnbench.spec.composites.element_loss import MSELoss
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.base import Example, Shapes, require_rank
from cnnbench.spec.layers.merge import Multiply
from cnnbench.spec.layers.shape import Unsqueeze


@dataclass(frozen=True, kw_only=True)
class KeypointHeatmapLoss(Composite, kind="keypoint_heatmap_loss"):
    """scale times the mean over images, keypoints and places of (v x - v t)^2, v the visibility of a keypoint.

    The mean is over all keypoints: those that are not visible count as right.

    Args:
        scale: 1/2 in HRNet, 1 in MMPose.

    Shapes:
        heat maps (N, K, H, W), those that are wanted (N, K, H, W), visibility (N, K), 0 or 1 -> (). Source: HRNet's
        ``JointsMSELoss`` (Sun et al. 2019, arXiv:1902.09212, section 3), which averages over keypoints.
    """

    scale: float = 0.5

    example = Example((1, 3, 4, 5), (1, 3, 4, 5), (1, 3))
    num_inputs = (3, 3)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3)
        require_shapes(inputs, (inputs[0], inputs[0], inputs[0][:2]), "(N, K, H, W) twice and (N, K)")
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        rank = len(inputs[0].shape)
        visible = builder.add("visible", Unsqueeze(axes=tuple(range(2, rank))), inputs[2])
        seen = builder.add("seen", Multiply(), inputs[0], visible)
        wanted = builder.add("wanted", Multiply(), inputs[1], visible)
        return builder.add("loss", Affine(scale=self.scale), builder.add("mse", MSELoss(), seen, wanted))
