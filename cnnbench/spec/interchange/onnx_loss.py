"""Importers of losses."""

from __future__ import annotations

from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.layers import LogSoftmax
from cnnbench.spec.layers.loss import NLLLoss


@importer("NegativeLogLikelihoodLoss")
def nll_loss(node: OnnxNode) -> Value:
    """NegativeLogLikelihoodLoss."""
    return _nll(node, node.value(0))


@importer("SoftmaxCrossEntropyLoss")
def cross_entropy(node: OnnxNode) -> list[Result]:
    """SoftmaxCrossEntropyLoss, with the log-probabilities as a second output."""
    log_p = node.add(LogSoftmax(axis=1), node.value(0), part="log_p")
    return [_nll(node, log_p), log_p]


def _nll(node: OnnxNode, log_p: Value) -> Value:
    fields: dict[str, Any] = {
        "reduction": node.attribute("reduction", "mean"),
        "ignore_index": node.attribute("ignore_index"),
    }
    return node.add(NLLLoss(**fields), log_p, *(node.value(i) for i in (1, 2) if node.has(i)))
