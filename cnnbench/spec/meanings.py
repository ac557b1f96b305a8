"""What outputs mean, by their names: shape, unit, and the outputs that they are read with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Meaning:
    """What an output of some name is.

    Args:
        text: One clause.
        shapes: Its possible shapes in letters: N images, M detections, K classes or keypoints, H and W pixels.
        unit: Of its values.
        goes_with: Outputs without which it cannot be read.
    """

    text: str
    shapes: tuple[str, ...]
    unit: str
    goes_with: tuple[str, ...] = ()

    @property
    def ranks(self) -> frozenset[int]:
        """The numbers of axes that its shapes have."""
        return frozenset(shape.count(",") + (not shape.endswith(",)")) for shape in self.shapes)


MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {
        "logits": Meaning(
            "scores before softmax, or before a sigmoid where there is one; of each pixel, patch, region or word",
            ("(N, K)", "(N, K, H, W)", "(N, M, K)", "(N, M, T, K)"),
            "natural logarithm of odds",
        ),
        "boxes": Meaning(
            "corners x1, y1, x2, y2 of detections by falling score, theirs or their proposal's; zeros behind the last",
            ("(N, M, 4)",),
            "pixels of the input, x1 of a box at the left border being 0",
            ("scores", "counts"),
        ),
        "deltas": Meaning(
            "for each region and each class, the background first, how the class moves the region (``box_decode``)",
            ("(N, M, 4 K)",),
            "shares of the region, logarithms of growth; times 10 and 5 in heads of detectors",
        ),
        "scores": Meaning("how sure each detection is", ("(N, M)",), "probability", ("counts",)),
        "classes": Meaning("the class of each detection", ("(N, M)",), "number of a class, from 0", ("counts",)),
        "counts": Meaning("how many detections an image has; what is behind them is padding", ("(N,)",), "detections"),
        "masks": Meaning(
            "for each detection the share of its box that is the object, on a grid laid over the box",
            ("(N, M, H, W)",),
            "probability",
            ("boxes", "counts"),
        ),
        "cells": Meaning(
            "YOLO's grid: for each cell x, y, root of w, root of h and confidence of each box, then the classes",
            ("(N, S, S, B 5 + K)",),
            "x, y: shares of the cell; w, h: of the image; the rest: probability",
        ),
        "heatmaps": Meaning(
            "how likely each keypoint is at each place; the last channel may be the background",
            ("(N, K, H, W)",),
            "1 at the keypoint",
        ),
        "fields": Meaning(
            "part-affinity fields: for each limb the x and the y coordinate of its direction",
            ("(N, 2 L, H, W)",),
            "1 along the limb, 0 elsewhere",
            ("heatmaps",),
        ),
        "tokens": Meaning(
            "numbers of words, 0 from the end on", ("(N, T)", "(N, M, T)"), "number in the vocabulary, 0 the end"
        ),
        "image": Meaning("a picture", ("(N, C, H, W)",), "intensity, from 0 to 1 or (generators) from -1 to 1"),
        "noise": Meaning("the noise that a noisy picture holds", ("(N, C, H, W)",), "standard deviations"),
        "latent": Meaning("the code of a picture", ("(N, Z)", "(N, Z, H, W)"), "standard deviations of the prior"),
        "mean": Meaning("mean of the code's distribution", ("(N, Z)",), "as the latent", ("log_variance",)),
        "log_variance": Meaning(
            "logarithm of the variance of the code's distribution", ("(N, Z)",), "natural logarithm", ("mean",)
        ),
        "codes": Meaning("the vector of each region", ("(N, M, D)",), "none", ("counts",)),
        "h": Meaning("state of an LSTM: what it gives", ("(N, D)", "(N, M, D)"), "from -1 to 1", ("c",)),
        "c": Meaning("state of an LSTM: its cells", ("(N, D)", "(N, M, D)"), "none", ("h",)),
        "context": Meaning("features weighted by attention", ("(N, D)", "(N, D, H, W)"), "none"),
        "attention": Meaning(
            "how much each place counts; the sum is 1", ("(N, L)", "(N, H, W)", "(N, 1, H, W)"), "share"
        ),
        "features": Meaning("what a network has found, for the networks after it", ("(N, D)", "(N, C, H, W)"), "none"),
    }
)


def is_auxiliary(name: str) -> bool:
    """Whether an output is one of training only, such as ``aux``, ``aux1`` and ``aux_logits``."""
    return re.fullmatch(r"aux\d*(_.*)?", name) is not None


def meaning_of(name: str) -> Meaning | None:
    """The meaning of an output; None for a name that says nothing.

    ``fields3`` (of an earlier stage) means what ``fields`` means, ``aux1_logits`` what ``logits`` means.
    """
    words = re.fullmatch(r"(?:aux\d*_?)?(.*?)_?\d*", name)
    return MEANINGS.get(words.group(1) or "logits") if words else None
