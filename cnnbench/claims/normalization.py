"""Claims about normalisation: learning rates, small batches, folding, and the order of layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.claims.laboratory import Laboratory, apart
from cnnbench.claims.trials import CLASSES, IMAGE, RELU, Trial, chain, conv, less
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import BatchNorm, Layer
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.regularization import Dropout
from cnnbench.spec.layers.standardization import GroupNorm
from cnnbench.spec.layers.weight_standardization import ScaledWSConv
from cnnbench.spec.optimizers import SGD, Optimizer
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position
from cnnbench.training.settings import TrainSettings

WIDTHS = ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1))  # filters, stride
ASCENDING_RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
FEW_IMAGES = 512
SMALL_BATCH = 2
RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))  # 1 / standard deviation of the ReLU of a normal variable
BRANCH = 0.2
ADAPTIVE = Clipping(kind="adaptive", limit=0.02, excluded=("logits",))
PLAIN = SGD()
CLIPPED_RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
LARGE_BATCH = 256
SMALL_BATCH_RATES = (0.001, 0.003, 0.01, 0.03)


def batch_normalization(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """Six convolutions at ascending rates, in small batches, and folded."""
    highest = {
        name: _highest_rates(laboratory, network_with(norm)) for name, norm in _NORMS.items() if name in ("batch", "no")
    }
    yield ClaimEvidence(
        "log10 of the highest rate that trains, with batch normalisation less without",
        less(highest["batch"], highest["no"]),
        least=math.log10(2),
    )
    small = {name: _of_small_batches(laboratory, name) for name in ("batch", "group", "layer")}
    for name in ("group", "layer"):
        yield ClaimEvidence(
            f"test accuracy in batches of {SMALL_BATCH}, batch less {name} normalisation",
            less(small["batch"], small[name]),
            most=0,
        )
    yield ClaimEvidence(
        "what folding changes of the outputs",
        laboratory.over_seeds(lambda seed: _folded(laboratory, seed)),
        most=1e-12,
    )


def layer_order(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """Six convolutions in both orders, each at the best of the same rates."""
    settings = TrainSettings(epochs=6, batch=64)
    first, second = (
        Trial(chain(*(layer for width in WIDTHS for layer in (conv(*width), *after))), settings).accuracies(laboratory)
        for after in ((BatchNorm(), RELU, Dropout(p=0.2)), (RELU, Dropout(p=0.2), BatchNorm()))
    )
    yield ClaimEvidence("test accuracy, conv-BN-ReLU-dropout less conv-ReLU-dropout-BN", less(first, second), least=0)


def adaptive_clipping(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """A residual network of standardised convolutions without normalisation, with and without clipping."""
    graph = normalizer_free()
    sides = [SGD(clipping=ADAPTIVE), PLAIN]
    clipped, plain = (_highest_rates(laboratory, graph, item, CLIPPED_RATES) for item in sides)
    what = "log10 of the highest rate that trains, with adaptive clipping less without"
    yield ClaimEvidence(what, less(clipped, plain), least=math.log10(2))
    settings = TrainSettings(epochs=10, batch=LARGE_BATCH)
    clipped, plain = (
        Trial(graph, replace(settings, optimizer=item), rates=CLIPPED_RATES).accuracies(laboratory) for item in sides
    )
    what = "test accuracy, each at its best rate, with adaptive clipping less without"
    yield ClaimEvidence(what, less(clipped, plain), least=0)


def normalizer_free() -> Graph:
    """A stem and six residual blocks; activations keep the variance, and each branch adds a 25th of its own."""
    standardised = ScaledWSConv(out_channels=16, kernel_size=3, padding=1)
    active = (RELU, Affine(scale=RELU_GAIN))
    branch = (*active, standardised, *active, standardised, Affine(scale=BRANCH))
    return chain(standardised, *[branch] * 6, *active)


_NORMS: dict[str, tuple[Layer, ...]] = {
    "no": (),
    "batch": (BatchNorm(),),
    "group": (GroupNorm(groups=4),),
    "layer": (GroupNorm(groups=1),),
}


def network_with(norm: tuple[Layer, ...]) -> Graph:
    """Six convolutions, each followed by these layers and a ReLU."""
    return chain(*(layer for width in WIDTHS for layer in (conv(*width), *norm, RELU)))


def _highest_rates(
    laboratory: Laboratory, graph: Graph, optimizer: Optimizer = PLAIN, rates: Sequence[float] = ASCENDING_RATES
) -> tuple[float, ...]:
    """log10 of the highest rate for each seed after which the training loss is less than half that of a guess."""

    def highest(seed: int) -> float:
        for rate in reversed(rates):
            settings = TrainSettings(epochs=6, batch=64, optimizer=optimizer, learning_rate=rate)
            if Trial(graph, settings).train(laboratory, seed).epochs[-1].train_loss < math.log(CLASSES) / 2:
                return math.log10(rate)
        return math.nan

    return laboratory.over_seeds(highest)


def _of_small_batches(laboratory: Laboratory, name: str) -> tuple[float, ...]:
    settings = TrainSettings(epochs=3, batch=SMALL_BATCH, train_images=FEW_IMAGES)
    return Trial(network_with(_NORMS[name]), settings, rates=SMALL_BATCH_RATES).accuracies(laboratory)


def _folded(laboratory: Laboratory, seed: int) -> float:
    graph = network_with(_NORMS["batch"])
    arrays = general_position(graph, seed)
    images = stream(seed, "claims", "images").normal(size=(4, *IMAGE))
    plain, folded = (laboratory.output(graph, arrays, fold=fold, image=images) for fold in (False, True))
    return apart(plain, folded)


CLAIMS = (
    NetworkClaim(
        "batch_normalization",
        10,
        "Batch normalisation allows higher rates, fails in small batches where group and layer normalisation do not, "
        "and can be folded away.",
        "arXiv:1502.03167, section 4.2.1; arXiv:1803.08494, figure 1",
        batch_normalization,
        conditions=(f"small batches are of {SMALL_BATCH} images", "six convolutions on digits of 8 x 8 pixels"),
        trains=True,
    ),
    NetworkClaim(
        "layer_order",
        11,
        "Convolution, batch norm, ReLU and dropout learn better in this order than convolution, ReLU, dropout and "
        "batch norm.",
        "the notes; arXiv:1801.05134 for dropout before batch norm",
        layer_order,
        conditions=("six convolutions on digits of 8 x 8 pixels, a fifth dropped, 6 epochs, the best of four rates",),
        trains=True,
    ),
    NetworkClaim(
        "adaptive_clipping",
        16,
        "Training without normalisation needs adaptive gradient clipping.",
        "arXiv:2102.06171, section 4",
        adaptive_clipping,
        conditions=(
            "residual network of 13 standardised convolutions on digits of 8 x 8 pixels",
            f"limit {ADAPTIVE.limit}, all but the last layer; the best of five rates each, batches of {LARGE_BATCH}",
        ),
        trains=True,
    ),
)
