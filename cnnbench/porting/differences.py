"""Differences between two aligned networks: fields, layers, wiring and weights, each with its effect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from cnnbench.porting.alignment import Alignment, NodePair, rewired
from cnnbench.porting.arrays_apart import apart, same
from cnnbench.porting.normal_form import PlainNetwork

Noises = Sequence[tuple[str, str]]
What = Literal["kind", "field", "missing", "extra", "inputs", "shape", "weight", "outputs", "activation", "reading"]
TRAINING = {"momentum", "running_variance", "p"}  # fields that change nothing at inference
_EFFECTS = {
    "padding": "the windows see other rows (TensorFlow's SAME puts an odd row at the end)",
    "stride": "the windows lie elsewhere",
    "dilation": "the windows' taps lie elsewhere",
    "kernel_size": "the windows have another size",
    "groups": "other channels meet",
    "eps": "small variances are normalised otherwise",
    "ceil_mode": "a last, partial window is kept or dropped",
    "count_include_pad": "means at the border count their padding or do not",
    "form": "the function has another form",
    "coordinates": "the pixels are sampled at other places",
    "nearest_rounding": "the nearest pixel is another one",
    "cubic_coefficient": "the cubic kernel is another one",
    "mode": "between pixels it interpolates otherwise",
    "antialias": "smaller images are smoothed or not",
    "axis": "it runs along another axis",
    "axes": "it runs along other axes",
    "start_axis": "it normalises over other axes",
    "negative_slope": "negative values are scaled otherwise",
    "momentum": "in training the running statistics move at another rate",
    "running_variance": "in training the running variance is kept with n or with n - 1",
    "p": "in training another share of the elements is dropped",
    "gate_order": "the rows of the weights belong to other gates",
    "reset": "the reset gate acts before or after the product",
    "bias": "a bias is added or not",
    "affine": "it has a trained scale and shift or not",
    "output_padding": "the output ends elsewhere",
    "scale": "the values are scaled otherwise",
    "shift": "the values are shifted otherwise",
}


@dataclass(frozen=True)
class PortDifference:
    """One thing that differs.

    Args:
        what: ``field``, ``weight``, ``kind``, ``missing``, ``extra``, ``inputs``, ``shape``, ``outputs``,
            ``activation`` or ``reading``.
        node: Of the reference; of the candidate for an extra layer.
        other: The candidate's node, "" where there is none.
        name: The field or the array, "" where the whole node differs.
        reference, candidate: What each side has, in words.
        effect: What it changes.
        training: Whether it changes training only.
        size: How far it alone puts the node's outputs apart, relative to the largest; None where that is not known.
    """

    what: What
    node: str
    other: str
    name: str
    reference: str
    candidate: str
    effect: str = ""
    training: bool = False
    size: float | None = None

    @property
    def text(self) -> str:
        """One line."""
        place = self.node if self.other in ("", self.node) else f"{self.node} ({self.other})"
        if self.what == "missing":
            return f"{place}: the candidate has no such layer ({self.reference})"
        if self.what == "extra":
            return f"{place}: the candidate alone has this layer ({self.candidate})"
        if self.what == "reading":
            return f"{place}: {self.candidate}"
        if self.what == "activation":
            return f"{place}: the activation {self.candidate}"
        if self.what == "weight":
            return f"{place}: {self.name} {self.candidate}"
        tail = f": {self.effect}" if self.effect else ""
        return f"{place}: {self.name or self.what} {self.reference} here, {self.candidate} in the candidate{tail}"


def differences(alignment: Alignment, reference: PlainNetwork, candidate: PlainNetwork) -> list[PortDifference]:
    """Every difference between two aligned networks, in the order of the reference.

    Args:
        alignment: Of the two.
        reference: In normal form.
        candidate: In normal form.
    """
    found: list[PortDifference] = []
    for pair in alignment.pairs:
        found += _of_layers(pair, reference, candidate)
        found += _of_weights(pair, reference, candidate)
    for node in alignment.missing:
        training = node.layer.kind == "dropout"
        shown = _layer(node.layer)
        found.append(PortDifference("missing", node.name, "", "", shown, "nothing", training=training))
    for node in alignment.extra:
        training = node.layer.kind == "dropout"
        found.append(PortDifference("extra", node.name, "", "", "nothing", _layer(node.layer), training=training))
    for pair, ours, theirs in rewired(alignment, reference.graph, candidate.graph):
        one, two = ", ".join(ours), ", ".join(theirs)
        found.append(PortDifference("inputs", pair.reference.name, pair.candidate.name, "inputs", one, two))
    return found


def other_noises(reference: Noises, candidate: Noises) -> Iterator[PortDifference]:
    """Differences of what acts in training only and no layer stands for, place by place; a lack at the first of them.

    Args:
        reference: Where, and what with its rate, in the order of the model.
        candidate: The same of the other.
    """
    for one, two in zip_longest(reference, candidate):
        if one is None and two is not None:
            yield PortDifference("extra", two[0], "", "", "nothing", two[1], training=True)
        elif two is None and one is not None:
            yield PortDifference("missing", one[0], "", "", one[1], "nothing", training=True)
        elif one is not None and two is not None and one[1] != two[1]:
            effect = "in training it acts otherwise"
            yield PortDifference("field", one[0], two[0], "noise", one[1], two[1], effect, training=True)


def _layer(layer: Any) -> str:
    shown = ", ".join(f"{name} {_shown(value)}" for name, value in list(layer.fields().items())[:6])
    return f"{layer.kind}: {shown}" if shown else str(layer.kind)


def _of_layers(pair: NodePair, reference: PlainNetwork, candidate: PlainNetwork) -> Iterator[PortDifference]:
    one, two = pair.reference.layer, pair.candidate.layer
    names = (pair.reference.name, pair.candidate.name)
    if one.kind != two.kind:
        yield PortDifference("kind", *names, "kind", _layer(one), _layer(two), "another function")
        return
    for item in fields(one):
        ours, theirs = getattr(one, item.name), getattr(two, item.name)
        if ours == theirs:
            continue
        idle = item.name in ("bias", "affine") and _computes_nothing(pair, item.name, reference, candidate)
        effect = "it does nothing yet, and training moves it" if idle else _EFFECTS.get(item.name, "")
        training = item.name in TRAINING or idle
        yield PortDifference("field", *names, item.name, _shown(ours), _shown(theirs), effect, training)
    ours_shape, theirs_shape = (
        reference.graph.output_shapes(pair.reference),
        candidate.graph.output_shapes(pair.candidate),
    )
    if ours_shape != theirs_shape:
        yield PortDifference("shape", *names, "shape", _shown(ours_shape[0][1:]), _shown(theirs_shape[0][1:]))


def _computes_nothing(pair: NodePair, field: str, reference: PlainNetwork, candidate: PlainNetwork) -> bool:
    """Whether the bias that one side alone has is 0, or its scale 1 and its shift 0."""
    sides = ((pair.reference, reference), (pair.candidate, candidate))
    node, network = next(side for side in sides if getattr(side[0].layer, field))
    bias, scale = (network.arrays.get(f"{node.owner}.{role}") for role in ("bias", "weight"))
    if field == "bias":
        return bias is not None and not bias.any()
    return scale is not None and bool((scale == 1).all()) and (bias is None or not bias.any())


def _of_weights(pair: NodePair, reference: PlainNetwork, candidate: PlainNetwork) -> Iterator[PortDifference]:
    node = pair.reference
    if node.layer.kind != pair.candidate.layer.kind:
        return
    shapes = reference.graph.input_shapes(node)
    flattened = reference.flattened.get(node.name, ())
    for spec in (*node.layer.weights(shapes), *node.layer.state(shapes)):
        one = reference.arrays.get(f"{node.owner}.{spec.name}")
        two = candidate.arrays.get(f"{pair.candidate.owner}.{spec.name}")
        if one is None or two is None or same(np.asarray(one), np.asarray(two)):
            continue
        text = apart(np.asarray(one), np.asarray(two), node.layer.kind, spec.name, flattened)
        yield PortDifference("weight", node.name, pair.candidate.name, spec.name, f"{one.shape}", text)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "x".join(_shown(item) if not isinstance(item, tuple) else f"({_shown(item)})" for item in value)
    return f"{value:.7g}" if isinstance(value, float) else str(value)
