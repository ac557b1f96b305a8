"""Losses as layers, against torch.nn.functional, scipy and loops; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.adversarial_loss import LeastSquaresGAN, NonSaturatingGAN
from cnnbench.spec.composites.detection_loss import HeadBoxLoss, HeadClassLoss, RPNBoxLoss, RPNObjectnessLoss
from cnnbench.spec.composites.element_loss import (
    BCEWithLogitsLoss,
    L1Loss,
    MSELoss,
    SmoothL1Loss,
    VAEDivergence,
)
from cnnbench.spec.composites.loss import CrossEntropyLoss, DiceLoss, SoftCrossEntropyLoss, TokenCrossEntropyLoss
from cnnbench.spec.composites.yolo_loss import YoloLoss
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.loss import NLLLoss

RNG = np.random.default_rng(5)
PLANE = (3, 4, 5)


def value(layer, *inputs):
    arrays = tuple(np.asarray(x) for x in inputs)
    resolved = layer.resolve(tuple(x.shape for x in arrays))
    return reference().forward(LayerCall(resolved, arrays)).outputs[0]


def gradient(layer, *inputs):
    arrays = tuple(np.asarray(x) for x in inputs)
    resolved = layer.resolve(tuple(x.shape for x in arrays))
    return reference().gradient(LayerCall(resolved, arrays), (np.ones(()),)).inputs[0]


PAIRS = [
    (MSELoss(), "mse_loss", {}),
    (MSELoss(reduction="sum"), "mse_loss", {"reduction": "sum"}),
    (L1Loss(reduction="none"), "l1_loss", {"reduction": "none"}),
    (SmoothL1Loss(beta=1 / 9), "smooth_l1_loss", {"beta": 1 / 9}),
    (SmoothL1Loss(beta=0.7, form="huber"), "huber_loss", {"delta": 0.7}),
    (BCEWithLogitsLoss(), "binary_cross_entropy_with_logits", {}),
]


@pytest.mark.torch
@pytest.mark.parametrize(("layer", "name", "fields"), PAIRS)
def test_element_losses_equal_pytorch(layer, name, fields):
    torch = pytest.importorskip("torch", reason="needs torch")
    x, t = RNG.normal(size=PLANE) * 2, RNG.uniform(size=PLANE)
    leaf = torch.tensor(x, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(leaf, torch.tensor(t), **fields)
    np.testing.assert_allclose(value(layer, x, t), expected.detach().numpy(), rtol=1e-12, atol=1e-13)
    if expected.ndim == 0:
        expected.backward()
        np.testing.assert_allclose(gradient(layer, x, t), leaf.grad.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 5)])
def test_cross_entropy_equals_pytorch(reduction, smoothing, weighted, shape):
    torch = pytest.importorskip("torch", reason="needs torch")
    x, t = RNG.normal(size=shape) * 3, RNG.integers(0, 6, (shape[0], *shape[2:]))
    t.reshape(-1)[1] = -100
    w = RNG.uniform(0.2, 2, 6)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(x),
        torch.tensor(t),
        torch.tensor(w) if weighted else None,
        reduction=reduction,
        label_smoothing=smoothing,
    )
    layer = CrossEntropyLoss(reduction=reduction, label_smoothing=smoothing)
    found = value(layer, x, t, *([w] if weighted else []))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.torch
def test_weights_of_classes_as_a_field_equal_pytorch():
    torch = pytest.importorskip("torch", reason="needs torch")
    x, t, w = RNG.normal(size=(4, 6, 3)), RNG.integers(0, 6, (4, 3)), (0.2, 1.0, 3.0, 0.0, 1.0, 0.5)
    t[0, 0] = -1
    leaf = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        leaf, torch.tensor(t), torch.tensor(w, dtype=leaf.dtype), ignore_index=-1
    )
    expected.backward()
    layer = CrossEntropyLoss(class_weights=w, ignore_index=-1)
    np.testing.assert_allclose(value(layer, x, t), expected.item(), rtol=1e-13)
    np.testing.assert_allclose(gradient(layer, x, t), leaf.grad.numpy(), rtol=1e-12, atol=1e-16)
    with pytest.raises(SpecError, match="given twice"):
        value(layer, x, t, np.ones(6))
    with pytest.raises(SpecError, match="class_weights are not valid"):
        value(CrossEntropyLoss(class_weights=(1.0, 2.0)), x, t)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2, 3)])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_probabilities_as_targets_equal_pytorch(shape, smoothing):
    torch = pytest.importorskip("torch", reason="needs torch")
    x, t = RNG.normal(size=shape), RNG.uniform(size=shape)
    leaf, layer = torch.tensor(x, requires_grad=True), SoftCrossEntropyLoss(label_smoothing=smoothing)
    t /= t.sum(1, keepdims=True)
    expected = torch.nn.functional.cross_entropy(leaf, torch.tensor(t), label_smoothing=smoothing)
    expected.backward()
    np.testing.assert_allclose(value(layer, x, t), expected.item(), rtol=1e-13)
    np.testing.assert_allclose(gradient(layer, x, t), leaf.grad.numpy(), rtol=1e-12, atol=1e-16)


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 2, 5, 4)])
def test_words_over_time_equal_pytorch(shape):
    torch = pytest.importorskip("torch", reason="needs torch")
    x, t = RNG.normal(size=shape), RNG.integers(0, 4, shape[:-1])
    t[..., 3:] = -1
    leaf = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(leaf.reshape(-1, 4), torch.tensor(t).reshape(-1), ignore_index=-1)
    expected.backward()
    np.testing.assert_allclose(value(TokenCrossEntropyLoss(), x, t), expected.item(), rtol=1e-13)
    np.testing.assert_allclose(gradient(TokenCrossEntropyLoss(), x, t), leaf.grad.numpy(), rtol=1e-12, atol=1e-16)


def test_nll_equals_a_loop():
    x, t, w = RNG.normal(size=(5, 3)), np.array([0, 2, 1, 2, 0]), np.array([1.0, 0.5, 2.0])
    counted = [n for n in range(5) if t[n] != 1]
    expected = -sum(w[t[n]] * x[n, t[n]] for n in counted) / sum(w[t[n]] for n in counted)
    np.testing.assert_allclose(value(NLLLoss(ignore_index=1), x, t, w), expected, rtol=1e-14)
    assert value(NLLLoss(ignore_index=1, reduction="none"), x, t, w)[2] == 0


def test_bce_with_logits_is_accurate_where_the_sigmoid_is_not():
    x = np.array([[-800.0, -40.0, 40.0, 800.0]])
    zeros, ones = np.zeros((1, 4)), np.ones((1, 4))
    layer = BCEWithLogitsLoss(reduction="none")
    tail = np.exp(-40.0)  # log1p(e) for a small e
    np.testing.assert_allclose(value(layer, x, zeros), [[0, tail, 40, 800]], rtol=1e-14)
    np.testing.assert_allclose(value(layer, x, ones), [[800, 40, tail, 0]], rtol=1e-14)
    np.testing.assert_allclose(value(BCEWithLogitsLoss(pos_weight=3.0, reduction="none"), x, ones)[0, 1], 120)


def test_bce_equals_scipys_entropies():
    special = pytest.importorskip("scipy.special")
    p, t = RNG.uniform(0.1, 0.9, PLANE), RNG.uniform(size=PLANE)
    expected = -(special.xlogy(t, p) + special.xlog1py(1 - t, -p)).mean()
    np.testing.assert_allclose(value(BCEWithLogitsLoss(), special.logit(p), t), expected, rtol=1e-13)


def test_the_divergence_of_a_code_is_that_of_normal_distributions():
    """KL(N(m, s^2) || N(0, 1)) by quadrature."""
    integrate = pytest.importorskip("scipy.integrate")
    stats = pytest.importorskip("scipy.stats")
    m, v = 0.7, -0.4
    p, q = stats.norm(m, np.exp(v / 2)), stats.norm(0, 1)
    expected = integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -12, 12)[0]
    code = np.full((2, 3), m), np.full((2, 3), v)
    np.testing.assert_allclose(value(VAEDivergence(), *code), 3 * expected, rtol=1e-9)


def test_least_squares_judges_by_label():
    x = np.array([[0.5, 2.0]])
    np.testing.assert_allclose(value(LeastSquaresGAN(label=1.0), x), (0.25 + 1) / 4)
    np.testing.assert_allclose(value(LeastSquaresGAN(label=0.0, scale=1.0, reduction="sum"), x), 4.25)


@pytest.mark.torch
@pytest.mark.parametrize("label", [0.0, 0.9, 1.0])
def test_judgements_against_one_label_equal_pytorch(label):
    torch = pytest.importorskip("torch", reason="needs torch")
    x = RNG.normal(size=PLANE) * 20
    leaf = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(leaf, torch.full(PLANE, label, dtype=leaf.dtype))
    np.testing.assert_allclose(value(NonSaturatingGAN(label=label), x), expected.detach().numpy(), rtol=1e-13)
    expected.backward()
    np.testing.assert_allclose(gradient(NonSaturatingGAN(label=label), x), leaf.grad.numpy(), rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("over_batch", [False, True])
def test_dice_equals_a_loop(squared, over_batch):
    p, t = RNG.uniform(size=(2, 3, 4, 5)), RNG.integers(0, 2, (2, 3, 4, 5)) * 1.0
    found = value(DiceLoss(squared=squared, over_batch=over_batch, smooth=0.5, reduction="none"), p, t)
    for n in range(2):
        for k in range(3):
            a, b = (p[:, k], t[:, k]) if over_batch else (p[n, k], t[n, k])
            sizes = (a * a + b * b).sum() if squared else (a + b).sum()
            expected = 1 - (2 * (a * b).sum() + 0.5) / (sizes + 0.5)
            np.testing.assert_allclose(found[k] if over_batch else found[n, k], expected, rtol=1e-13)


def test_an_empty_class_that_is_predicted_empty_costs_nothing():
    assert value(DiceLoss(), np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3, 3))) == 0


def smooth(d, beta=1 / 9):
    return np.where(abs(d) < beta, d * d / (2 * beta), abs(d) - beta / 2)


def test_region_proposal_losses_count_what_was_sampled():
    logits, labels = RNG.normal(size=(2, 6)), RNG.integers(0, 2, (2, 6)) * 1.0
    sampled = np.array([[1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 1.0]])
    p = 1 / (1 + np.exp(-logits))
    entropy = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    np.testing.assert_allclose(value(RPNObjectnessLoss(), logits, labels, sampled), entropy[sampled > 0].mean())
    deltas, targets = RNG.normal(size=(2, 6, 4)), RNG.normal(size=(2, 6, 4))
    positive = labels * sampled
    expected = smooth(deltas - targets)[positive > 0].sum() / 6
    np.testing.assert_allclose(value(RPNBoxLoss(), deltas, targets, positive, sampled), expected, rtol=1e-13)
    assert value(RPNBoxLoss(), deltas, targets, 0 * positive, 0 * sampled) == 0


def test_head_losses_look_at_the_own_class_of_sampled_boxes():
    labels = np.array([0, 2, -1, 1, 2])
    logits = RNG.normal(size=(5, 3))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -np.mean([log_p[r, labels[r]] for r in (0, 1, 3, 4)])
    np.testing.assert_allclose(value(HeadClassLoss(), logits, labels), expected, rtol=1e-13)
    deltas, targets = RNG.normal(size=(5, 12)), RNG.normal(size=(5, 4))
    positive, sampled = np.array([0, 1, 0, 1, 1.0]), np.array([1, 1, 0, 1, 1.0])
    total = sum(smooth(deltas[r, 4 * labels[r] : 4 * labels[r] + 4] - targets[r]).sum() for r in (1, 3, 4))
    np.testing.assert_allclose(value(HeadBoxLoss(), deltas, labels, targets, positive, sampled), total / 4, rtol=1e-13)


def overlap(a, b, cells):
    """IoU of (x, y, w, h), places in cells, sizes in images."""
    boxes = [
        ((x / cells[1] - w / 2, y / cells[0] - h / 2), (x / cells[1] + w / 2, y / cells[0] + h / 2))
        for x, y, w, h in (a, b)
    ]
    sides = [min(boxes[0][1][i], boxes[1][1][i]) - max(boxes[0][0][i], boxes[1][0][i]) for i in (0, 1)]
    common = max(sides[0], 0) * max(sides[1], 0)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


@pytest.mark.parametrize("confidence", ["iou", "one"])
def test_yolo_is_equation_3_cell_by_cell(confidence):
    grid, classes, count = (3, 4), 3, 2
    x = RNG.uniform(0.1, 0.9, (2, 5 * count + classes, *grid))
    t = RNG.uniform(0.1, 0.9, (2, 5 + classes, *grid))
    t[:, 4] = RNG.integers(0, 2, t[:, 4].shape)
    total = 0.0
    for n, i, j in np.ndindex(2, *grid):
        truth = t[n, :, i, j]
        boxes = [x[n, 5 * b : 5 * b + 5, i, j] for b in range(count)]
        overlaps = [overlap((*box[:2], box[2] ** 2, box[3] ** 2), truth[:4], grid) for box in boxes]
        best = int(np.argmax(overlaps))
        for b, box in enumerate(boxes):
            if truth[4] and b == best:
                total += 5 * ((box[:2] - truth[:2]) ** 2).sum() + 5 * ((box[2:4] - np.sqrt(truth[2:4])) ** 2).sum()
                total += (box[4] - (overlaps[b] if confidence == "iou" else 1)) ** 2
            else:
                total += 0.5 * box[4] ** 2
        if truth[4]:
            total += ((x[n, 10:, i, j] - truth[5:]) ** 2).sum()
    layer = YoloLoss(boxes=count, classes=classes, confidence=confidence)
    np.testing.assert_allclose(value(layer, x, t), total / 2, rtol=1e-12)


def test_yolo_takes_the_overlap_for_a_constant():
    x, t = RNG.uniform(0.1, 0.9, (1, 8, 2, 2)), RNG.uniform(0.1, 0.9, (1, 8, 2, 2))
    t[:, 4] = 1
    found = gradient(YoloLoss(boxes=1, classes=3), x, t)
    np.testing.assert_allclose(found[:, :2], 10 * (x[:, :2] - t[:, :2]), rtol=1e-12)
    np.testing.assert_allclose(found[:, 2:4], 10 * (x[:, 2:4] - np.sqrt(t[:, 2:4])), rtol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shapes", "received"),
    [
        (MSELoss(), ((2, 3), (2, 4)), "((2, 3), (2, 4))"),
        (MSELoss(reduction="average"), ((2, 3), (2, 3)), "'average'"),
        (MSELoss(reduction="weighted_mean"), ((2, 3), (2, 3)), "2 inputs"),
        (SmoothL1Loss(beta=0.0), ((2, 3), (2, 3)), "0.0"),
        (SmoothL1Loss(form="log"), ((2, 3), (2, 3)), "'log'"),
        (BCEWithLogitsLoss(pos_weight=-1.0), ((2, 3), (2, 3)), "-1.0"),
        (DiceLoss(), ((2, 3), (2, 3)), "(2, 3)"),
        (DiceLoss(smooth=-1.0), ((2, 3, 4), (2, 3, 4)), "-1.0"),
        (YoloLoss(boxes=2, classes=3), ((1, 13, 7, 7), (1, 9, 7, 7)), "9"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(layer, shapes, received):
    builder = Builder("bad")
    values = [builder.input(f"x{i}", shape, batched=False) for i, shape in enumerate(shapes)]
    with pytest.raises(SpecError, match="node 'suspect'") as caught:
        builder.add("suspect", layer, *values)
    assert received in str(caught.value.received)
    assert caught.value.expected


@pytest.mark.parametrize(
    ("layer", "scores", "targets"),
    [(NLLLoss(), (2, 3, 4), (2, 3)), (CrossEntropyLoss(label_smoothing=1.0), (2, 3), (2,)), (NLLLoss(), (2,), (2,))],
)
def test_targets_must_fit_scores(layer, scores, targets):
    builder = Builder("bad")
    x = builder.input("x", scores, batched=False)
    t = builder.input("t", targets, dtype="int", batched=False)
    with pytest.raises(SpecError, match="node 'suspect'"):
        builder.add("suspect", layer, x, t)
