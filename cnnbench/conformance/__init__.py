"""Is it a backend: shared cases that every backend author can run against the float64 reference."""

from cnnbench.conformance.cases import LayerCase, layer_cases
from cnnbench.conformance.run import CaseResult, run_cases

__all__ = ["CaseResult", "LayerCase", "layer_cases", "run_cases"]
