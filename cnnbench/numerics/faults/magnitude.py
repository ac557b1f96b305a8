"""Faults of normalisation by magnitude: scales, windows, means that were not to be subtracted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cnnbench.execution.operations import Call, Operation, Operations, OpResult
from cnnbench.numerics.faults.engine.base import Arrays, Fault, dropped, other_kind, other_layer
from cnnbench.numerics.faults.engine.configurations import SuspectNetwork, on_data, surrounded
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LocalResponseNorm, LpNorm, RMSNorm
from cnnbench.spec.layers.merge import Divide
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.standardization import InstanceNorm, LayerNorm

_DEEP = SuspectNetwork((8, 4, 3))


def _epsilon_added(right: Operation, table: Operations) -> Operation:
    """x / (||x|| + eps)."""

    def forward(layer: Any, inputs: Arrays, weights: Arrays, state: Arrays, call: Call) -> OpResult:
        norm = Reduce(function="l2", axes=(layer.axis,))
        length = table["reduce"].forward(norm, inputs, (), (), call).outputs[0] + layer.eps
        return OpResult(table["divide"].forward(Divide(), (inputs[0], length), (), (), call).outputs)

    return Operation(forward, right.backward, right.weight_layout)


FAULTS = (
    *dropped(RMSNorm(), surrounded(RMSNorm(), SuspectNetwork((5, 12))), {"weight": "scale"}),
    *dropped(FilterResponseNorm(), surrounded(FilterResponseNorm(), _DEEP), {"weight": "scale", "bias": "shift"}),
    Fault(
        "lp_normalization.epsilon_added",
        "lp_normalization",
        "epsilon added to the norm where it was to be the least divisor: tiny vectors come out half as long",
        surrounded(LpNorm(), _DEEP),
        operation=_epsilon_added,
    ),
    Fault(
        "local_response_norm.alpha_not_divided",
        "local_response_norm",
        "alpha taken as it is (TensorFlow) where it was to be divided by the window's size (Caffe, PyTorch)",
        on_data(LocalResponseNorm(), _DEEP, mean=0.0, deviation=20.0),
        operation=other_layer(lambda layer: replace(layer, alpha_divided_by_size=False)),
    ),
    Fault(
        "local_response_norm.even_window",
        "local_response_norm",
        "the extra channel of an even window after its own (ONNX) where it was to be before (PyTorch)",
        surrounded(LocalResponseNorm(size=4, alpha=0.1), _DEEP),
        operation=other_layer(lambda layer: replace(layer, even_window="after")),
    ),
    Fault(
        "local_response_norm.wrong_k",
        "local_response_norm",
        "k left at its default of 1 where AlexNet has 2",
        surrounded(LocalResponseNorm(k=2.0), _DEEP),
        operation=other_layer(lambda layer: replace(layer, k=1.0)),
    ),
    Fault(
        "rms_norm.subtracts_mean",
        "rms_norm",
        "layer normalisation: the mean subtracted first",
        surrounded(RMSNorm(), SuspectNetwork((5, 12))),
        operation=other_kind(lambda layer: LayerNorm(start_axis=layer.start_axis, eps=layer.eps, bias=False)),
    ),
    Fault(
        "filter_response_norm.subtracts_mean",
        "filter_response_norm",
        "instance normalisation: the mean subtracted first",
        surrounded(FilterResponseNorm(), _DEEP),
        operation=other_kind(lambda layer: InstanceNorm(eps=layer.eps, affine=True)),
    ),
    Fault(
        "lp_normalization.wrong_power",
        "lp_normalization",
        "the sum of magnitudes where the Euclidean norm was asked for",
        surrounded(LpNorm(), _DEEP),
        operation=other_layer(lambda layer: replace(layer, p=1)),
    ),
)
