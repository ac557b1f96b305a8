"""Regularisation: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, ROW, LayerCase
from cnnbench.spec.layers import Dropout
from cnnbench.spec.layers.regularization import StochasticDepth

CASES = {
    "dropout/plain": LayerCase(Dropout(p=0.3), EVEN),
    "dropout/row": LayerCase(Dropout(p=0.7), ROW),
    "dropout/none": LayerCase(Dropout(p=0.0), EVEN),
    "stochastic_depth/row": LayerCase(StochasticDepth(p=0.4), EVEN, batch=5),
    "stochastic_depth/batch": LayerCase(StochasticDepth(p=0.4, mode="batch"), EVEN, batch=3),
    "stochastic_depth/tokens": LayerCase(StochasticDepth(p=0.5), ((5, 6),), batch=4),
    "stochastic_depth/table": LayerCase(StochasticDepth(p=0.2), ROW, batch=6),
    "stochastic_depth/none": LayerCase(StochasticDepth(p=0.0), EVEN),
}
