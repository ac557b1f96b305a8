"""Suppression, top-k and argmax inside networks: free where rounding decides, wrong at their node anywhere else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.choices import Choosing, nearest_choice
from cnnbench.numerics.faults import Fault, faulty_subject
from cnnbench.numerics.faults.engine.base import other_layer, other_operands, other_outputs
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.composites.proposals import ProposalSelection
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, Flatten, Linear, ReLU
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression
from cnnbench.spec.layers.max_positions import MaxPoolPositions
from cnnbench.spec.layers.reduction import ArgReduce, TopK
from cnnbench.spec.layers.roi_align import RoIAlign
from cnnbench.spec.layers.shape import Reshape, Transpose
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

FLOAT32 = precision("float32")
E = 1e-3  # what an operand may be off


def detector():
    """Proposals of two convolutions, the regions that they name, and a class for each."""
    b = Builder("tiny_detector")
    x = b.add(
        "relu", ReLU(), b.add("conv", Conv(out_channels=6, kernel_size=3, stride=4), b.input("image", (3, 24, 24)))
    )
    parts = []
    for name, depth, shape in (("objectness", 3, (108,)), ("deltas", 12, (108, 4))):
        part = b.add(name, Conv(out_channels=depth, kernel_size=1), x)
        part = b.add(f"{name}.last", Transpose(permutation=(0, 2, 3, 1)), part)
        parts.append(b.add(f"{name}.rows", Reshape(shape=shape), part))
    anchors = b.add("anchors", AnchorGrid(sizes=(8.0,), stride=4), x)
    propose = ProposalSelection(height=24, width=24, before=40, after=6, iou_threshold=0.4)
    boxes, scores, counts = b.add_all("rpn", propose, *parts, anchors)
    regions = b.add("regions", Reshape(shape=(-1, 4), whole=True), boxes)
    y = b.add(
        "flat", Flatten(), b.add("roi", RoIAlign(output_size=2, spatial_scale=0.25, sampling_ratio=2), x, regions)
    )
    logits = b.add("logits", Reshape(shape=(-1, 6, 3), whole=True), b.add("fc", Linear(out_features=3), y))
    return b.build({"boxes": boxes, "scores": scores, "counts": counts, "logits": logits})


def case_of(graph, seed=0, name="float32"):
    batch = {
        item.name: stream(seed, "inputs", item.name).normal(size=item.full_shape(2)).astype(np.float32)
        for item in graph.inputs
    }
    return Case(graph, general_position(graph, seed), batch, ProgramOptions("fast", precision(name)), seed=seed)


def further(layer, inputs, weights, state, call):
    """The corner x2, y2 counted as the last pixel within: one further."""
    return (inputs[0] + np.array([0, 0, 1, 1], inputs[0].dtype), inputs[1]), weights, state, call


def worst_first(layer, inputs, weights, state, call):
    return (inputs[0], -inputs[1]), weights, state, call


def across_classes(layer, inputs, outputs, call):
    """Boxes of one class suppress those of another, as where boxes are not set apart by their class."""
    indices, count = outputs[0].copy(), outputs[1].copy()
    for image in range(len(indices)):
        boxes, scores = inputs[0][image].reshape(-1, 4), inputs[1][image].reshape(-1)
        joint = layer.__class__(iou_threshold=layer.iou_threshold, max_outputs=len(scores))
        (stay,), (number,) = reference().forward(LayerCall(joint, (boxes[None], scores[None]))).outputs
        kept = set(stay[:number].tolist())
        for kind, row in enumerate(indices[image]):
            left = [i for i in row if i >= 0 and kind * inputs[1].shape[-1] + i in kept]
            indices[image, kind] = [*left, *[-1] * (len(row) - len(left))]
            count[image, kind] = len(left)
    return indices, count


FAULTS = {
    "wrong threshold": other_layer(lambda layer: replace(layer, iou_threshold=layer.iou_threshold + 0.02)),
    "off by one": other_operands(further),
    "ascending": other_operands(worst_first),
    "smaller boxes": other_layer(lambda layer: replace(layer, min_size=2 * layer.min_size)),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_suppression_with_another_rule_is_found_at_its_node(name, seed):
    fault = Fault(name, "non_max_suppression", name, None, operation=FAULTS[name])
    (local,) = run_checks(["local"], faulty_subject(loaded_backend("numpy"), fault), case_of(detector(), seed))
    assert (local.status, local.node) == ("failed", "rpn.suppression")


def test_a_suppression_that_ignores_classes_is_found_at_its_node():
    b = Builder("classes")
    boxes, scores = b.input("boxes", (3, 8, 4)), b.input("scores", (3, 8))
    graph = b.build(b.add_all("suppression", NonMaxSuppression(iou_threshold=0.5, max_outputs=6), boxes, scores))
    fault = Fault("classes", "non_max_suppression", "", None, operation=other_outputs(across_classes))
    for subject, status in (
        (InProcessSubject(loaded_backend("numpy")), "passed"),
        (faulty_subject(loaded_backend("numpy"), fault), "failed"),
    ):
        outcomes = run_checks(["local", "end_to_end"], subject, case_of(graph))
        assert [outcome.status for outcome in outcomes] == [status] * 2, [o.message for o in outcomes]
        assert status == "passed" or [outcome.node for outcome in outcomes] == ["suppression"] * 2


def test_a_wrong_choice_of_the_whole_program_is_named_though_every_node_alone_is_right():
    """Only in a program of several nodes are the scores sorted the other way."""

    class Ascending(InProcessSubject):
        def forward(self, graph, arrays, batch, options):
            if any(node.name == "rpn.suppression" for node in graph.nodes) and "image" in batch:
                nodes = tuple(
                    replace(n, layer=replace(n.layer, iou_threshold=0.0)) if n.name == "rpn.suppression" else n
                    for n in graph.nodes
                )
                graph = replace(graph, nodes=nodes)
            return super().forward(graph, arrays, batch, options)

    case = replace(case_of(detector()), whole=frozenset())
    case = replace(case, graph=case.lowered)
    local, whole = run_checks(["local", "end_to_end"], Ascending(loaded_backend("numpy")), case)
    assert local.status == "passed"
    assert (whole.status, whole.node) == ("failed", "rpn.suppression")
    assert "rounding cannot decide it" in whole.message


def test_right_detectors_pass():
    names = ["local", "end_to_end", "timed"]
    outcomes = run_checks(names, InProcessSubject(loaded_backend("numpy")), case_of(detector()))
    assert [outcome.status for outcome in outcomes] == ["passed"] * 3, [o.message for o in outcomes]


def test_choices_at_ties_are_counted_and_what_follows_is_compared_with_the_same_choices():
    """Of eight bits many scores are equal."""
    case = case_of(detector(), 1, "bfloat16")
    case = replace(case, options=replace(case.options, mode="eager"))
    outcomes = run_checks(["end_to_end", "timed"], InProcessSubject(loaded_backend("torch")), case)
    assert [outcome.status for outcome in outcomes] == ["passed"] * 2, [o.message for o in outcomes]
    assert outcomes[0].details["choices_at_ties"] > 0


def nearest(layer, inputs, got, slack=0.0):
    """(how many of the given positions are admitted as ties, the right ones)."""
    inputs = tuple(np.asarray(x, float) for x in inputs)
    layer = layer.resolve(tuple(x.shape for x in inputs))
    outputs = reference().forward(LayerCall(layer, inputs)).outputs
    exact = {i: value for i, value in enumerate(outputs) if value.dtype.kind in "iu"}
    given = dict(zip(exact, (np.asarray(g, np.int64) for g in got), strict=True))
    chosen = nearest_choice(Choosing(layer, inputs, (slack,) * len(inputs), FLOAT32), exact, given)
    return SimpleNamespace(ties=chosen.ties, kept=all(np.array_equal(chosen.positions[i], given[i]) for i in given))


def test_top_k_is_free_within_twice_the_slack_alone():
    x = [[3.0, 1.0, 1.0 + E, 0.0]]
    assert nearest(TopK(k=2), [x], [[[0, 1]]], E).ties == 1
    assert not nearest(TopK(k=2), [x], [[[0, 1]]]).kept  # alone on given values nothing is open
    for wrong in ([0, 3], [1, 0], [0, 0], [0, 4], [-1, 0]):
        assert not nearest(TopK(k=2), [x], [[wrong]], E).kept


def test_argmax_is_free_within_twice_the_slack_alone():
    x = [[3.0, 3.0 + E, 1.0]]
    layer = ArgReduce(function="argmax", axis=1)
    assert nearest(layer, [x], [[[0]]], E).ties == 1
    assert not any(nearest(layer, [x], [[[wrong]]], E).kept for wrong in (2, 3, -1))


def test_positions_of_maxima_are_free_within_their_window():
    x = np.array([3.0, 3.0 + E, 0.0, 3.0]).reshape(1, 1, 4)
    layer = MaxPoolPositions(kernel_size=2)
    assert nearest(layer, [x], [[[[0, 3]]]], E).ties == 1
    assert not any(nearest(layer, [x], [[[[wrong, 3]]]], E).kept for wrong in (2, 3, -1))


BOXES = [[[0, 0, 10, 10], [0, 0, 10, 6], [50, 0, 60, 10], [50, 0, 60, 5]]]  # overlaps 0.6 and 0.5
SCORES = [[0.9, 0.8, 0.7, 0.6]]


@pytest.mark.parametrize(
    ("threshold", "stay", "slack", "right"),
    [
        (0.55, [0, 2, 3, -1], 0.0, True),
        (0.55, [0, 2, 3, -1], E, True),
        (0.55, [0, 1, 2, 3], E, False),
        (0.55, [0, 2, -1, -1], E, False),
        (0.6001, [0, 2, 3, -1], E, True),  # 0.6 is within the slack of the threshold
        (0.6001, [0, 2, 3, -1], 0.0, False),
        (0.55, [2, 0, 3, -1], E, False),
        (0.55, [2, 0, 3, -1], 0.15, True),
        (0.5, [0, 2, 3, -1], 0.0, True),  # an overlap equal to the threshold does not suppress
        (0.5, [0, 2, -1, -1], 0.0, False),
        (0.55, [0, 2, 3, 3], E, False),
        (0.55, [0, 2, 9, -1], E, False),
    ],
)
def test_the_answers_of_suppression_within_rounding(threshold, stay, slack, right):
    layer = NonMaxSuppression(iou_threshold=threshold, max_outputs=4)
    count = sum(i >= 0 for i in stay)
    assert nearest(layer, [BOXES, SCORES], [[stay], [count]], slack).kept is right


def test_a_full_list_may_end_with_either_of_two_equal_scores():
    layer = NonMaxSuppression(iou_threshold=0.5, max_outputs=2)
    boxes = [[[0, 0, 1, 1], [10, 0, 11, 1], [20, 0, 21, 1]]]
    scores = [[0.9, 0.5, 0.5 + E]]
    assert nearest(layer, [boxes, scores], [[[0, 1]], [2]], E).kept
    assert not nearest(layer, [boxes, scores], [[[0, 1]], [2]]).kept
    assert not nearest(layer, [boxes, scores], [[[1, 2]], [2]], E).kept
