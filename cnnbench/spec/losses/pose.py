"""Losses of networks that find keypoints by maps of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.composites.element_loss import MSELoss
from cnnbench.spec.composites.pose_loss import KeypointHeatmapLoss
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Shape
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.losses.base import JointLoss, LossTarget
from cnnbench.spec.losses.drawn import normal, shares, zero_or_one
from cnnbench.spec.meanings import MEANINGS, meaning_of

MAPS = ("heatmaps", "fields")


@dataclass(frozen=True, kw_only=True)
class KeypointHeatmaps(JointLoss, kind="keypoint_heatmaps"):
    """``KeypointHeatmapLoss``: scale times the mean square over all places, keypoints that are not visible being right.

    Args:
        output: The maps.
        scale: 1/2 in HRNet.

    Shapes:
        outputs heatmaps (N, K, H, W), targets ``targets`` (N, K, H, W), ``visible`` (N, K): 1, or 0 for a keypoint
        that was not annotated -> ().
    """

    output: str = "heatmaps"
    scale: float = 0.5

    def reads(self, graph: Graph) -> tuple[str, ...]:
        return (self.output,)

    def targets(self, outputs: Mapping[str, Shape]) -> tuple[LossTarget, ...]:
        shape = outputs[self.output][1:]
        return (LossTarget("targets", shape, shares), LossTarget("visible", shape[:1], zero_or_one))

    def terms(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        layer = KeypointHeatmapLoss(scale=self.scale)
        return {"loss": builder.add("loss", layer, outputs[self.output], targets["targets"], targets["visible"])}


@dataclass(frozen=True, kw_only=True)
class PoseStages(JointLoss, kind="pose_stages"):
    """The squares of heat maps and of fields, where the mask is 1, summed over channels, places and stages.

    Every stage of the network is held to the same maps: all outputs that mean heat maps or fields take part. The sum
    is averaged over images.

    Args:
        scale: Of the whole: 1 in the paper's equations, 1/2 in the authors' Caffe layers.

    Shapes:
        outputs heatmaps, heatmaps1 ... (N, K, H, W), fields, fields1 ... (N, 2 L, H, W); targets ``target_heatmaps``,
        ``target_fields`` and ``mask`` (N, 1, H, W), 0 where people are not annotated -> terms loss, heatmaps, fields,
        each (). Source: arXiv:1611.08050, equations 3 to 5.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise FieldError("scale", received=self.scale, expected="a positive number")

    def reads(self, graph: Graph) -> tuple[str, ...]:
        names = [name for name, _ in graph.outputs]
        found = [name for kind in MAPS for name in _stages(names, kind)]
        if not all(_stages(names, kind) for kind in MAPS):
            raise SpecError(
                f"the loss {self.kind!r} reads heat maps and fields",
                where=graph.name,
                received=", ".join(names),
                expected="outputs such as heatmaps, heatmaps1, fields, fields1",
            )
        return tuple(found)

    def targets(self, outputs: Mapping[str, Shape]) -> tuple[LossTarget, ...]:
        heatmaps, fields = (outputs[_stages(outputs, kind)[0]][1:] for kind in MAPS)
        return (
            LossTarget("target_heatmaps", heatmaps, shares),
            LossTarget("target_fields", fields, normal),
            LossTarget("mask", (1, *heatmaps[1:]), zero_or_one),
        )

    def terms(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        parts = {}
        for kind in MAPS:
            square = MSELoss(reduction="batch_mean")
            wanted, mask = targets[f"target_{kind}"], targets["mask"]
            sums = [
                builder.add(f"stage.{name}", square, outputs[name], wanted, mask) for name in _stages(outputs, kind)
            ]
            parts[kind] = sums[0] if len(sums) == 1 else builder.add(kind, Add(), *sums)
        whole = builder.add("both", Add(), *parts.values())
        return {"loss": builder.add("loss", Affine(scale=self.scale), whole), **parts}


def _stages(names: Mapping[str, object] | list[str], kind: str) -> list[str]:
    """The outputs that mean this, in their order."""
    return [name for name in names if meaning_of(name) is MEANINGS[kind]]
