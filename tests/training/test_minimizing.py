"""L-BFGS against PyTorch's and SciPy's, on a function with a known minimum, and on a network of every backend."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from loaded_backends import loaded_backend

from cnnbench.conformance.programs import drawn_batch, small_network
from cnnbench.errors import SpecError
from cnnbench.execution.backends import backend_plugin
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.weights import initialize
from cnnbench.training import minimizing
from cnnbench.training.minimizing import LBFGS, BatchLoss, minimize

NEVER = {"gradient_tolerance": 0.0, "change_tolerance": 0.0}


def valley(point: Any) -> tuple[float, Any]:
    """Rosenbrock's, of four variables; its minimum is at ones."""
    point = np.clip(point, -1e9, 1e9)
    x, y = point[:-1], point[1:]
    slope = np.zeros_like(point)
    slope[:-1] = -400 * x * (y - x**2) - 2 * (1 - x)
    slope[1:] += 200 * (y - x**2)
    return float((100 * (y - x**2) ** 2 + (1 - x) ** 2).sum()), slope


START = np.array([-1.2, 1.0, 0.5, 2.0])


def by_torch(evaluate: Callable[[Any], tuple[float, Any]], start: Any, steps: int, **fields: Any) -> Any:
    torch = pytest.importorskip("torch")
    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    never = {"tolerance_grad": 0.0, "tolerance_change": 0.0, "max_eval": 10**6}
    optimizer = torch.optim.LBFGS([point], max_iter=steps, **never, **fields)

    def closure() -> Any:
        value, gradient = evaluate(point.detach().numpy())
        point.grad = torch.tensor(gradient)
        return torch.tensor(value)

    optimizer.step(closure)
    return point.detach().numpy()


@pytest.mark.parametrize("steps", [1, 2, 12])
@pytest.mark.parametrize(("rate", "history"), [(1.0, 3), (0.05, 10)])
def test_fixed_steps_are_those_of_pytorch(rate, history, steps):
    expected = by_torch(valley, START, steps, lr=rate, history_size=history)
    found = minimize(valley, START, LBFGS(rate=rate, history=history, **NEVER), steps)
    np.testing.assert_allclose(found.point, expected, rtol=1e-8)
    assert found.evaluations == steps + 1


def without_scale(gradient: Any, pairs: Any) -> Any:
    """The recursion begun from I."""
    change, moved = pairs[-1] if pairs else (np.ones(1), np.ones(1))
    return right(gradient, pairs) if not pairs else right(gradient * (moved @ moved) / (moved @ change), pairs)


def in_other_order(gradient: Any, pairs: Any) -> Any:
    return right(gradient, deque(reversed(pairs)))


def without_first_pair(gradient: Any, pairs: Any) -> Any:
    return right(gradient, deque(list(pairs)[1:]))


def steepest(gradient: Any, pairs: Any) -> Any:
    return gradient


right = minimizing._times_inverse_hessian


@pytest.mark.parametrize(
    "wrong", [without_scale, in_other_order, without_first_pair, steepest], ids=lambda f: f.__name__
)
def test_a_wrong_recursion_is_seen(wrong, monkeypatch):
    expected = by_torch(valley, START, 8, lr=0.05, history_size=10)
    monkeypatch.setattr(minimizing, "_times_inverse_hessian", wrong)
    found = minimize(valley, START, LBFGS(rate=0.05, **NEVER), 8)
    assert np.abs(found.point - expected).max() > 1e-4


def test_the_line_search_reaches_the_minimum_as_scipy_does():
    from scipy.optimize import minimize as by_scipy

    start = np.array([1.5, 0.5, 2.0, 1.0])  # from START it leads to the other minimum, near (-0.78, 0.61, 0.38, 0.15)
    found = minimize(valley, start, LBFGS(line_search="strong_wolfe"), 200)
    np.testing.assert_allclose(found.point, np.ones(4), atol=1e-5)
    assert list(found.values) == sorted(found.values, reverse=True)
    scipy = by_scipy(valley, start, jac=True, method="L-BFGS-B")
    np.testing.assert_allclose(found.point, scipy.x, atol=1e-4)
    assert found.evaluations < 3 * scipy.nfev
    assert found.reason != "all iterations are taken"


@pytest.mark.parametrize(
    "backend", ["numpy", "torch", *(pytest.param(name, marks=pytest.mark.slow) for name in ("jax", "tensorflow"))]
)
def test_every_backend_goes_the_same_way(backend):
    """Twenty steps on a network with batch norm in float64, by the backend's gradients and by the reference's."""
    graph, batch = small_network(), drawn_batch()

    def ended(name: str, mode: str) -> Any:
        options = ProgramOptions(mode, precision("float64"))
        arrays = initialize(graph, 0)
        loss = BatchLoss(loaded_backend(name), graph, CrossEntropy(), options, batch, arrays)
        return minimize(loss, loss.start, LBFGS(rate=0.5, **NEVER), 20)

    found, truth = ended(backend, backend_plugin(backend).modes[0]), ended("numpy", "reference")
    assert truth.values[-1] < 0.1 * truth.values[0]
    np.testing.assert_allclose(found.values, truth.values, rtol=1e-7)
    np.testing.assert_allclose(found.point, truth.point, rtol=1e-6, atol=1e-8)


def test_it_ends_where_nothing_is_to_be_done():
    at_minimum = minimize(valley, np.ones(4), LBFGS(), 5)
    assert at_minimum.evaluations == 1
    assert at_minimum.reason == "the gradient is within its tolerance"
    with pytest.raises(SpecError, match="not finite"):
        minimize(lambda x: (float("nan"), x), np.ones(4), LBFGS(), 5)
    for fields in ({"rate": 0.0}, {"history": 0}, {"line_search": "armijo"}):
        with pytest.raises(SpecError, match=next(iter(fields))):
            LBFGS(**fields)
