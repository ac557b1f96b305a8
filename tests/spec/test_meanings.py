"""Outputs beyond classification are named by what they mean."""

import pytest

from cnnbench.spec.architectures import Architecture, shipped
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Conv, ReLU
from cnnbench.spec.meanings import MEANINGS, meaning_of

BEYOND = [item for item in shipped() if item.task != "classification"]


def unlike_their_meaning(graph: Graph) -> list[str]:
    """What a network's outputs have not of what their names say: axes, and the outputs that they go with."""
    shapes, names = graph.shapes(), {name for name, _ in graph.outputs}
    found = []
    for name, value in graph.outputs:
        meaning = meaning_of(name)
        if meaning is None:
            found.append(f"output {name} has no declared meaning; known: {', '.join(MEANINGS)}")
            continue
        if len(shapes[value]) not in meaning.ranks:
            found.append(f"output {name} has shape {shapes[value]}, expected {' or '.join(meaning.shapes)}")
        if name in MEANINGS:
            found += [f"output {name} goes with {other}" for other in meaning.goes_with if other not in names]
    return found


@pytest.mark.parametrize("item", BEYOND, ids=lambda item: item.name)
def test_every_network_beyond_classification_gives_outputs_of_declared_meaning(item: Architecture) -> None:
    assert not unlike_their_meaning(item.build(item.facts.input, item.num_classes))


def test_a_stage_and_an_auxiliary_output_mean_what_their_main_output_means() -> None:
    assert meaning_of("fields3") is meaning_of("fields") is not None
    assert meaning_of("aux1_logits") is meaning_of("aux2") is meaning_of("logits") is not None
    assert meaning_of("y") is None


def of_outputs(*names: str) -> Graph:
    b = Builder("tiny")
    x = b.input("image", (1, 4, 4))
    return b.build({name: b.add(f"node{i}", ReLU(), x) for i, name in enumerate(names)})


def test_what_does_not_fit_a_name_is_said() -> None:
    assert unlike_their_meaning(of_outputs("image")) == []
    assert unlike_their_meaning(of_outputs("answer"))[0].startswith("output answer has no declared meaning; known: log")
    (text,) = unlike_their_meaning(of_outputs("fields"))
    assert text == "output fields goes with heatmaps"
    (text,) = unlike_their_meaning(of_outputs("counts"))
    assert text == "output counts has shape (1, 1, 4, 4), expected (N,)"


def test_a_convolution_of_logits_may_be_of_pixels() -> None:
    b = Builder("tiny")
    x = b.add("head", Conv(out_channels=2, kernel_size=1), b.input("image", (1, 4, 4)))
    assert not unlike_their_meaning(b.build({"logits": x}))
