"""Drawings of networks: what is folded, what is drawn, and that no name escapes into the markup."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from cnnbench.output.folding import fold
from cnnbench.output.layer_settings import settings
from cnnbench.output.network_drawing import draw
from cnnbench.registry import architectures, build
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, BatchNorm, Conv, MaxPool, ReLU
from cnnbench.spec.summary import summarize

SVG = "{http://www.w3.org/2000/svg}"


def test_equal_blocks_in_a_row_are_one_box():
    boxes = {box.name: box for box in fold(build("resnet50"))}
    assert boxes["layer3.1 … layer3.5"].count == 5
    assert boxes["layer3.1 … layer3.5"].inputs == ("layer3.0",)
    assert dict(boxes["layer1.0"].kinds) == {"conv": 4, "batch_norm": 4, "relu": 3, "add": 1}
    assert boxes["fc"].inputs == ("avgpool",)


@pytest.mark.parametrize("name", sorted(architectures()))
def test_boxes_hold_all_parameters_and_read_only_what_was_before(name):
    graph = build(name)
    boxes = fold(graph)
    assert sum(box.parameters for box in boxes) == summarize(graph).parameters
    seen: set[str] = set()
    for box in boxes:
        assert set(box.inputs) <= seen
        seen.add(box.name)


def test_a_scope_that_feeds_itself_through_another_is_drawn_node_by_node():
    b = Builder("tangled")
    x = b.input("x", (3,))
    first = b.add("a.one", ReLU(), x)
    between = b.add("middle", ReLU(), first)
    graph = b.build(b.add("a.two", Add(), first, between))
    assert [box.name for box in fold(graph)] == ["x", "a.one", "middle", "a.two"]


def test_the_drawing_is_svg_with_every_box_inside_it():
    root = ElementTree.fromstring(draw(build("inception_v3")))
    width, height = float(root.get("width")), float(root.get("height"))
    rectangles = [item for item in root.iter(f"{SVG}rect") if item.get("x")]
    assert len(rectangles) == len(fold(build("inception_v3")))
    for item in rectangles:
        assert float(item.get("x")) >= 0
        assert float(item.get("x")) + float(item.get("width")) <= width
        assert float(item.get("y")) + float(item.get("height")) <= height
    words = " ".join(item.text for item in root.iter(f"{SVG}text"))
    assert "Mixed_6c … Mixed_6d (x 2)" in words
    assert "27,161,264 parameters" in words


def test_names_are_escaped():
    b = Builder("<script>alert(1)</script>")
    root = ElementTree.fromstring(draw(b.build(b.add("relu", ReLU(), b.input("x", (3,))))))
    assert not list(root.iter(f"{SVG}script"))


def segments(path: str) -> list[tuple[float, float, float, float]]:
    """The straight pieces of a path."""
    points = [tuple(map(float, part.split(","))) for part in re.findall(r"[ML]([-\d.]+,[-\d.]+)", path)]
    return [(*a, *b) for a, b in itertools.pairwise(points)]


def crosses(segment: tuple[float, float, float, float], box: tuple[float, float, float, float]) -> bool:
    """Whether a piece enters the inside of a box (x, y, width, height)."""
    x1, y1, x2, y2 = segment
    x, y, width, height = box
    at = [i / 200 for i in range(201)]
    return any(x + 1 < x1 + t * (x2 - x1) < x + width - 1 and y + 1 < y1 + t * (y2 - y1) < y + height - 1 for t in at)


@pytest.mark.parametrize("name", ["googlenet", "densenet121", "resnet18", "hrnet_w32", "inception_v3"])
def test_no_edge_runs_behind_a_box_and_each_has_an_arrowhead(name):
    graph = build(name)
    root = ElementTree.fromstring(draw(graph))
    boxes = [
        tuple(float(item.get(key)) for key in ("x", "y", "width", "height"))
        for item in root.iter(f"{SVG}rect")
        if item.get("x")
    ]
    edges = [item for item in root.iter(f"{SVG}path") if item.get("marker-end") == "url(#arrow)"]
    assert len(edges) == sum(len(box.inputs) for box in fold(graph))
    assert [item.get("id") for item in root.iter(f"{SVG}marker")] == ["arrow"]
    width = float(root.get("width"))
    for edge in edges:
        for segment in segments(edge.get("d")):
            assert max(segment[0], segment[2]) <= width
            assert not any(crosses(segment, box) for box in boxes), (name, segment)


def test_a_box_says_what_slides_in_it():
    b = Builder("net")
    x = b.input("x", (8, 9, 9))
    x = b.add("conv", Conv(out_channels=8, kernel_size=(3, 5), stride=2, padding=((1, 0), (2, 2)), groups=4), x)
    graph = b.build(b.add("pool", MaxPool(kernel_size=2, stride=1), x))
    words = [item.text for item in ElementTree.fromstring(draw(graph)).iter(f"{SVG}text")]
    assert "conv 3x5, stride 2, padding (1:0, 2), groups 4" in words
    assert "max_pool 2x2, stride 1, padding 0" in words


@pytest.mark.parametrize(
    ("layer", "inputs", "said"),
    [
        (Conv(out_channels=4, kernel_size=3, bias=False), (4, 9, 9), "3x3, stride 1, padding 0, groups 1, no bias"),
        (Conv(out_channels=4, kernel_size=3, dilation=2), (4, 9), "3, stride 1, padding 0, dilation 2, groups 1"),
        (BatchNorm(eps=1e-3), (4, 9, 9), "eps 0.001, momentum 0.1, running_variance unbiased, affine"),
        (ReLU(), (4,), ""),
    ],
)
def test_settings_of_a_layer_in_few_words(layer, inputs, said):
    b = Builder("net")
    graph = b.build(b.add("node", layer, b.input("x", inputs)))
    assert settings(summarize(graph).nodes[0].fields) == said
