"""Claims about depth: the effect of shortcuts and auxiliary classifiers on gradients and training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench import registry
from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.claims.laboratory import Laboratory
from cnnbench.claims.trials import CLASSES, IMAGE, RELU, Trial, chain, conv, less, started
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import GlobalAvgPool, Linear
from cnnbench.spec.streams import stream
from cnnbench.training.settings import TrainSettings

Array = NDArray[Any]
SHALLOW, DEEP = 8, 56
AUXILIARY_WEIGHT = 0.3  # of GoogLeNet's two, arXiv:1409.4842, section 5
AUXILIARY_AFTER = (6, 12)


def shortcuts(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """Gradients of chains of convolutions without normalisation, and trainings of the paper's own networks."""
    for residual, words, least, most in ((False, "plain", None, -3.0), (True, "with shortcuts", -1.0, None)):
        yield ClaimEvidence(
            f"log10 of the first layer's gradient in {DEEP} layers over that in {SHALLOW}, {words}",
            laboratory.over_seeds(partial(_survival, laboratory, residual=residual)),
            least=least,
            most=most,
        )
    found = {name: _outcomes(laboratory, name) for name in ("plain20", "plain56", "resnet20", "resnet56")}
    loss = {name: tuple(item[0] for item in items) for name, items in found.items()}
    accuracy = {name: tuple(item[1] for item in items) for name, items in found.items()}
    yield ClaimEvidence("training loss, plain56 less plain20", less(loss["plain56"], loss["plain20"]), least=0)
    yield ClaimEvidence("test accuracy, plain56 less plain20", less(accuracy["plain56"], accuracy["plain20"]), most=0)
    yield ClaimEvidence(
        "test accuracy, resnet56 less resnet20", less(accuracy["resnet56"], accuracy["resnet20"]), least=-0.02
    )
    yield ClaimEvidence(
        "test accuracy, resnet56 less plain56", less(accuracy["resnet56"], accuracy["plain56"]), least=0
    )


def auxiliary(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """The gradient at the start of training, with and without two classifiers on the way."""
    graph = _with_classifiers()

    def gain(seed: int) -> float:
        alone, helped = (_first_gradient(laboratory, graph, seed, weight) for weight in (0.0, AUXILIARY_WEIGHT))
        return math.log10(helped / alone)

    yield ClaimEvidence(
        "log10 of the first layer's gradient with auxiliary classifiers over that without",
        laboratory.over_seeds(gain),
        least=0,
    )


def _outcomes(laboratory: Laboratory, name: str) -> list[tuple[float, float]]:
    """(training loss of the last epoch, test accuracy) for each seed, at the rate that tuning found."""
    graph = registry.architecture(name).build(IMAGE, CLASSES)
    trial = Trial(graph, TrainSettings(epochs=6, batch=64)).tuned(laboratory)
    results = [trial.train(laboratory, seed) for seed in laboratory.seeds]
    return [(item.epochs[-1].train_loss, float(item.test_accuracy or 0)) for item in results]


def _survival(laboratory: Laboratory, seed: int, *, residual: bool) -> float:
    """How the first convolution's gradient changes from a shallow to a deep chain."""
    pair = (conv(16), RELU, conv(16))
    sizes = []
    for depth in (DEEP, SHALLOW):
        blocks = [item for _ in range((depth - 2) // 2) for item in ((pair, RELU) if residual else (*pair, RELU))]
        graph = chain(conv(16), RELU, *blocks)
        sizes.append(float(np.linalg.norm(_gradients(laboratory, graph, seed)["0.weight"])))
    return math.log10(sizes[0] / sizes[1])


def _gradients(laboratory: Laboratory, graph: Graph, seed: int, weights: Mapping[str, float] | None = None) -> Any:
    """The weights' gradients of the cross-entropy of all outputs, each times its weight, on one batch of noise.

    Args:
        laboratory: Who computes.
        graph: A classifier.
        seed: Of weights, images and labels.
        weights: Of the outputs; None: 1 each.
    """
    draw = stream(seed, "claims", "batch")
    images, labels = draw.normal(size=(32, *IMAGE)), draw.integers(0, CLASSES, 32)
    arrays = started(graph, seed, 1.0)
    outputs = laboratory.outputs(graph, arrays, image=images)
    cotangents = {}
    for name, logits in outputs.items():
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        shares[np.arange(len(labels)), labels] -= 1
        cotangents[name] = shares / len(labels) * (weights[name] if weights else 1)
    return laboratory.gradients(graph, arrays, cotangents, image=images).weights


def _first_gradient(laboratory: Laboratory, graph: Graph, seed: int, weight: float) -> float:
    weights = {name: 1.0 if name == "logits" else weight for name, _ in graph.outputs}
    return float(np.linalg.norm(_gradients(laboratory, graph, seed, weights)["0.weight"]))


def _with_classifiers() -> Graph:
    """18 convolutions with two classifiers on the way, as GoogLeNet's."""
    b = Builder("classifiers on the way")
    x = b.input("image", IMAGE)
    outputs = {}
    for number in range(18):
        x = b.add(f"relu{number}", RELU, b.add(str(number), conv(16), x))
        if number + 1 in AUXILIARY_AFTER:
            pooled = b.add(f"pool{number}", GlobalAvgPool(), x)
            outputs[f"aux{number}"] = b.add(f"aux{number}", Linear(out_features=CLASSES), pooled)
    logits = b.add("logits", Linear(out_features=CLASSES), b.add("pool", GlobalAvgPool(), x))
    return b.build({"logits": logits, **outputs})


CLAIMS = (
    NetworkClaim(
        "shortcuts",
        9,
        "Shortcuts keep gradients alive: a plain network of 56 layers trains worse than one of 20, a residual one not.",
        "arXiv:1512.03385, sections 1 and 4.2",
        shortcuts,
        conditions=(
            "gradients are those of networks without normalisation whose weights start with variance 1 / fan in",
            "digits of 8 x 8 pixels, 6 epochs, each network at the best of four rates",
        ),
        trains=True,
    ),
    NetworkClaim(
        "auxiliary_classifiers",
        14,
        "Auxiliary classifiers strengthen the gradients of early layers.",
        "arXiv:1409.4842, section 5",
        auxiliary,
        conditions=("at the start, 18 convolutions without normalisation, weights of variance 1 / fan in",),
    ),
)
