"""LSTM and GRU: shapes, weights and counts by hand, bad input, and the reference against PyTorch's modules."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.recurrent import BidirectionalLSTM
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Layer
from cnnbench.spec.layers.gates import gate_rows
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN

STEPS, FEATURES, HIDDEN, BATCH = 5, 3, 4, 2


def added(layer: Layer, *images: tuple[int, ...]):
    builder = Builder("net")
    values = [builder.input(f"x{i}", image) for i, image in enumerate(images)]
    return builder.add_all("rnn", layer, *values)


def resolved(layer: Layer, *shapes: tuple[int, ...]) -> Layer:
    return layer.resolve(tuple((1, *shape) for shape in shapes))


def test_outputs_of_an_lstm_are_the_sequence_and_both_last_states():
    assert [v.shape for v in added(LSTM(hidden_size=HIDDEN), (STEPS, FEATURES))] == [(1, 5, 4), (1, 4), (1, 4)]


def test_outputs_of_a_gru_are_the_sequence_and_the_last_state():
    assert [v.shape for v in added(GRU(hidden_size=HIDDEN), (STEPS, FEATURES))] == [(1, 5, 4), (1, 4)]


def test_a_bidirectional_lstm_has_both_directions_side_by_side():
    assert [v.shape for v in added(BidirectionalLSTM(hidden_size=HIDDEN), (STEPS, FEATURES))] == [
        (1, 5, 8),
        (1, 8),
        (1, 8),
    ]


@pytest.mark.parametrize(
    ("layer", "parameters"),
    [
        (LSTM(hidden_size=4), 4 * 4 * (3 + 4) + 2 * 16),
        (LSTM(hidden_size=4, biases="one"), 4 * 4 * (3 + 4) + 16),
        (LSTM(hidden_size=4, biases="none"), 4 * 4 * (3 + 4)),
        (GRU(hidden_size=4), 3 * 4 * (3 + 4) + 2 * 12),
    ],
)
def test_weights_have_the_sizes_of_the_paper(layer, parameters):
    specs = layer.weights(((1, STEPS, FEATURES),))
    assert sum(int(np.prod(spec.shape)) for spec in specs) == parameters


def test_macs_count_the_products_of_every_step():
    inputs = ((BATCH, STEPS, FEATURES),)
    for layer, gates in ((LSTM(hidden_size=HIDDEN), 4), (GRU(hidden_size=HIDDEN), 3)):
        outputs = layer.output_shapes(inputs)
        assert layer.macs(inputs, outputs) == BATCH * STEPS * gates * HIDDEN * (FEATURES + HIDDEN)


def test_rows_of_gates_are_moved_and_moved_back():
    there, back = gate_rows("iofg", "ifgo", 3), gate_rows("ifgo", "iofg", 3)
    assert [there[i] for i in back] == list(range(12))


@pytest.mark.parametrize(
    ("layer", "shapes", "received"),
    [
        (LSTM(hidden_size=0), [(5, 3)], "0"),
        (LSTM(hidden_size=4, gate_order="gifo"), [(5, 3)], "gifo"),
        (LSTM(hidden_size=4), [(3,)], "(1, 3)"),
        (LSTM(hidden_size=4), [(0, 3)], "(1, 0, 3)"),
        (LSTM(hidden_size=4), [(5, 3), (4,)], "2"),
        (LSTM(hidden_size=4), [(5, 3), (4,), (3,)], "(1, 3)"),
        (GRU(hidden_size=4), [(5, 3), (3,)], "(1, 3)"),
        (GRU(hidden_size=4, biases="one"), [(5, 3)], "biases='one' with reset='after'"),
        (RNN(hidden_size=4), [(5, 3), (4,), (4,)], "3"),
        (RNN(hidden_size=4, activations=("gelu",)), [(5, 3)], "gelu"),
        (RNN(hidden_size=4, activations=("affine",)), [(5, 3)], "a number for affine"),
        (RNN(hidden_size=4, alpha=(0.5,)), [(5, 3)], "(0.5,)"),
        (LSTM(hidden_size=4, activations=("sigmoid", "tanh")), [(5, 3)], "of the gates i, f and o, of g, of c in h"),
    ],
)
def test_what_does_not_fit_is_named(layer, shapes, received):
    with pytest.raises(SpecError) as raised:
        added(layer, *shapes)
    text = str(raised.value)
    assert "node 'rnn'" in text
    assert received in text
    assert "expected" in text


def arrays(layer: Layer, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    specs = layer.weights(((1, STEPS, FEATURES),))
    return {spec.name: generator.normal(size=spec.shape) for spec in specs}


def sequence(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(BATCH, STEPS, FEATURES))


def state(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(BATCH, HIDDEN))


def as_torch(torch, module, weights, suffix=""):
    with torch.no_grad():
        for name, array in weights.items():
            getattr(module, f"{name}_l0{suffix}").copy_(torch.from_numpy(array))
    return module


def results(layer: Layer, weights: dict[str, np.ndarray], *inputs: np.ndarray):
    """Outputs and gradients of the reference, for cotangents that differ from output to output."""
    call = LayerCall(resolved(layer, *(x.shape[1:] for x in inputs)), inputs, tuple(weights.values()))
    outputs = reference().forward(call).outputs
    cotangents = tuple(np.cos(np.arange(y.size)).reshape(y.shape) + i for i, y in enumerate(outputs))
    return outputs, cotangents, reference().gradient(call, cotangents)


def same(got, expected):
    np.testing.assert_allclose(got, np.asarray(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.torch
def test_the_reference_lstm_is_pytorchs_forward_and_backward():
    torch = pytest.importorskip("torch")
    layer, weights = LSTM(hidden_size=HIDDEN), arrays(LSTM(hidden_size=HIDDEN))
    module = as_torch(torch, torch.nn.LSTM(FEATURES, HIDDEN, batch_first=True, dtype=torch.float64), weights)
    inputs = (sequence(), state(2), state(3))
    x, h, c = (torch.from_numpy(a).requires_grad_() for a in inputs)
    y, (h_last, c_last) = module(x, (h[None], c[None]))
    expected = (y, h_last[0], c_last[0])
    outputs, cotangents, found = results(layer, weights, *inputs)
    for got, value in zip(outputs, expected, strict=True):
        same(got, value.detach())
    torch.autograd.backward(expected, [torch.from_numpy(g) for g in cotangents])
    for got, value in zip(found.inputs, (x, h, c), strict=True):
        same(got, value.grad)
    for got, name in zip(found.weights, weights, strict=True):
        same(got, getattr(module, f"{name}_l0").grad)


@pytest.mark.torch
@pytest.mark.parametrize("function", ["tanh", "relu"])
def test_the_reference_rnn_is_pytorchs_forward_and_backward(function):
    torch = pytest.importorskip("torch")
    layer = RNN(hidden_size=HIDDEN, activations=(function,))
    weights = arrays(layer)
    made = torch.nn.RNN(FEATURES, HIDDEN, nonlinearity=function, batch_first=True, dtype=torch.float64)
    module = as_torch(torch, made, weights)
    inputs = (sequence(), state(2))
    x, h = (torch.from_numpy(a).requires_grad_() for a in inputs)
    y, last = module(x, h[None])
    outputs, cotangents, found = results(layer, weights, *inputs)
    for got, value in zip(outputs, (y, last[0]), strict=True):
        same(got, value.detach())
    torch.autograd.backward((y, last[0]), [torch.from_numpy(g) for g in cotangents])
    for got, value in zip(found.inputs, (x, h), strict=True):
        same(got, value.grad)
    for got, name in zip(found.weights, weights, strict=True):
        same(got, getattr(module, f"{name}_l0").grad)


@pytest.mark.torch
def test_the_reference_gru_is_pytorchs_forward_and_backward():
    torch = pytest.importorskip("torch")
    layer, weights = GRU(hidden_size=HIDDEN), arrays(GRU(hidden_size=HIDDEN))
    module = as_torch(torch, torch.nn.GRU(FEATURES, HIDDEN, batch_first=True, dtype=torch.float64), weights)
    inputs = (sequence(), state(2))
    x, h = (torch.from_numpy(a).requires_grad_() for a in inputs)
    y, h_last = module(x, h[None])
    outputs, cotangents, found = results(layer, weights, *inputs)
    for got, value in zip(outputs, (y, h_last[0]), strict=True):
        same(got, value.detach())
    torch.autograd.backward((y, h_last[0]), [torch.from_numpy(g) for g in cotangents])
    for got, value in zip(found.inputs, (x, h), strict=True):
        same(got, value.grad)
    for got, name in zip(found.weights, weights, strict=True):
        same(got, getattr(module, f"{name}_l0").grad)


@pytest.mark.torch
def test_two_directions_are_pytorchs_bidirectional_lstm():
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(FEATURES, HIDDEN, batch_first=True, bidirectional=True, dtype=torch.float64)
    one, other = arrays(LSTM(hidden_size=HIDDEN), 4), arrays(LSTM(hidden_size=HIDDEN), 5)
    as_torch(torch, as_torch(torch, module, one), other, "_reverse")
    y, (h, c) = module(torch.from_numpy(sequence()))
    layer = BidirectionalLSTM(hidden_size=HIDDEN)
    call = LayerCall(layer, (sequence(),), (*one.values(), *other.values()))
    outputs = reference().forward(call).outputs
    for got, value in zip(outputs, (y, torch.cat((h[0], h[1]), 1), torch.cat((c[0], c[1]), 1)), strict=True):
        same(got, value.detach())


def test_an_order_of_gates_is_only_an_order_of_rows():
    weights = arrays(LSTM(hidden_size=HIDDEN))
    rows = list(gate_rows("ifgo", "iofg", HIDDEN))
    moved = {name: array[rows] for name, array in weights.items()}
    for got, expected in zip(
        results(LSTM(hidden_size=HIDDEN, gate_order="iofg"), moved, sequence())[0],
        results(LSTM(hidden_size=HIDDEN), weights, sequence())[0],
        strict=True,
    ):
        same(got, expected)


def test_one_bias_is_the_sum_of_two():
    weights = arrays(LSTM(hidden_size=HIDDEN))
    first, second, *biases = weights.values()
    one = {"weight_ih": first, "weight_hh": second, "bias": biases[0] + biases[1]}
    got = results(LSTM(hidden_size=HIDDEN, biases="one"), one, sequence())[0]
    for a, b in zip(got, results(LSTM(hidden_size=HIDDEN), weights, sequence())[0], strict=True):
        same(a, b)


def test_reverse_reads_the_flipped_sequence():
    weights = arrays(LSTM(hidden_size=HIDDEN))
    y, h, c = results(LSTM(hidden_size=HIDDEN, reverse=True), weights, sequence())[0]
    flipped, h_last, c_last = results(LSTM(hidden_size=HIDDEN), weights, sequence()[:, ::-1].copy())[0]
    same(y, flipped[:, ::-1])
    same(h, h_last)
    same(c, c_last)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_a_gru_that_resets_before_the_product_is_the_papers_equations_value_by_value():
    layer = GRU(hidden_size=HIDDEN, reset="before", gate_order="zrn")
    weights = arrays(layer)
    w, u, b, d = weights.values()
    x, expected = sequence(), np.zeros((BATCH, STEPS, HIDDEN))
    for n in range(BATCH):
        h = np.zeros(HIDDEN)
        for t in range(STEPS):
            z, r, n_ = (slice(i * HIDDEN, (i + 1) * HIDDEN) for i in range(3))
            update = sigmoid(w[z] @ x[n, t] + b[z] + u[z] @ h + d[z])
            reset = sigmoid(w[r] @ x[n, t] + b[r] + u[r] @ h + d[r])
            candidate = np.tanh(w[n_] @ x[n, t] + b[n_] + u[n_] @ (reset * h) + d[n_])
            h = update * h + (1 - update) * candidate
            expected[n, t] = h
    same(results(layer, weights, x)[0][0], expected)
