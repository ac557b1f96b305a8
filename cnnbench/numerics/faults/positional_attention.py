"""Faults of attention gated by position."""

from __future__ import annotations

from cnnbench.numerics.faults.engine.base import Fault, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, surrounded
from cnnbench.spec.composites.positional_attention import GatedPositionalSelfAttention
from cnnbench.spec.layers.arithmetic import Affine

FAULTS = (
    Fault(
        "gated_positional_self_attention.gate_of_both",
        "scalar_affine",
        "the content weighted by the gate, and not by what the gate leaves",
        surrounded(GatedPositionalSelfAttention(num_heads=2, size=(2, 3)), SuspectNetwork((6, 8))),
        node="suspect.rest",
        operation=other_layer(lambda layer: Affine() if layer.shift else layer),
    ),
)
