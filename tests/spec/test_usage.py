"""A layer kind stays only while something uses it, or a plan says what it waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from cnnbench.claims.claim import claims
from cnnbench.registry import own_graphs
from cnnbench.spec.architectures import shipped
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.usage import PLANNED, Uses, kind_uses

CORE = {kind for kind, cls in layer_kinds().items() if cls.__module__.startswith("cnnbench.spec.")}


def unused_kinds(uses: Mapping[str, Uses]) -> set[str]:
    """The kinds that nothing uses, or only composites that nothing uses."""
    kept = {
        kind for kind, use in uses.items() if use.networks or use.operators or use.losses or use.claims or use.planned
    }
    while more := {kind for kind in uses.keys() - kept if not kept.isdisjoint(uses[kind].composites)}:
        kept |= more
    return set(uses) - kept


@pytest.fixture(scope="module")
def uses():
    experiments = {name: item.experiment for name, item in claims().items()}
    return {kind: found for kind, found in kind_uses(own_graphs(), experiments).items() if kind in CORE}


def test_no_kind_of_the_core_is_without_use(uses):
    assert unused_kinds(uses) == set()


def test_a_plan_is_named_only_for_a_kind_that_nothing_uses_yet(uses):
    for kind in PLANNED:
        assert kind in unused_kinds({**uses, kind: replace(uses[kind], planned=None)}), f"{kind}: take its plan out"


def test_a_plan_waits_for_nothing_that_is_there():
    names = {item.name for item in shipped()}
    there = {kind: plan for kind, plan in PLANNED.items() if plan.removeprefix("the network ").split(",")[0] in names}
    assert not there, "say what the kind is still there for, or take it out"
    assert not [plan for plan in PLANNED.values() if plan.startswith("the claim")], "write the claim with the kind"


def test_claims_are_those_whose_experiment_is_made_of_the_kind(uses):
    assert uses["depthwise_separable_conv"].claims == ("separable_cost",)
    assert uses["downsample"].claims == ("checkerboards",)
    assert uses["resize"].claims == ("equivariance", "checkerboards")  # the first in a function that it calls


def test_networks_are_those_with_a_node_of_the_kind(uses):
    assert uses["partial_conv"].networks == ("lenet5_1998",)
    counted = Counter(kind for graph in own_graphs().values() for kind in {node.layer.kind for node in graph.nodes})
    assert {kind: len(found.networks) for kind, found in uses.items() if found.networks} == dict(counted)


@pytest.mark.parametrize(
    ("kind", "operator"),
    [("gelu", "Gelu"), ("shrink", "Shrink"), ("reduce", "ReduceLogSum"), ("grid_sample", "GridSample")],
)
def test_operators_are_those_whose_importer_makes_the_kind(uses, kind, operator):
    assert operator in uses[kind].operators


def test_an_entry_of_a_table_counts_for_its_own_operator_only(uses):
    assert uses["celu"].operators == ("Celu",)
    assert uses["mish"].operators == ("Mish",)


def test_composites_are_those_whose_code_makes_the_kind_in_any_configuration(uses):
    """Not only in that of the example: a mask is made where attention is causal."""
    assert uses["causal_mask"].composites == ("scaled_dot_product_attention",)
    assert uses["yolo_loss"].losses == ("yolo",)
    assert uses["take_rows"].composites == (
        "class_detections",
        "head_box_loss",
        "mask_head_loss",
        "proposal_selection",
        "pyramid_proposals",
    )


def test_what_only_an_unused_composite_uses_is_unused():
    found = {"a": Uses(networks=("net",)), "b": Uses(composites=("a",)), "c": Uses(composites=("d",)), "d": Uses()}
    assert unused_kinds(found) == {"c", "d"}


def test_uses_in_words():
    many = Uses(networks=("x", "y", "z"), operators=("Conv",), composites=("a", "b"), losses=("l1",))
    assert str(many) == "3 networks; ONNX Conv; loss l1; in a, b"
    assert str(Uses(planned="the network unet")) == "planned: the network unet"
    assert str(Uses()) == "nothing"
