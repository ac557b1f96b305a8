"""Drawings of networks: what is folded, what is drawn, and that no name escapes into the markup."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from cnnbench.output.folding import fold
from cnnbench.output.network_drawing import draw
from cnnbench.registry import architectures, build
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, ReLU
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
