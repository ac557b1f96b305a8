"""What a two-stage detector is trained towards, step by step: regions and anchors are sampled anew for each batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import FasterRCNN, Loss, loss_targets
from cnnbench.spec.passes.region_training import REGIONS, proposals_node, region_training_graph
from cnnbench.training.dataset import Dataset
from cnnbench.training.region_targets import AnchorRule, Objects, ProposalRule, anchor_targets, proposal_targets

Array = NDArray[Any]


class RegionTargets:
    """The targets of ``faster_rcnn`` for images of a dataset.

    In the first epoch all anchors are proposals, alike on every backend; afterwards those that the network has made of
    each image at the end of the epoch before (as the alternating training of arXiv:1506.01497, section 3.2, keeps them
    for a while). Objects are always among them.

    Args:
        graph: The network.
        loss: What compares.
        data: With the truth ``boxes`` and ``box_classes``, and ``masks`` for a network of masks.
        seed: Of the samples.

    Raises:
        SpecError: The data lack a truth, or have other classes than the network.
    """

    def __init__(self, graph: Graph, loss: Loss, data: Dataset, seed: int) -> None:
        trained = region_training_graph(graph)
        self._shapes = {item.name: item.shape for item in loss_targets(graph, loss)}
        self._seed, self._masks = seed, None
        for name in ("boxes", "box_classes", *(("masks",) if "mask_targets" in self._shapes else ())):
            if name not in data.truth:
                received = ", ".join(data.truth) or "labels only"
                raise SpecError(f"{data.name} does not say what {graph.name} learns", received=received, expected=name)
        classes = trained.shapes()[dict(trained.outputs)["logits"]][2] - 1
        if classes != len(data.classes):
            received, expected = f"{classes} classes", f"{len(data.classes)} of {data.name}"
            raise SpecError("the output does not fit the data", where=graph.name, received=received, expected=expected)
        self._anchors = anchors_of(graph)
        regions = next(item.shape[0] for item in trained.inputs if item.name == REGIONS)
        sampled = loss.sampled_anchors if isinstance(loss, FasterRCNN) else AnchorRule().sampled
        self._rules = AnchorRule(sampled=sampled), ProposalRule(sampled=regions)
        self._objects, order = objects_of(data)
        if "mask_targets" in self._shapes:
            rows = np.arange(len(data))[:, None]
            self._masks = data.truth["masks"][rows, order]
        self._size = data.images.shape[2:]
        self._proposals: Array | None = None

    def propose(self, proposals: Array) -> None:
        """Takes the network's own proposals of all images, (N, P, 4), zeros behind an image's last."""
        self._proposals = np.asarray(proposals, np.float64)

    def of(self, positions: NDArray[np.int64], step: int) -> dict[str, Array]:
        """Regions and targets of a batch.

        Args:
            positions: Of its images in the dataset.
            step: Of the training, from 0; each draws samples of its own.
        """
        objects = Objects(*(part[positions] for part in vars(self._objects).values()))
        found = anchor_targets(self._anchors, objects.boxes, objects.counts, self._rules[0], self._seed, step)
        proposals = self._of_images(positions)
        counts = np.full(len(positions), proposals.shape[1])
        made = dict(proposal_targets(proposals, counts, objects, self._rules[1], self._seed, step))
        own = made.pop("region_objects")
        if self._masks is not None:
            side = self._shapes["mask_targets"][1:]
            made["mask_targets"] = mask_targets(self._masks[positions], made[REGIONS], own, (side[0], side[1]))
        whole = {**found, **made}
        return {name: _narrowed(whole[name]) for name in (REGIONS, *self._shapes)}

    def _of_images(self, positions: NDArray[np.int64]) -> Array:
        if self._proposals is not None:
            return self._proposals[positions]
        height, width = self._size
        inside = np.clip(self._anchors, 0, (width, height, width, height))
        return np.broadcast_to(inside, (len(positions), *inside.shape))


def anchors_of(graph: Graph) -> Array:
    """(A, 4): the anchors of all levels, in the order of ``objectness``. They hang on the image's size alone."""
    options = ProgramOptions("fast", precision("float64"), "channels_first")
    levels: list[Array] = []
    for name in proposals_node(graph).inputs[2::3]:
        alone = graph.single(name)
        program = load_backend("numpy").compile_forward(alone, options)
        program.load({}, {})
        maps = {item.name: np.zeros(item.full_shape(1)) for item in alone.inputs}
        levels.extend(program.download(program.run(program.upload(maps))).outputs.values())
    return np.concatenate(levels).astype(np.float64)


def objects_of(data: Dataset) -> tuple[Objects, NDArray[np.int64]]:
    """The objects of all images, and (N, T) which rows of the truth they are: an image's first, the others behind.

    Crowds and boxes without area are none. Classes count from 1.
    """
    boxes, kinds = np.asarray(data.truth["boxes"], np.float64), data.truth["box_classes"]
    real = (kinds >= 0) & (boxes[..., 2:] > boxes[..., :2]).all(-1)
    real &= ~np.asarray(data.truth.get("crowd", np.zeros(kinds.shape)), bool)
    order = np.argsort(~real, axis=1, kind="stable")
    rows = np.arange(len(boxes))[:, None]
    return Objects(boxes[rows, order], kinds[rows, order] + 1, real.sum(1)), order


def mask_targets(masks: Array, regions: Array, own: NDArray[np.int64], size: tuple[int, int]) -> Array:
    """(N, R, h, w): the mask of each region's object, interpolated linearly at the centres of a grid over the region.

    Pixel i of a mask has its centre at i + 1/2; beyond the picture a mask is 0. Source: arXiv:1703.06870, section 3
    ("the intersection between an RoI and its associated ground-truth mask").

    Args:
        masks: (N, T, H, W), 1 where an object is.
        regions: (N, R, 4) corners in pixels.
        own: (N, R), the object of each region, -1 where there is none: zeros.
        size: Height and width of the grid.
    """
    found = np.zeros((*regions.shape[:2], *size))
    for image, region in zip(*np.nonzero(own >= 0), strict=True):
        x1, y1, x2, y2 = regions[image, region]
        mask = masks[image, own[image, region]]
        down, across = (
            _weights(first, last, cells, pixels)
            for first, last, cells, pixels in ((y1, y2, size[0], mask.shape[0]), (x1, x2, size[1], mask.shape[1]))
        )
        found[image, region] = down @ mask @ across.T
    return found


def _weights(first: float, last: float, cells: int, pixels: int) -> Array:
    """(cells, pixels): the share of each pixel in each cell's value."""
    at = first + (np.arange(cells) + 0.5) / cells * (last - first) - 0.5
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(pixels)[None, :]), 0))


def _narrowed(values: Array) -> Array:
    return values if values.dtype.kind in "iu" else values.astype(np.float32)
