"""Claims about regularisation, initialisation and compound scaling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.claims.laboratory import Laboratory, network
from cnnbench.claims.trials import RELU, Trial, chain, conv, less, started
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import BatchNorm, Layer
from cnnbench.spec.layers.activation import Tanh
from cnnbench.spec.layers.regularization import Dropout
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.streams import stream
from cnnbench.spec.summary import summarize
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.schedules import Cosine
from cnnbench.training.settings import TrainSettings

FEW_IMAGES = 256
DEPTH, FEATURES = 20, (32, 16, 16)


class _Start(NamedTuple):
    """How kernels start before which activation, and where log10 of the ratio of mean squares should then lie."""

    name: str
    gain: float
    layer: Layer
    least: float | None
    most: float


STARTS = (
    _Start("He", math.sqrt(2), RELU, -2.0, 2.0),
    _Start("Xavier", 1.0, RELU, None, -3.0),
    _Start("Xavier", 1.0, Tanh(), -2.0, 0.0),
)
WIDTHS = ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1))  # filters, stride


def regularization(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """Trainings on few images, and the signal in deep chains whose weights start in several ways."""
    settings = TrainSettings(epochs=60, batch=32, train_images=FEW_IMAGES, schedule=Cosine())
    sides = {
        "nothing": (_network(0), settings),
        "dropout": (_network(0.2), settings),
        "augmentation": (_network(0), replace(settings, augmentation=Augmentation(crop_padding=1))),
        "label smoothing": (_network(0), replace(settings, loss=CrossEntropy(label_smoothing=0.1))),
    }
    found = {name: Trial(graph, how).accuracies(laboratory) for name, (graph, how) in sides.items()}
    for name, accuracies in found.items():
        if name != "nothing":
            gain = less(accuracies, found["nothing"])
            yield ClaimEvidence(f"test accuracy with {name} less that without, {FEW_IMAGES} images", gain, least=0)
    for start in STARTS:
        yield ClaimEvidence(
            f"log10 of the mean square after {DEPTH} layers of {start.layer.kind} over that before, {start.name}",
            laboratory.over_seeds(partial(_signal, laboratory, start)),
            least=start.least,
            most=start.most,
        )


def compound_scaling(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """A small network that grows to about four times its work, along one dimension or along three."""
    grown = {
        "depth": _scaled(depth=24, width=8, size=4),
        "width": _scaled(depth=6, width=16, size=4),
        "resolution": _scaled(depth=6, width=8, size=8),
        "all three": _scaled(depth=8, width=9, size=6),
    }
    work = {name: float(summarize(graph).macs) for name, graph in grown.items()}
    yield ClaimEvidence(
        "work of the network that grows along three, over the least of the others",
        (work["all three"] / min(value for name, value in work.items() if name != "all three"),),
        most=1.0,
    )
    settings = TrainSettings(epochs=8, batch=64)
    found = {name: Trial(graph, settings).accuracies(laboratory) for name, graph in grown.items()}
    for name in ("depth", "width", "resolution"):
        yield ClaimEvidence(
            f"test accuracy, grown along three less along {name}", less(found["all three"], found[name]), least=0
        )


def _network(p: float) -> Graph:
    dropped = (Dropout(p=p),) if p else ()
    return chain(*(layer for width in WIDTHS for layer in (conv(*width), BatchNorm(), RELU, *dropped)), size=16)


def _scaled(*, depth: int, width: int, size: int) -> Graph:
    return chain(*(layer for _ in range(depth) for layer in (conv(width), BatchNorm(), RELU)), size=size)


def _signal(laboratory: Laboratory, start: _Start, seed: int) -> float:
    """log10 of how the mean square of normal features changes on its way."""
    graph = network(FEATURES, *(item for _ in range(DEPTH) for item in (conv(FEATURES[0]), start.layer)))
    image = stream(seed, "claims", "image").normal(size=(1, *FEATURES))
    output = laboratory.output(graph, started(graph, seed, start.gain), x=image)
    return math.log10(float(np.mean(output**2) / np.mean(image**2)))


CLAIMS = (
    NetworkClaim(
        "regularization",
        13,
        "Dropout, augmentation and label smoothing help on new images; the initialisations of Xavier and He keep the "
        "signal's size.",
        "Srivastava et al. 2014; arXiv:1512.00567, section 7; Glorot and Bengio 2010; arXiv:1502.01852",
        regularization,
        conditions=(
            f"{FEW_IMAGES} training images, enlarged to 16 x 16 pixels, 60 epochs, each at the best of four rates",
            "Xavier for tanh, He for ReLU",
        ),
        trains=True,
    ),
    NetworkClaim(
        "compound_scaling",
        15,
        "A network that grows in depth, width and resolution together beats one that grows along one of them.",
        "arXiv:1905.11946, section 3",
        compound_scaling,
        conditions=(
            "digits of 4 x 4 pixels at the start, four times the work, 8 epochs, each at the best of four rates",
        ),
        trains=True,
    ),
)
