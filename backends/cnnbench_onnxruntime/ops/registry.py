"""The table of this backend's ops; each writes its layer into the ONNX model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.errors import UnavailableError
from cnnbench.execution.operations import Call, Operations, OpResult
from cnnbench.spec.interchange.to_onnx.model import exporters
from cnnbench.spec.interchange.to_onnx.writer import Exporter
from cnnbench.spec.kinds import layer_kinds
from cnnbench_onnxruntime.offered import INFERENCE_ONLY
from cnnbench_onnxruntime.values import OnnxValue
from cnnbench_onnxruntime.writing import write

OPERATIONS = Operations("onnxruntime")
Values = tuple[OnnxValue, ...]


def writes(*kinds: str) -> Callable[[Exporter], Exporter]:
    """A decorator that makes an exporter the op of some kinds."""

    def decorate(export: Exporter) -> Exporter:
        for kind in kinds:
            OPERATIONS.register(kind)(_op(export))
        return export

    return decorate


def _op(export: Exporter) -> Any:
    def op(layer: Any, inputs: Values, weights: Values, state: Values, call: Call) -> OpResult:
        if call.training:
            raise UnavailableError(INFERENCE_ONLY)
        return written(export, layer, inputs, weights, state)

    return op


def written(export: Exporter, layer: Any, inputs: Values, weights: Values, state: Values) -> OpResult:
    """What an exporter makes of a layer, added to the model that is being made.

    Args:
        export: The exporter.
        layer: Resolved.
        inputs: The operands.
        weights: Known arrays.
        state: Running statistics, known arrays too.
    """
    return OpResult(write(export, layer, inputs, (*weights, *state)))


for _kind, _export in exporters().items():
    writes(_kind)(_export)
    OPERATIONS.lacks(_kind, INFERENCE_ONLY, gradient_only=True)
for _kind, _class in layer_kinds().items():
    if _class.is_shipped and not _class.is_composite and _kind not in OPERATIONS:
        OPERATIONS.lacks(_kind, "cnnbench does not write this kind as ONNX")
