"""Losses of two-stage detectors, on anchors and regions that were assigned to objects and sampled on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnbench.errors import SpecError
from cnnbench.spec.composites.detection_loss import (
    HeadBoxLoss,
    HeadClassLoss,
    MaskHeadLoss,
    RPNBoxLoss,
    RPNObjectnessLoss,
)
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Shape
from cnnbench.spec.layers.merge import Multiply
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.losses.base import JointLoss, LossTarget
from cnnbench.spec.losses.drawn import boxes_within, classes, normal, zero_or_one
from cnnbench.spec.passes.region_training import REGIONS, region_training_graph


@dataclass(frozen=True, kw_only=True)
class FastRCNN(JointLoss, kind="fast_rcnn"):
    """Cross-entropy of sampled regions + smooth L1 of the deltas that positive regions have for their own class.

    Args:
        logits, deltas: The outputs.
        masks: The output of logits of masks, whose loss (``MaskHeadLoss``) is then added; empty for none.

    Shapes:
        logits (N, R, K), deltas (N, R, 4 K), masks (N, R, K, H, W); targets ``region_labels`` (N, R) integers, 0 the
        background and -1 not sampled, ``region_positive`` and ``region_sampled`` (N, R), ``region_targets`` (N, R, 4),
        ``mask_targets`` (N, R, H, W) -> terms loss, box_class, box_deltas, masks, each ().
        Sources: arXiv:1504.08083, equation 1; arXiv:1703.06870, section 3.
    """

    logits: str = "logits"
    deltas: str = "deltas"
    masks: str = ""

    def reads(self, graph: Graph) -> tuple[str, ...]:
        return tuple(filter(None, (self.logits, self.deltas, self.masks)))

    def targets(self, outputs: Mapping[str, Shape]) -> tuple[LossTarget, ...]:
        regions, count = outputs[self.logits][1:2], outputs[self.logits][-1]
        found = (
            LossTarget("region_labels", regions, classes(count), "int"),
            LossTarget("region_positive", regions, zero_or_one),
            LossTarget("region_sampled", regions, zero_or_one),
            LossTarget("region_targets", (*regions, 4), normal),
        )
        if self.masks not in outputs:
            return found
        shape = outputs[self.masks]
        if len(shape) != 5:
            raise SpecError("masks have the wrong shape", received=shape, expected="(N, R, K, H, W)")
        return (*found, LossTarget("mask_targets", (*regions, *shape[3:]), zero_or_one))

    def terms(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        return _summed(builder, self.heads(builder, outputs, targets))

    def heads(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        """The terms of the heads.

        Args:
            builder: Where the nodes go.
            outputs: By name.
            targets: By name.
        """
        logits, deltas = (_rows(builder, name, outputs[name]) for name in (self.logits, self.deltas))
        labels, positive, sampled, wanted = (
            _rows(builder, name, targets[name])
            for name in ("region_labels", "region_positive", "region_sampled", "region_targets")
        )
        found = {
            "box_class": builder.add("box_class", HeadClassLoss(), logits, labels),
            "box_deltas": builder.add("box_deltas", HeadBoxLoss(), deltas, labels, wanted, positive, sampled),
        }
        if self.masks in outputs:
            masks, true = _rows(builder, "masks", outputs[self.masks]), _rows(builder, "true", targets["mask_targets"])
            found["masks"] = builder.add("mask_loss", MaskHeadLoss(), masks, labels, true, positive)
        return found


@dataclass(frozen=True, kw_only=True)
class FasterRCNN(FastRCNN, kind="faster_rcnn"):
    """``FastRCNN`` + binary cross-entropy of sampled anchors + smooth L1 of the deltas of positive ones.

    A network that proposes its regions itself is trained with the regions as an input (``region_training_graph``).

    Args:
        logits, deltas: As ``FastRCNN``.
        masks: The same; a network without that output is trained without the term.
        objectness, anchor_deltas: The outputs of region proposal.
        sampled_anchors: How many anchors of an image a training samples, at most half of them objects.

    Shapes:
        As ``FastRCNN``, and objectness (N, A), anchor_deltas (N, A, 4); targets ``anchor_labels`` and
        ``anchor_sampled`` (N, A), ``anchor_targets`` (N, A, 4) -> terms objectness, anchor_deltas too.
        Source: arXiv:1506.01497, equation 1; both terms are divided by the number of sampled anchors, as in
        torchvision.
    """

    objectness: str = "objectness"
    anchor_deltas: str = "anchor_deltas"
    sampled_anchors: int = 256

    def network(self, graph: Graph) -> Graph:
        return graph if self._is_ready(graph) else region_training_graph(graph)

    def network_inputs(self, graph: Graph) -> tuple[LossTarget, ...]:
        if self._is_ready(graph):
            return ()
        (regions,) = (item for item in self.network(graph).inputs if item.name == REGIONS)
        return (LossTarget(REGIONS, regions.shape, boxes_within(graph.inputs[0].shape[1:])),)

    def _is_ready(self, graph: Graph) -> bool:
        return self.objectness in dict(graph.outputs)

    def reads(self, graph: Graph) -> tuple[str, ...]:
        names = (self.logits, self.deltas, *((self.masks,) if self.masks in dict(graph.outputs) else ()))
        return (*names, self.objectness, self.anchor_deltas)

    def targets(self, outputs: Mapping[str, Shape]) -> tuple[LossTarget, ...]:
        anchors = outputs[self.objectness][1:]
        return (
            *super().targets(outputs),
            LossTarget("anchor_labels", anchors, zero_or_one),
            LossTarget("anchor_sampled", anchors, zero_or_one),
            LossTarget("anchor_targets", (*anchors, 4), normal),
        )

    def terms(self, builder: Builder, outputs: Mapping[str, Value], targets: Mapping[str, Value]) -> dict[str, Value]:
        labels, sampled = targets["anchor_labels"], targets["anchor_sampled"]
        positive = builder.add("anchor_positive", Multiply(), labels, sampled)
        logits, deltas = outputs[self.objectness], outputs[self.anchor_deltas]
        return _summed(
            builder,
            {
                "objectness": builder.add("objectness", RPNObjectnessLoss(), logits, labels, sampled),
                "anchor_deltas": builder.add(
                    "anchor_deltas", RPNBoxLoss(), deltas, targets["anchor_targets"], positive, sampled
                ),
                **self.heads(builder, outputs, targets),
            },
        )


def _rows(builder: Builder, name: str, x: Value) -> Value:
    """(N, R, ...) -> (N R, ...)."""
    return builder.add(f"rows.{name}", Reshape(shape=(-1, *x.shape[2:]), whole=True), x)


def _summed(builder: Builder, terms: dict[str, Value]) -> dict[str, Value]:
    return {"loss": builder.add("loss", Add(), *terms.values()), **terms}
