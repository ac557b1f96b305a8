"""Budgets as a library: arrays of each framework, what messages say, and that nothing else is imported."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnbench
from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, GlobalAvgPool, Linear
from cnnbench.spec.streams import stream
from cnnbench.testing import assert_same, assert_same_network, budget

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"
CONV = Conv(out_channels=4, kernel_size=3, padding=((1, 0), (0, 1)))
LINEAR = Linear(out_features=5)


def drawn(*shape, name="x"):
    return stream(0, "testing", name).normal(size=shape).astype(np.float32)


X, WEIGHT, BIAS = drawn(2, 3, 8, 8), drawn(4, 3, 3, 3, name="weight"), drawn(4, name="bias")
ROWS, MATRIX, SHIFT = drawn(6, 16), drawn(5, 16, name="matrix"), drawn(5, name="shift")


@pytest.mark.torch
def test_tensors_of_pytorch_with_gradients_and_in_bfloat16():
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    layer = torch.nn.Conv2d(3, 4, 3, padding=1)
    x = torch.from_numpy(X)
    assert 0 < assert_same(layer(x), Conv(out_channels=4, kernel_size=3, padding=1), x, [layer.weight, layer.bias]) < 1
    narrow = [array.to(torch.bfloat16) for array in (x, layer.weight, layer.bias)]
    found = torch.nn.functional.conv2d(*narrow, padding=1)
    share = assert_same(found, Conv(out_channels=4, kernel_size=3, padding=1), narrow[0], narrow[1:])
    assert share < 1
    with pytest.raises(AssertionError, match="float32"):  # as float32 the same values are far off
        assert_same(found.float(), Conv(out_channels=4, kernel_size=3, padding=1), x, [layer.weight, layer.bias])


@pytest.mark.jax
def test_arrays_of_jax():
    jnp = pytest.importorskip("jax.numpy", reason="needs JAX")
    rows, matrix = jnp.asarray(ROWS), jnp.asarray(MATRIX)
    assert assert_same(rows @ matrix.T + SHIFT, LINEAR, rows, [matrix, SHIFT]) < 1
    narrow = rows.astype(jnp.bfloat16) @ matrix.astype(jnp.bfloat16).T
    assert assert_same(narrow, Linear(out_features=5, bias=False), rows, {"weight": matrix}) < 1


@pytest.mark.tensorflow
@pytest.mark.slow
def test_tensors_of_tensorflow_with_channels_last():
    tf = pytest.importorskip("tensorflow", reason="needs TensorFlow")
    last = tf.constant(X.transpose(0, 2, 3, 1))
    found = tf.nn.conv2d(last, WEIGHT.transpose(2, 3, 1, 0), 1, "SAME") + BIAS
    layer = Conv(out_channels=4, kernel_size=3, padding=1)
    assert assert_same(found, layer, last, [WEIGHT, BIAS], channels_last=True) < 1
    with pytest.raises(AssertionError):
        assert_same(found + 1e-4, layer, last, [WEIGHT, BIAS], channels_last=True)


def test_a_message_says_how_far_where_and_which_values():
    right = budget(CONV, X, [WEIGHT, BIAS])
    wrong = right.value.astype(np.float32)
    wrong[1, 2, 3, 4] += 1e-3
    with pytest.raises(AssertionError) as caught:
        assert_same(wrong, CONV, X, [WEIGHT, BIAS])
    text = str(caught.value)
    assert re.search(r"conv, output 0: error is [\d.e+]+ times the sharp budget of float32 at \[1, 2, 3, 4\]", text)
    assert f"expected {right.value[1, 2, 3, 4]}" in text
    assert text.endswith(f"1 of {right.value.size} values are beyond it")


def test_the_share_is_of_the_budget_that_is_asked_for():
    right = budget(LINEAR, ROWS, [MATRIX, SHIFT])
    assert (right.worst >= right.sharp).all()
    half = (right.value + 0.5 * right.worst).astype(np.float32)
    assert assert_same(half, LINEAR, ROWS, [MATRIX, SHIFT], worst_case=True) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("change", "what"),
    [(lambda y: y[:1], "shape"), (lambda y: y * np.float32("nan"), "NaN")],
    ids=["shape", "nan"],
)
def test_what_cannot_be_compared_is_said(change, what):
    right = budget(LINEAR, ROWS, [MATRIX, SHIFT]).value.astype(np.float32)
    with pytest.raises(AssertionError, match=what):
        assert_same(change(right), LINEAR, ROWS, [MATRIX, SHIFT])


def test_running_statistics_are_given_by_name_or_in_order():
    layer = BatchNorm()
    arrays = {"weight": drawn(3), "bias": drawn(3, name="b")}
    state = {"running_mean": drawn(3, name="m"), "running_var": np.abs(drawn(3, name="v")) + 1}
    mean, variance = (array[:, None, None].astype(np.float64) for array in state.values())
    wide = (X - mean) / np.sqrt(variance + layer.eps)
    found = (wide * arrays["weight"][:, None, None] + arrays["bias"][:, None, None]).astype(np.float32)
    assert assert_same(found, layer, X, arrays, state=state) < 1
    assert assert_same(found, layer, X, list(arrays.values()), state=list(state.values())) < 1


def test_weights_that_do_not_fit_are_an_error_of_the_call():
    with pytest.raises(SpecError, match="do not fit"):
        assert_same(ROWS, LINEAR, ROWS, [MATRIX.T, SHIFT])
    with pytest.raises(TypeError, match="worst_kase"):
        assert_same(ROWS, LINEAR, ROWS, [MATRIX, SHIFT], worst_kase="float32")


def test_a_network_is_compared_by_arrays_names_and_functions():
    model = cnnbench.load("lenet5", seed=1)
    image = drawn(2, 1, 32, 32)
    logits = cnnbench.predict(model, image, backend="numpy").outputs["logits"]
    assert assert_same_network(logits, model, image) < 1
    assert assert_same_network({"logits": logits}, model, {"image": image}) < 1
    seen = []
    assert assert_same_network(lambda x: logits, model, image, convert=lambda x: seen.append(x.shape) or x) < 1
    assert seen == [(2, 1, 32, 32)]
    with pytest.raises(
        AssertionError, match=r"lenet5, output logits: .* times what rounding explains .*got .*expected"
    ):
        assert_same_network(logits * np.float32(1.001), model, image)


@pytest.mark.torch
@pytest.mark.jax
def test_models_of_two_frameworks_are_compared():
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    jax = pytest.importorskip("jax", reason="needs JAX")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    held = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}
    params = {**held, "0.weight": held["0.weight"].transpose(2, 3, 1, 0)}

    def ported(params, x, scale=1.0):
        order = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(x, params["0.weight"], (1, 1), "VALID", dimension_numbers=order)
        x = jax.nn.relu(x + params["0.bias"]).transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        return scale * (x @ params["3.weight"].T + params["3.bias"])

    assert assert_same_network((ported, params), module, X) < 1
    assert assert_same_network(module, (ported, params), X) < 1
    assert assert_same_network(module, module, X, precision="float64") < 1
    with pytest.raises(AssertionError, match="times what rounding explains in float32"):
        assert_same_network((lambda p, x: ported(p, x, 1.0001), params), module, X)


def test_a_model_is_compared_with_its_graph():
    model = cnnbench.load("lenet5", seed=1)
    image = drawn(2, 1, 32, 32)
    assert assert_same_network(model, model, image) < 1
    other = cnnbench.face.networks.Model(model.graph, {n: a * np.float32(1.0001) for n, a in model.arrays.items()})
    with pytest.raises(AssertionError, match="times what rounding explains"):
        assert_same_network(other, model, image)


def test_it_imports_no_framework_and_nothing_of_reports():
    code = """
import sys
import numpy as np
from cnnbench.spec.layers import Linear
from cnnbench.testing import assert_same
x, w = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
assert_same(x @ w.T, Linear(out_features=4, bias=False), x, [w])
heavy = {"torch", "jax", "tensorflow", "onnx", "onnxruntime", "mlflow", "pandas", "matplotlib", "sklearn", "typer"}
print(sorted(heavy & {*sys.modules}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_s_examples_work(capsys):
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert "times the sharp budget of float32" in capsys.readouterr().out


def two_outputs():
    b = Builder("two")
    x = b.add("pool", GlobalAvgPool(), b.add("conv", CONV, b.input("image", (3, 8, 8))))
    graph = b.build({"one": b.add("fc", LINEAR, x), "two": b.add("other", Linear(out_features=2), x)})
    model = cnnbench.load(graph, seed=1)
    return model, cnnbench.predict(model, X, backend="numpy").outputs


def test_every_output_is_compared_unless_one_array_is_given():
    model, right = two_outputs()
    assert assert_same_network(right, model, X) < 1
    assert assert_same_network(right["one"], model, X) < 1
    for given in ({"one": right["one"]}, [right["one"]], {}, [], lambda image: right["one"], lambda image: None, None):
        with pytest.raises(SpecError, match=r"outputs are missing|no array of numbers"):
            assert_same_network(given, model, X)
    first = cnnbench.load(dataclasses.replace(model.graph, outputs=model.graph.outputs[:1]), model.arrays)
    with pytest.raises(SpecError, match="outputs are missing"):
        assert_same_network(first, model, X)


def test_one_narrow_output_does_not_widen_what_the_others_may_differ_by():
    model, right = two_outputs()
    mixed = {"one": right["one"].astype(np.float16), "two": right["two"] + np.float32(1e-3)}
    with pytest.raises(SpecError, match="different precisions"):
        assert_same_network(mixed, model, X)


def test_images_in_bytes_are_numbers():
    model, _ = two_outputs()
    images = (np.abs(X) * 50).astype(np.uint8)
    right = cnnbench.predict(model, images.astype(np.float32), backend="numpy").outputs
    assert assert_same_network(right, model, images) < 1


@pytest.mark.parametrize(
    ("inputs", "weights", "how", "said"),
    [
        ([ROWS, ROWS], [MATRIX, SHIFT], {}, "the number of inputs is wrong"),
        ([], [MATRIX, SHIFT], {}, "the number of inputs is wrong"),
        (ROWS, {"weight": MATRIX}, {}, "the names are not those"),
        (ROWS, {"weight": MATRIX, "bias": SHIFT, "scale": SHIFT}, {}, "the names are not those"),
        (ROWS, [MATRIX, SHIFT], {"output": 1}, "no such output"),
    ],
)
def test_operands_that_the_layer_does_not_read_are_refused(inputs, weights, how, said):
    with pytest.raises(SpecError, match=said):
        assert_same(ROWS @ MATRIX.T + SHIFT, LINEAR, inputs, weights, **how)


def test_nothing_to_compare_is_no_agreement():
    model, right = two_outputs()
    with pytest.raises(SpecError, match="nothing to compare"):
        assert_same_network({name: array[:0] for name, array in right.items()}, model, X[:0])
