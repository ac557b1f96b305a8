"""Refuses a kind whose weights or parts depend on how many images there are: every backend would compute it alike."""

from __future__ import annotations

from typing import Any

from cnnbench.errors import CnnbenchError, SpecError
from cnnbench.spec.layers.base import Layer, Shapes


def refuse_batch(layer: Layer, inputs: Shapes) -> None:
    """Compares what a plugin's layer is made of for 2 and for 3 images.

    For example, ``Conv(out_channels=x.shape[0])`` in a composite means as many channels as there are images, and was
    meant to be ``x.channels``.

    Args:
        layer: Resolved. The core's own kinds are held by tests.
        inputs: Shapes of one image.

    Raises:
        SpecError: They differ.
    """
    if layer.is_shipped or all(shape[:1] != (1,) for shape in inputs):
        return
    try:
        two, three = (_made_of(layer, _with_batch(inputs, size)) for size in (2, 3))
    except CnnbenchError:  # parameters whose first axis is 1, too, need not take another
        return
    if two == three:
        return
    names = [name for name in (*two, *three) if two.get(name) != three.get(name)]
    raise SpecError(
        "its weights or parts depend on the number of images",
        received=f"{names[0]}: {two.get(names[0])} for 2 images, {three.get(names[0])} for 3",
        expected="the same for every batch",
        remedy="an input's shape is (batch, channels, height, width): read .channels, or shape[1], and not shape[0]",
    )


def _with_batch(inputs: Shapes, size: int) -> Shapes:
    return tuple((size, *shape[1:]) if shape[:1] == (1,) else shape for shape in inputs)


def _made_of(layer: Layer, inputs: Shapes) -> dict[str, Any]:
    """The shape of each weight and statistic, and the layer of each part."""
    specs = (*layer.weights(inputs), *layer.state(inputs))
    found: dict[str, Any] = {spec.name: spec.shape for spec in specs}
    parts = getattr(layer, "graph", None)  # of a composite
    return found | ({node.name: node.layer for node in parts(inputs).nodes} if layer.is_composite and parts else {})
