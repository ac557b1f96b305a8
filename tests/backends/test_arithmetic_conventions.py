"""What frameworks disagree on in arithmetic and reductions is one convention here, on every backend."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest

from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.arithmetic import Clip, Elementwise, Parameter
from cnnbench.spec.layers.merge import Maximum, Minimum, PowerOf, Select
from cnnbench.spec.layers.reduction import ArgReduce, Reduce, TopK

MODES = {"numpy": "reference", "torch": "eager", "jax": "jit", "tensorflow": "graph"}
_LOADED: dict[str, Backend] = {}
NAN, INF = float("nan"), float("inf")


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == "numpy" else getattr(pytest.mark, name)) for name in MODES]
)
def backend(request: pytest.FixtureRequest) -> Backend:
    name = request.param
    if importlib.util.find_spec(backend_plugin(name).requires[0] if name != "numpy" else "numpy") is None:
        pytest.skip(f"{name} is not installed")
    if name not in _LOADED:
        _LOADED[name] = load_backend(name)
        _LOADED[name].configure(ProcessSettings(threads=2))
    return _LOADED[name]


def asked(backend, layer, *values):
    """(outputs, gradients of their sum) for operands of one row each."""
    arrays = [np.asarray([value], np.float32) for value in values]
    builder = Builder("convention")
    inputs = [builder.input(f"x{i}", array.shape[1:]) for i, array in enumerate(arrays)]
    graph = builder.build(builder.add_all("node", layer, *inputs))
    batch = {f"x{i}": array for i, array in enumerate(arrays)}
    subject, options = InProcessSubject(backend), ProgramOptions(MODES[backend.name], precision("float32"))
    outputs = subject.forward(graph, {}, batch, options).outputs
    found = [outputs[name][0].tolist() for name, _ in graph.outputs]
    if not layer.differentiable:
        return found, None
    graph = graph.with_float_outputs()
    ones = {f"gradient.{name}": np.ones(graph.shapes()[value], np.float32) for name, value in graph.outputs}
    gradients = subject.gradient(graph, {}, {**batch, **ones}, options).inputs
    return found, [gradients[item.name][0].tolist() for item in graph.inputs]


def test_equal_extremes_share_the_gradient_of_a_reduction(backend):
    assert asked(backend, Reduce(function="max", axes=(1,)), [1, 3, 3, 2]) == ([[3]], [[0, 0.5, 0.5, 0]])
    assert asked(backend, Reduce(function="min", axes=(1,)), [1, 1, 1, 1]) == ([[1]], [[0.25] * 4])


def test_two_equal_values_share_the_gradient_by_halves(backend):
    found, gradients = asked(backend, Maximum(), [1, 2, 3], [1, 3, 2])
    assert (found, gradients) == ([[1, 3, 3]], [[0.5, 0, 1], [0.5, 1, 0]])
    found, gradients = asked(backend, Minimum(), [1, 2, 3], [1, 3, 2])
    assert (found, gradients) == ([[1, 2, 2]], [[0.5, 1, 0], [0.5, 0, 1]])


def test_corners_have_the_gradient_that_is_written_down(backend):
    assert asked(backend, Elementwise(function="abs"), [-1, 0, 2]) == ([[1, 0, 2]], [[-1, 0, 1]])
    assert asked(backend, Clip(minimum=-1.0, maximum=1.0), [-2, -1, 0, 1, 2]) == (
        [[-1, -1, 0, 1, 1]],
        [[0, 1, 1, 1, 0]],
    )
    assert asked(backend, Clip(minimum=1.0, maximum=-1.0), [-2, 0, 2]) == ([[-1, -1, -1]], [[0, 0, 0]])
    assert asked(backend, Reduce(function="l2", axes=(1,)), [0, 0]) == ([[0]], [[0, 0]])
    assert asked(backend, Reduce(function="l1", axes=(1,)), [0, -3]) == ([[3]], [[0, -1]])
    assert asked(backend, Reduce(function="prod", axes=(1,)), [0, 2, 3]) == ([[0]], [[6, 0, 0]])


def test_powers_at_zero_and_below(backend):
    found, (of_base, of_exponent) = asked(backend, PowerOf(), [-2, 0, 0, 2], [2, 0, 2, 3])
    assert found == [[4, 1, 0, 8]]
    assert of_base == pytest.approx([-4, 0, 0, 12])
    assert of_exponent == pytest.approx([0, 0, 0, 8 * math.log(2)])


def test_steps_have_no_slope_and_halves_go_to_the_even_neighbour(backend):
    assert asked(backend, Elementwise(function="round"), [-1.5, -0.5, 0.5, 2.5]) == ([[-2, 0, 0, 2]], [[0, 0, 0, 0]])
    for name in ("sign", "floor", "ceil"):
        assert asked(backend, Elementwise(function=name), [-0.3, 0.7])[1] == [[0, 0]]


def test_what_is_not_selected_leaves_no_trace(backend):
    found, gradients = asked(backend, Select(), [1, 0, -2], [1, NAN, 3], [INF, 5, NAN])
    assert found == [[1, 5, 3]]
    assert gradients == [[0, 0, 0], [1, 0, 1], [0, 1, 0]]


def test_nan_wins_an_extreme_and_stays_within_limits(backend):
    for layer in (Reduce(function="max", axes=(1,)), Reduce(function="min", axes=(1,))):
        assert math.isnan(asked(backend, layer, [1, NAN, 3])[0][0][0])
    for layer in (Maximum(), Minimum()):
        assert all(map(math.isnan, asked(backend, layer, [1, NAN], [NAN, 2])[0][0]))
    assert math.isnan(asked(backend, Clip(minimum=0.0, maximum=1.0), [NAN])[0][0][0])
    assert asked(backend, ArgReduce(function="argmax"), [INF, 1, NAN])[0] == [[2]]
    assert asked(backend, ArgReduce(function="argmin"), [3, NAN, 1])[0] == [[1]]


def test_of_equal_values_the_first_comes_first_or_the_last_where_asked(backend):
    row = [1, 2, 2, 2, 1, 2]
    found, gradients = asked(backend, TopK(k=3), row)
    assert (found, gradients) == ([[2, 2, 2], [1, 2, 3]], [[0, 1, 1, 1, 0, 0]])
    assert asked(backend, TopK(k=3, largest=False), row)[0] == [[1, 1, 2], [0, 4, 1]]
    assert asked(backend, ArgReduce(function="argmax"), row)[0] == [[1]]
    assert asked(backend, ArgReduce(function="argmax", select_last_index=True), row)[0] == [[5]]


def test_log_sum_exp_is_infinite_only_where_it_is(backend):
    layer = Reduce(function="log_sum_exp", axes=(1,))
    assert asked(backend, layer, [1000, 1000])[0][0][0] == pytest.approx(1000 + math.log(2))
    assert asked(backend, layer, [-INF, -INF])[0] == [[-INF]]
    assert asked(backend, layer, [INF, 1])[0] == [[INF]]


@pytest.mark.parametrize(
    ("function", "neutral"), [("sum", 0), ("prod", 1), ("max", -INF), ("min", INF), ("l2", 0), ("log_sum_exp", -INF)]
)
def test_of_nothing_a_reduction_is_neutral(backend, function, neutral):
    assert asked(backend, Reduce(function=function, axes=(1,)), [])[0] == [[neutral]]


def test_a_network_may_have_no_inputs(backend):
    builder = Builder("constant")
    value = builder.add("value", Parameter(shape=(1, 3, 2, 2)))
    graph = builder.build(builder.add("twice", Reduce(function="sum", axes=(1,)), value))
    array = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    subject, options = InProcessSubject(backend), ProgramOptions(MODES[backend.name], precision("float32"))
    result = subject.forward(graph, {"value.value": array}, {}, options).outputs["output"]
    np.testing.assert_array_equal(result, array.sum(1, keepdims=True))
    cotangent = np.array([[[[1, 2], [3, 4]]]], np.float32)
    gradient = subject.gradient(graph, {"value.value": array}, {"gradient.output": cotangent}, options).weights
    np.testing.assert_array_equal(gradient["value.value"], np.broadcast_to(cotangent, array.shape))
