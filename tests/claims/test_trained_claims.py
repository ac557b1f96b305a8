"""Claims that are tried by training: both sides are tuned alike, without test images, and verdicts follow."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from cnnbench.claims import depth, style, trials
from cnnbench.claims.claim import claims
from cnnbench.claims.laboratory import Laboratory
from cnnbench.claims.style import least, transfer
from cnnbench.claims.trials import RATES, TUNING_SEEDS, Trial, chain, conv, started
from cnnbench.execution.backends import load_backend
from cnnbench.spec.layers import ReLU
from cnnbench.spec.losses import CrossEntropy
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.settings import TrainSettings
from cnnbench.views.descent import adam, lbfgs

ALL = claims()
TRAINED = [name for name, claim in ALL.items() if claim.trains and name != "style_optimizers"]


def laboratory(backend: str = "numpy", mode: str = "fast", seeds: int = 4) -> Laboratory:
    return Laboratory(load_backend(backend), mode, tuple(range(seeds)))


def small() -> Trial:
    return Trial(chain(conv(4), ReLU()), TrainSettings(epochs=1, batch=64, train_images=320), rates=(1e-6, 0.1))


@pytest.fixture
def outcomes(monkeypatch):
    """Replaces every training by an outcome (training loss, test loss, test accuracy) that a test chooses.

    Gradients of deep chains, which take seconds, come out as stated: plain ones die.
    """
    monkeypatch.setattr(depth, "_survival", lambda laboratory, seed, *, residual: 0.1 * seed if residual else -4.0)

    def replaced(outcome):
        seen = []

        def train(task):
            seen.append(task)
            train_loss, test_loss, accuracy = outcome(task)
            return SimpleNamespace(
                epochs=[SimpleNamespace(train_loss=train_loss, test_loss=test_loss)], test_accuracy=accuracy
            )

        monkeypatch.setattr(trials, "train", train)
        return seen

    return replaced


def test_tuning_takes_the_rate_of_the_least_loss_on_training_images_that_it_leaves_out(outcomes):
    seen = outcomes(lambda task: (0.0, abs(task.settings.learning_rate - 0.1), 0.0))
    tuned = Trial(chain(conv(4)), TrainSettings()).tuned(laboratory())
    assert tuned.settings.learning_rate == 0.1
    assert {(task.settings.learning_rate, task.settings.seed) for task in seen} == {
        (rate, seed) for rate in RATES for seed in TUNING_SEEDS
    }
    trained, decided = seen[0].data("train"), seen[0].data("test")
    whole = load_dataset("digits", DataRequest("train", trials.IMAGE))
    assert len(trained) + len(decided) == len(whole)
    found = np.concatenate([trained.images, decided.images])
    assert {image.tobytes() for image in found} == {image.tobytes() for image in whole.images}
    tests = {image.tobytes() for image in load_dataset("digits", DataRequest("test", trials.IMAGE)).images}
    assert not tests & {image.tobytes() for image in found}


@pytest.mark.parametrize("lost", [math.nan, math.inf, None])
def test_a_rate_at_which_training_diverges_is_never_chosen(outcomes, lost):
    outcomes(lambda task: (0.0, lost if task.settings.learning_rate < 0.3 else 5.0, 0.0))
    assert Trial(chain(conv(4)), TrainSettings()).tuned(laboratory()).settings.learning_rate == 0.3


def test_a_trial_really_trains():
    assert small().tuned(laboratory()).settings.learning_rate == 0.1
    first, again, other = (small().train(laboratory(), seed) for seed in (0, 0, 1))
    assert first.losses == again.losses != other.losses


def test_both_sides_of_every_comparison_are_tuned_over_as_many_rates(outcomes):
    """No side gets more trials, on other seeds or on other images than the other."""
    for name in ("shortcuts", "layer_order", "regularization", "compound_scaling"):
        seen = outcomes(lambda task: (1.0, 1.0, 0.5))
        ALL[name].examine(laboratory())
        sides: dict[object, set[tuple[float, int]]] = {}
        for task in seen:
            if isinstance(task, trials._Tuning):
                same = replace(task.settings, learning_rate=0.0, seed=0)
                sides.setdefault((task.graph.digest, repr(same)), set()).add(
                    (task.settings.learning_rate, task.settings.seed)
                )
        assert len(sides) >= 2
        assert len(set(map(frozenset, sides.values()))) == 1, name


@pytest.mark.parametrize(("gain", "least", "most"), [(1.0, 0.98, 1.02), (math.sqrt(2), 1.96, 2.04)])
def test_kernels_start_with_the_variance_of_their_gain(gain, least, most):
    graph = chain(conv(64), conv(64))
    arrays = started(graph, 0, gain)
    assert least < 9 * 64 * float(arrays["1.weight"].var()) < most
    assert not arrays["0.bias"].any()


def _helps(task):
    """An outcome by which shortcuts, the order, regularisation, scaling and normalisation do what is said."""
    graph, settings = task.graph, task.settings
    kinds = [node.layer.kind for node in graph.nodes]
    deep = len(kinds) > 120
    plain = deep and "add" not in kinds
    norm = "batch_norm" in kinds
    good = 0.9 + 0.001 * settings.seed
    if plain or (settings.batch == 2 and norm):
        return 2.0, 2.0, good - 0.4
    if settings.optimizer.clipping is None and "scaled_ws_conv" in kinds:
        return (0.1, 0.1, 0.3) if settings.learning_rate < 0.1 else (math.nan, math.nan, 0.1)
    if settings.learning_rate > 0.1 and not norm:
        return math.nan, math.nan, 0.1
    regularised = "dropout" in kinds or settings.augmentation.crop_padding or settings.loss != CrossEntropy()
    together = graph.inputs[0].shape[-1] == 6
    order = "dropout" in kinds and norm and kinds.index("batch_norm") < kinds.index("dropout")
    return 0.1, 0.1, good + 0.05 * bool(regularised) + 0.05 * together + 0.02 * order


def _harms(task):
    """The opposite, in whatever is compared."""
    train_loss, test_loss, accuracy = _helps(task)
    return 2.5 - train_loss, test_loss, 1.0 - accuracy


@pytest.mark.parametrize("name", TRAINED)
def test_the_verdict_follows_from_what_was_trained(outcomes, name):
    outcomes(_helps)
    assert ALL[name].examine(laboratory(seeds=8)).verdict == "holds with conditions"
    outcomes(_harms)
    assert ALL[name].examine(laboratory()).verdict in ("does not hold", "undecided")


def test_the_loss_of_a_style_has_the_gradient_of_central_differences():
    loss = transfer(laboratory(), 3)
    draw = np.random.default_rng(0)
    picture, way = draw.normal(size=(2, 1, 3, 32, 32)).astype(np.float32)
    slope = float(np.sum(loss(picture)[1] * way))
    steps = (np.float32(picture + 1e-4 * way), np.float32(picture - 1e-4 * way))
    difference = (loss(steps[0])[0] - loss(steps[1])[0]) / 2e-4
    assert slope == pytest.approx(difference, rel=1e-3)


@pytest.mark.parametrize(
    "descend",
    [lambda loss: lbfgs(loss, np.zeros((1, 1, 2, 3)), 25), lambda loss: adam(loss, np.zeros((1, 1, 2, 3)), 25, 0.3)],
    ids=["lbfgs", "adam"],
)
def test_a_descent_of_pictures_gets_no_more_evaluations_than_it_may(descend):
    factors, calls = np.arange(1.0, 7).reshape(1, 1, 2, 3), []

    def loss(picture):
        calls.append(picture)
        away = (picture - 1) * factors
        return float(np.sum(away**2)), 2 * away * factors

    whole = least(loss, descend, 25)
    assert whole < 0.2 * loss(np.zeros((1, 1, 2, 3)))[0]
    assert len(calls) <= 26
    calls.clear()
    least(loss, descend, 5)
    assert len(calls) == 5


def test_the_verdict_on_styles_follows_from_the_losses(monkeypatch):
    monkeypatch.setattr(style, "transfer", lambda where, seed: None)
    for reached, verdict in ((0.5, "holds with conditions"), (1.5, "does not hold")):
        monkeypatch.setattr(
            style, "least", lambda loss, how, budget, reached=reached: 1.0 if isinstance(how, partial) else reached
        )
        assert ALL["style_optimizers"].examine(laboratory()).verdict == verdict
