"""LSTM, GRU and RNN read from ONNX: against a plain loop over the operators' formulas, and PyTorch's own exports."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from cnnbench.errors import SpecError  # noqa: E402
from cnnbench.execution.backends import load_backend  # noqa: E402
from cnnbench.execution.contract import ProgramOptions  # noqa: E402
from cnnbench.execution.precision import precision  # noqa: E402
from cnnbench.spec.interchange.onnx_file import prepare  # noqa: E402
from cnnbench.spec.interchange.onnx_import import import_file, import_model  # noqa: E402
from cnnbench.spec.weights import split_state  # noqa: E402

T, N, F, H = 5, 2, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STATES = {"LSTM": 2, "GRU": 1, "RNN": 1}


def run(proto, batch):
    return forward(import_model(prepare(proto)), batch)


def forward(network, batch):
    program = load_backend("numpy").compile_forward(network.graph, ProgramOptions("reference", precision("float64")))
    program.load(*split_state(network.graph, network.arrays))
    result = program.download(program.run(program.upload({ours: batch[name] for ours, name in network.inputs.items()})))
    return network.results(result.outputs)


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def model(op, *, directions=1, bias=True, starts=None, lengths=None, peepholes=None, **attributes):
    """A model of one node whose weights, and starts where they are given, it holds itself; and its arrays."""
    rows = GATES[op] * H
    arrays = {"W": drawn(directions, rows, F), "R": drawn(directions, rows, H)}
    optional = {
        "B": drawn(directions, 2 * rows) if bias else None,
        "lengths": lengths,
        "h0": None if starts is None else starts[0],
        "c0": None if starts is None or op != "LSTM" else starts[1],
        "P": peepholes,
    }
    names = ["x", *arrays, *(name if array is not None else "" for name, array in optional.items())]
    arrays |= {name: array for name, array in optional.items() if array is not None}
    outputs = ["y", "y_h", "y_c"][: 1 + STATES[op]]
    node = helper.make_node(op, names, outputs, "rnn", **{"hidden_size": H, **attributes})
    layout = attributes.get("layout", 0)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [N, T, F] if layout else [T, N, F])],
        [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=8), arrays


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(op, a, w, r, b, x, h, c, after):
    """One step by ONNX's formulas, gate by gate; ``a``: the functions; ``b``: both halves of B."""
    wb, rb = np.split(b, 2)
    cut = lambda array: np.split(array, GATES[op])  # noqa: E731
    w, r, wb, rb = cut(w), cut(r), cut(wb), cut(rb)
    gate = lambda k, state=h: x @ w[k].T + state @ r[k].T + wb[k] + rb[k]  # noqa: E731
    if op == "RNN":
        return a[0](gate(0)), c
    if op == "LSTM":
        i, o, f, cell = a[0](gate(0)), a[0](gate(1)), a[0](gate(2)), a[1](gate(3))
        c = f * c + i * cell
        return o * a[2](c), c
    z, reset = a[0](gate(0)), a[0](gate(1))
    n = a[1](x @ w[2].T + reset * (h @ r[2].T + rb[2]) + wb[2] if after else gate(2, reset * h))
    return (1 - z) * n + z * h, c


def expected(op, arrays, x, functions, *, reverse=(False,), after=False, starts=None):
    """Y, Y_h (and Y_c) in layout 0."""
    ys, hs, cs = [], [], []
    for d, backwards in enumerate(reverse):
        h = np.zeros((x.shape[1], H)) if starts is None else starts[0][d]
        c = np.zeros((x.shape[1], H)) if starts is None or op != "LSTM" else starts[1][d]
        b = arrays["B"][d] if "B" in arrays else np.zeros(2 * GATES[op] * H)
        row = np.empty((x.shape[0], x.shape[1], H))
        for t in reversed(range(len(x))) if backwards else range(len(x)):
            h, c = step(op, functions, arrays["W"][d], arrays["R"][d], b, x[t], h, c, after)
            row[t] = h
        ys.append(row)
        hs.append(h)
        cs.append(c)
    found = [np.stack(ys, axis=1), np.stack(hs), np.stack(cs)]
    return found[: 1 + STATES[op]]


FUNCTIONS = {"LSTM": (sigmoid, np.tanh, np.tanh), "GRU": (sigmoid, np.tanh), "RNN": (np.tanh,)}
REVERSE = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def same(received, wanted):
    assert [a.shape for a in received] == [b.shape for b in wanted]
    for a, b in zip(received, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("direction", REVERSE)
@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("op", GATES)
def test_each_direction_is_a_plain_loop_over_the_formulas(op, after, direction):
    if after and op != "GRU":
        pytest.skip("linear_before_reset is GRU's")
    extra = {"linear_before_reset": after} if op == "GRU" else {}
    reverse = REVERSE[direction]
    starts = [drawn(len(reverse), N, H, seed=i + 1) for i in range(2)]
    x = drawn(T, N, F)
    proto, arrays = model(op, directions=len(reverse), starts=starts, direction=direction, **extra)
    same(
        run(proto, {"x": x}), expected(op, arrays, x, FUNCTIONS[op], reverse=reverse, after=bool(after), starts=starts)
    )


@pytest.mark.parametrize("direction", REVERSE)
@pytest.mark.parametrize("op", GATES)
def test_layout_1_has_the_batch_first_in_every_value(op, direction):
    reverse = REVERSE[direction]
    starts = [drawn(len(reverse), N, H, seed=i + 1) for i in range(2)]
    first = [start.transpose(1, 0, 2) for start in starts]
    x = drawn(T, N, F)
    proto, arrays = model(op, directions=len(reverse), bias=False, starts=first, direction=direction, layout=1)
    y, *last = expected(op, arrays, x, FUNCTIONS[op], reverse=reverse, starts=starts)
    same(run(proto, {"x": x.swapaxes(0, 1)}), [y.transpose(2, 0, 1, 3), *(value.swapaxes(0, 1) for value in last)])


def test_a_start_that_the_model_fixes_for_one_sequence_is_that_of_every_sequence():
    start = drawn(1, 1, H)
    x = drawn(T, 3, F)
    proto, arrays = model("GRU", starts=[start])
    wanted = expected("GRU", arrays, x, FUNCTIONS["GRU"], starts=[np.repeat(start, 3, axis=1)])
    del proto.graph.input[0].type.tensor_type.shape.dim[:]
    for size in (T, 3, F):
        proto.graph.input[0].type.tensor_type.shape.dim.add().dim_value = size
    same(run(proto, {"x": x}), wanted)


def test_start_states_may_be_inputs_of_the_model():
    starts = [drawn(2, N, H, seed=i + 1) for i in range(2)]
    x = drawn(T, N, F)
    proto, arrays = model("LSTM", directions=2, starts=starts, direction="bidirectional")
    kept = [item for item in proto.graph.initializer if item.name not in ("h0", "c0")]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    proto.graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, [2, N, H]) for name in ("h0", "c0")
    )
    wanted = expected("LSTM", arrays, x, FUNCTIONS["LSTM"], reverse=(False, True), starts=starts)
    same(run(proto, {"x": x, "h0": starts[0], "c0": starts[1]}), wanted)


ACTIVATIONS = {
    "Relu": ((), (), lambda x: np.maximum(x, 0)),
    "Tanh": ((), (), np.tanh),
    "Sigmoid": ((), (), sigmoid),
    "Softsign": ((), (), lambda x: x / (1 + np.abs(x))),
    "Softplus": ((), (), lambda x: np.log(1 + np.exp(x))),
    "Affine": ([0.5], [0.25], lambda x: 0.5 * x + 0.25),
    "LeakyRelu": ((), (), lambda x: np.where(x > 0, x, np.float64(0.01) * x)),
    "ThresholdedRelu": ([0.5], (), lambda x: np.where(x > 0.5, x, 0)),
    "ScaledTanh": ([0.75], [1.5], lambda x: 0.75 * np.tanh(1.5 * x)),
    "HardSigmoid": ([0.25], [0.375], lambda x: np.clip(0.25 * x + 0.375, 0, 1)),
    "Elu": ((), (), lambda x: np.where(x > 0, x, np.exp(x) - 1)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_the_specification_is_read(name):
    alpha, beta, function = ACTIVATIONS[name]
    numbers = {"activation_alpha": alpha, "activation_beta": beta}
    given = {key: value for key, value in numbers.items() if value}
    x = drawn(T, N, F)
    proto, arrays = model("RNN", activations=[name], **given)
    same(run(proto, {"x": x}), expected("RNN", arrays, x, (function,)))


def test_numbers_go_in_order_to_the_activations_that_take_them():
    x = drawn(T, N, F)
    names = ["HardSigmoid", "Tanh", "LeakyRelu"] * 2
    proto, arrays = model(
        "LSTM",
        directions=2,
        direction="bidirectional",
        activations=names,
        activation_alpha=[0.25, 0.5] * 2,
        activation_beta=[0.375] * 2,
    )
    functions = (lambda x: np.clip(0.25 * x + 0.375, 0, 1), np.tanh, lambda x: np.where(x > 0, x, 0.5 * x))
    same(run(proto, {"x": x}), expected("LSTM", arrays, x, functions, reverse=(False, True)))


REFUSED = {
    "peepholes": (("LSTM",), {"peepholes": drawn(1, 3 * H)}, "peepholes"),
    "input_forget": (("LSTM",), {"input_forget": 1}, "coupled gates"),
    "clip": (("GRU",), {"clip": 1.0}, "clip=1.0"),
    "hidden size of another R": (("LSTM",), {"hidden_size": 7}, "hidden_size=7"),
    "lengths": (("RNN",), {"lengths": np.array([T, T - 1], np.int32)}, "sequence_lens = (5, 4)"),
    "function": (("RNN",), {"activations": ["Gelu"]}, "['Gelu']"),
    "number": (("RNN",), {"activations": ["Affine"]}, "activation_alpha"),
    "count": (("GRU",), {"activations": ["Sigmoid"]}, "2 for each direction"),
    "numbers": (("GRU",), {"activation_alpha": [1.0]}, "activation_alpha"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_imported_is_refused_by_name_and_node(case):
    args, options, text = REFUSED[case]
    with pytest.raises(SpecError) as raised:
        import_model(prepare(model(*args, **options)[0]))
    assert text in str(raised.value)
    assert f"node 'rnn' ({args[0]} of opset 21)" in str(raised.value)


def test_peepholes_of_zeros_and_lengths_of_every_step_change_nothing():
    x = drawn(T, N, F)
    proto, arrays = model("LSTM", peepholes=np.zeros((1, 3 * H)), lengths=np.array([T, T], np.int32))
    same(run(proto, {"x": x}), expected("LSTM", arrays, x, FUNCTIONS["LSTM"]))


EXPORTS = [
    {},
    {"bias": False, "bidirectional": True},
    {"batch_first": True},
    {"batch_first": True, "num_layers": 2, "bidirectional": True},
]


@pytest.mark.torch
@pytest.mark.parametrize("settings", EXPORTS, ids=lambda item: "-".join(item) or "plain")
@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("is_open", [False, True], ids=["fixed", "open"])
def test_pytorchs_modules_are_read_equal_at_any_batch(tmp_path, op, settings, is_open):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = getattr(torch.nn, op)(F, H, **settings)

        def forward(self, x):
            first = settings.get("batch_first", False)
            y, states = self.rnn(x if first else x.transpose(0, 1))
            states = states if isinstance(states, tuple) else (states,)
            return (y if first else y.transpose(0, 1), *(state.transpose(0, 1) for state in states))

    torch.manual_seed(0)
    net = Net().eval()
    buffer = io.BytesIO()
    axes = {"x": {0: "n"}} if is_open else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.randn(2, T, F),),
            buffer,
            dynamo=False,
            opset_version=14,
            input_names=["x"],
            dynamic_axes=axes,
        )
    path = tmp_path / "net.onnx"
    path.write_bytes(buffer.getvalue())
    network = import_file(path)
    for first in (2, 3) if is_open else (2,):
        x = torch.randn(first, T, F)
        with torch.no_grad():
            wanted = [value.numpy() for value in net(x)]
        found = forward(network, {"x": x.numpy()})
        for a, b in zip(found, wanted, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
