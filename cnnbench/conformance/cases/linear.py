"""Linear layers: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import ROW, LayerCase
from cnnbench.spec.layers import Linear, RadialBasis

CASES = {
    "linear/plain": LayerCase(Linear(out_features=7), ROW, batch=4),
    "linear/no_bias": LayerCase(Linear(out_features=7, bias=False), ((300,),)),
    "radial_basis/distance": LayerCase(RadialBasis(out_features=5), ROW),
    "radial_basis/trained_logit": LayerCase(RadialBasis(out_features=5, output="logit", trainable=True), ROW),
}
