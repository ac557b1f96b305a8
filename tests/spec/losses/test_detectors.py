"""Losses of two-stage detectors, against torch.nn.functional on the regions that were sampled."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.spec.losses import FasterRCNN

RNG = np.random.default_rng(6)
OUTPUTS = {
    "logits": RNG.normal(size=(2, 3, 4)),
    "deltas": RNG.normal(size=(2, 3, 16)),
    "masks": RNG.normal(size=(2, 3, 4, 5, 5)),
    "objectness": RNG.normal(size=(2, 6)),
    "anchor_deltas": RNG.normal(size=(2, 6, 4)),
}
TARGETS = {
    "region_labels": np.array([[2, 0, -1], [3, 1, 0]]),
    "region_positive": np.array([[1, 0, 0], [1, 1, 0.0]]),
    "region_sampled": np.array([[1, 1, 0], [1, 1, 1.0]]),
    "region_targets": RNG.normal(size=(2, 3, 4)),
    "mask_targets": RNG.integers(0, 2, (2, 3, 5, 5)) * 1.0,
    "anchor_labels": np.array([[1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 1.0]]),
    "anchor_sampled": np.array([[1, 1, 0, 0, 1, 0], [0, 1, 1, 1, 0, 0.0]]),
    "anchor_targets": RNG.normal(size=(2, 6, 4)),
}


@pytest.mark.torch
def test_faster_rcnns_four_losses_and_the_masks_equal_pytorch(equals_pytorch):
    from torch.nn import functional

    def expected(outputs, targets):
        labels = targets["region_labels"].reshape(-1)
        found = functional.cross_entropy(outputs["logits"].reshape(-1, 4), labels, ignore_index=-1)
        positive = targets["region_positive"].reshape(-1).nonzero()[:, 0]
        deltas = outputs["deltas"].reshape(-1, 4, 4)[positive, labels[positive]]
        wanted = targets["region_targets"].reshape(-1, 4)[positive]
        found = found + functional.smooth_l1_loss(deltas, wanted, beta=1 / 9, reduction="sum") / 5
        masks = outputs["masks"].reshape(-1, 4, 5, 5)[positive, labels[positive]]
        true = targets["mask_targets"].reshape(-1, 5, 5)[positive]
        found = found + functional.binary_cross_entropy_with_logits(masks, true)
        sampled = targets["anchor_sampled"] > 0
        found = found + functional.binary_cross_entropy_with_logits(
            outputs["objectness"][sampled], targets["anchor_labels"][sampled]
        )
        both = sampled & (targets["anchor_labels"] > 0)
        near = functional.smooth_l1_loss(
            outputs["anchor_deltas"][both], targets["anchor_targets"][both], beta=1 / 9, reduction="sum"
        )
        return found + near / 6

    equals_pytorch(FasterRCNN(masks="masks"), OUTPUTS, TARGETS, expected)
