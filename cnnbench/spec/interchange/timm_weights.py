"""What must be changed in timm's weights beside their names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnnbench.spec.graph import Graph

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array

STANDARDIZATION_EPS = 1e-5  # of the networks that timm calls dm_nfnet


def with_own_standardization(graph: Graph, arrays: dict[str, Array]) -> list[str]:
    """Changes the gains of convolutions with standardised weights so that they divide as timm's do; says so.

    timm divides by sqrt(K (v + 1e-5)), the authors by sqrt(max(K v, 1e-4)); the quotient belongs to each output channel
    as its gain does.
    """
    changed = 0
    for node in graph.nodes:
        layer: Any = node.layer
        weight = arrays.get(f"{node.name}.weight")
        if (
            layer.kind != "scaled_ws_conv"
            or layer.form != "scaled"
            or weight is None
            or f"{node.name}.gain" not in arrays
        ):
            continue
        flat = weight.reshape(len(weight), -1).astype("float64")
        count, variance = flat.shape[1], flat.var(axis=1)
        ours = (count * variance).clip(layer.eps) ** 0.5
        theirs = math.sqrt(count) * (variance + STANDARDIZATION_EPS) ** 0.5
        gain = arrays[f"{node.name}.gain"]
        arrays[f"{node.name}.gain"] = (gain.astype("float64") * ours / theirs).astype(gain.dtype)
        changed += 1
    return [f"the gains of {changed} convolutions hold timm's epsilon of 1e-5"] if changed else []
