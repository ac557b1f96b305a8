"""Losses and optimisers as data."""

from __future__ import annotations

import pytest

from cnnbench.errors import SpecError
from cnnbench.registry import build
from cnnbench.spec.clipping import Clipping
from cnnbench.spec.losses import CrossEntropy, MeanSquaredError, loss_from_fields
from cnnbench.spec.optimizers import SGD, AdamW, decays, optimizer_from_fields


def test_losses_are_made_by_kind():
    assert loss_from_fields("cross_entropy", {"label_smoothing": 0.1}) == CrossEntropy(label_smoothing=0.1)
    assert loss_from_fields("mean_squared_error", {}) == MeanSquaredError()


def test_optimizers_are_made_by_kind():
    made = optimizer_from_fields("sgd", {"momentum": 0.9, "weight_decay": 1e-4, "decay": "kernels"})
    assert made == SGD(momentum=0.9, weight_decay=1e-4, decay="kernels")


def test_adamw_keeps_two_means_and_a_count_for_each_weight():
    made = optimizer_from_fields("adamw", {"epsilon_place": "uncorrected"})
    assert made == AdamW(epsilon_place="uncorrected")
    assert (made.slots, made.counters) == (("mean", "square", "step"), ("step",))
    assert made.decoupled


@pytest.mark.parametrize(
    ("make", "message", "remedy"),
    [
        (lambda: loss_from_fields("cross_entropi", {}), "unknown loss", "did you mean 'cross_entropy'?"),
        (lambda: loss_from_fields("cross_entropy", {"smoothing": 0.1}), "no field 'smoothing'", "'label_smoothing'"),
        (lambda: loss_from_fields("cross_entropy", {"label_smoothing": 1.0}), "label_smoothing is not valid", None),
        (lambda: loss_from_fields("cross_entropy", {"label_smoothing": "a"}), "label_smoothing is not valid", None),
        (lambda: optimizer_from_fields("sgdd", {}), "unknown optimizer", "did you mean 'sgd'?"),
        (lambda: optimizer_from_fields("sgd", {"momentun": 0.9}), "no field 'momentun'", "'momentum'"),
        (lambda: optimizer_from_fields("sgd", {"momentum": 1.0}), "momentum is not valid", None),
        (lambda: optimizer_from_fields("sgd", {"weight_decay": -1.0}), "weight_decay is not valid", None),
        (lambda: optimizer_from_fields("sgd", {"decay": "some"}), "decay is not valid", None),
        (lambda: optimizer_from_fields("sgd", {"dampening": 0.1, "nesterov": True}), "plain momentum", None),
        (lambda: optimizer_from_fields("sgd", {"clipping": 1.0}), "clipping is not valid", None),
        (lambda: optimizer_from_fields("sgd", {"clipping": {"kind": "norn", "limit": 1}}), "kind is not valid", None),
        (lambda: optimizer_from_fields("sgd", {"clipping": {"kind": "norm"}}), "clipping lacks limit", None),
        (lambda: optimizer_from_fields("sgd", {"clipping": {"kind": "norm", "limit": 0}}), "limit of clipping", None),
        (lambda: Clipping(kind="value", limit=1.0, epsilon=0.1), "epsilon of clipping", None),
        (lambda: Clipping(kind="norm", limit=1.0, excluded=("fc",)), "only adaptive clipping", None),
        (lambda: optimizer_from_fields("sgd", {"accumulate": 0}), "accumulate is not valid", None),
        (lambda: SGD(clipping=1.0), "clipping is not valid", None),
        (lambda: optimizer_from_fields("sgd", {"nesterov": "yes"}), "nesterov is not valid", None),
        (lambda: optimizer_from_fields("adam", {"beta2": 1.0}), "beta2 is not valid", None),
        (lambda: optimizer_from_fields("adam", {"epsilon": 0.0}), "epsilon is not valid", None),
        (lambda: optimizer_from_fields("adamw", {"epsilon_place": "below"}), "epsilon_place is not valid", None),
        (lambda: optimizer_from_fields("adam", {"eps": 1e-8}), "no field 'eps'", None),
    ],
)
def test_what_cannot_be_is_refused(make, message, remedy):
    with pytest.raises(SpecError, match=message) as caught:
        make()
    assert remedy is None or remedy in str(caught.value.remedy)


def test_all_weights_decay_or_kernels_only():
    graph = build("resnet20")
    trainable = [spec.name for spec in graph.named_weights() if spec.trainable]
    assert decays(graph, "all") == dict.fromkeys(trainable, True)
    kernels = [name for name, decay in decays(graph, "kernels").items() if decay]
    assert kernels == [
        name for name in trainable if name.endswith("weight") and ".bn" not in name and "bn1" not in name
    ]
    assert len(kernels) == 20  # 19 convolutions and the classifier


def test_fixed_weights_do_not_decay_because_they_are_not_trained():
    assert "output.weight" not in decays(build("lenet5_1998"), "all")
