"""Regularisation: cases shared by all backends."""

from __future__ import annotations

from cnnbench.conformance.cases.case import EVEN, LayerCase
from cnnbench.spec.layers import Dropout

CASES = {
    "dropout/plain": LayerCase(Dropout(p=0.3), EVEN),
}
