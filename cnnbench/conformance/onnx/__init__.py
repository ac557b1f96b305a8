"""ONNX's own backend tests as a conformance suite: fixed lists of cases, each hashed, judged and counted."""

from cnnbench.conformance.onnx.lists import GROUPS, ListedCase, listed, skip_reason
from cnnbench.conformance.onnx.loader import DataSet, OnnxCase, load_cases
from cnnbench.conformance.onnx.report import ConformanceReport
from cnnbench.conformance.onnx.runner import OnnxResult, run_onnx_cases

__all__ = [
    "GROUPS",
    "ConformanceReport",
    "DataSet",
    "ListedCase",
    "OnnxCase",
    "OnnxResult",
    "listed",
    "load_cases",
    "run_onnx_cases",
    "skip_reason",
]
