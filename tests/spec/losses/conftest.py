"""Computes a loss of given outputs on the reference in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnbench.numerics.reference import reference, reference_options
from cnnbench.spec.graph import Builder
from cnnbench.spec.losses import Objective, objective_graph


@pytest.fixture
def of_outputs():
    """(loss, outputs by name, targets by name) -> its value, its terms and the outputs' gradients."""

    def compute(loss: Any, outputs: dict[str, Any], targets: dict[str, Any] | None = None) -> tuple[float, Any, Any]:
        builder = Builder("outputs")
        handed = {name: builder.input(f"given_{name}", array.shape[1:]) for name, array in outputs.items()}
        graph = objective_graph(builder.build(handed), loss)
        batch = {f"given_{name}": array for name, array in outputs.items()} | (targets or {})
        subject, options = reference().subject, reference_options(training=True)
        found = subject.gradient(graph, {}, batch, options, Objective())
        terms = subject.forward(graph, {}, batch, options).outputs
        gradients = {name: np.asarray(found.inputs[f"given_{name}"]) for name in outputs}
        assert terms["loss"] == pytest.approx(found.loss, rel=1e-12)
        return found.loss, terms, gradients

    return compute


@pytest.fixture
def equals_pytorch(of_outputs):
    """(loss, outputs, targets, function of tensors) -> holds value and gradients against the function's."""
    torch = pytest.importorskip("torch", reason="needs torch")

    def compare(loss: Any, outputs: dict[str, Any], targets: dict[str, Any], expected: Any) -> None:
        leaves = {name: torch.tensor(array, requires_grad=True) for name, array in outputs.items()}
        wanted = expected(leaves, {name: torch.tensor(array) for name, array in targets.items()})
        wanted.backward()
        value, _, gradients = of_outputs(loss, outputs, targets)
        assert value == pytest.approx(wanted.item(), rel=1e-12)
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                np.testing.assert_allclose(gradients[name], leaf.grad.numpy(), rtol=1e-10, atol=1e-15)

    return compare
