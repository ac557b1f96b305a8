"""Defects that no check shows: cnnbench refuses the shape or lacks the type, or the framework stops; and conventions.

They are shown on the framework's own call, and the test says so where a newer version has mended one.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest
from loaded_backends import loaded_backend
from processors import needs

from cnnbench.errors import SpecError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import BatchNorm, Conv, Tanh
from cnnbench.spec.weights import initialize

ABORTS = """
import tensorflow as tf

@tf.function
def gradient(x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.nn.max_pool2d(x, 2, 2, "VALID"))
    return tape.gradient(y, x)

print(gradient(tf.ones((0, 8, 8, 2))).shape)
"""


OVERFLOW = """
import torch

def both(x, target, index):
    y = x.index_select(3, index)
    return y, ((y - target) ** 2).mean()

index = torch.arange(10) // 2
for height in (10, 4, 2):
    torch.manual_seed(0)
    torch._dynamo.reset()
    x = torch.randn(1, 2, height, 5).to(memory_format=torch.channels_last).requires_grad_()
    target = torch.randn(1, 2, height, 10).to(memory_format=torch.channels_last)
    (expected,) = torch.autograd.grad(both(x, target, index)[1], x)
    (found,) = torch.autograd.grad(torch.compile(both)(x, target, index)[1], x)
    assert torch.allclose(expected, found)
"""

GROUP_NORM = """
import torch

x = torch.randn(2, 4, 5, 5).to(memory_format=torch.channels_last)
weights = torch.ones(4, requires_grad=True), torch.zeros(4, requires_grad=True)
torch.nn.functional.group_norm(x, 2, *weights).square().sum().backward()
"""


def mended(what: str, framework: str = "tensorflow") -> None:
    """Fails with what to do."""
    pytest.fail(f"{framework} {pytest.importorskip(framework).__version__} no longer has this: {what}")


@pytest.mark.tensorflow
def test_the_gradient_of_max_pooling_of_no_images_ends_the_process():
    needs("oneDNN")
    done = subprocess.run([sys.executable, "-c", ABORTS], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        mended("our max_pool need not step around it")
    assert done.returncode in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGFPE)
    assert "(0, 8, 8, 2)" not in done.stdout


@pytest.mark.tensorflow
def test_tanh_of_a_batch_norm_behind_a_convolution_is_refused(tf):
    needs("oneDNN")
    ones = tf.ones((4,))

    @tf.function
    def plain(x):
        y = tf.nn.conv2d(x, tf.ones((3, 3, 3, 4)), 1, "SAME")
        return tf.tanh(tf.compat.v1.nn.fused_batch_norm(y, ones, ones, ones, ones, is_training=False)[0])

    said = ""
    try:
        plain(tf.ones((2, 8, 8, 3)))
    except tf.errors.UnimplementedError as error:
        said = str(error)
    if not said:
        mended("tanh need not step around the fusion with a batch norm")
    assert "[FusedBatchNorm,Tanh]" in said
    builder = Builder("tanh")
    x = builder.add("conv", Conv(out_channels=4, kernel_size=3, bias=False), builder.input("x", (3, 8, 8)))
    graph = builder.build(builder.add("tanh", Tanh(), builder.add("norm", BatchNorm(), x)))
    batch = {"x": np.ones((2, 3, 8, 8), np.float32)}
    options = ProgramOptions("graph", precision("float32"))
    ours = InProcessSubject(loaded_backend("tensorflow")).forward(graph, initialize(graph, 0), batch, options)
    assert np.isfinite(ours.outputs["output"]).all()


@pytest.mark.tensorflow
def test_a_convolution_without_outputs_returns_its_input_s_shape(tf):
    needs("oneDNN")
    found = tf.nn.conv2d(tf.ones((1, 4, 4, 2)), tf.ones((5, 5, 2, 3)), 1, "VALID").shape
    if tuple(found) == (1, 0, 0, 3):
        mended("a kernel larger than the image")
    assert tuple(found) == (1, 4, 4, 2)  # uninitialised values
    builder = Builder("no output")
    with pytest.raises(SpecError):
        builder.add("conv", Conv(out_channels=3, kernel_size=5), builder.input("x", (2, 4, 4)))


@pytest.mark.tensorflow
def test_running_sums_in_bfloat16_stop_at_256(tf):
    found = float(tf.cumsum(tf.ones((2000,), tf.bfloat16))[-1])
    if found == 2000:
        mended("tf.cumsum in bfloat16")
    assert found == 256


@pytest.mark.tensorflow
def test_depthwise_convolution_in_float16_sums_in_float16(tf):
    needs("less than AVX512-FP16")
    x = np.abs(np.random.default_rng(0).normal(size=(1, 64, 64, 2))).astype(np.float16)
    w = np.ones((48, 48, 2, 1), np.float16)
    found, exact = (
        tf.nn.depthwise_conv2d(x.astype(kind), w.astype(kind), [1, 1, 1, 1], "VALID").numpy().astype(np.float64)
        for kind in (np.float16, np.float64)
    )
    error = np.abs(found - exact).max() / exact.max()
    if error < 2.0**-11:
        mended("depthwise convolution in float16; the backend may offer the type")
    assert error > 0.02  # of 2,304 positive terms; rounding the result alone is 0.0005


def refused(call, message: str, what: str, framework: str = "torch") -> None:
    """The call stops with the message; where it answers, the workaround can go."""
    said = None
    try:
        call()
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        said = str(error)
    if said is None:
        mended(what, framework)
    assert message in said


@pytest.mark.torch
def test_the_gradient_of_group_norm_s_weights_alone_ends_the_process_channels_last():
    pytest.importorskip("torch", reason="needs torch")
    ends = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        for code in (GROUP_NORM, GROUP_NORM.replace(".to(memory_format=torch.channels_last)", ""))
    ]
    assert ends[1] == 0
    if ends[0] == 0:
        mended("our group norm need not make its input contiguous", "torch")
    assert ends[0] == -signal.SIGSEGV


@pytest.mark.jax
@pytest.mark.torch
@pytest.mark.tensorflow
def test_the_gradient_of_gelu_by_tanh_is_lost_where_the_square_overflows(tf):
    jax = pytest.importorskip("jax", reason="needs jax")
    torch = pytest.importorskip("torch", reason="needs torch")
    values = np.array([1e19, -1e19, 1e20, -1e20], np.float32)
    x = torch.from_numpy(values).requires_grad_()
    torch.nn.functional.gelu(x, approximate="tanh").sum().backward()
    with tf.GradientTape() as tape:
        v = tf.Variable(values)
        y = tf.nn.gelu(v, approximate=True)
    slopes = jax.grad(lambda x: jax.nn.gelu(x).sum())(values)
    for framework, found in (("torch", x.grad), ("jax", slopes), ("tensorflow", tape.gradient(y, v))):
        found = np.asarray(found)
        np.testing.assert_array_equal(found[:2], [1, 0])
        if np.isfinite(found).all():
            mended("the page need not name it", framework)
        assert np.isnan(found[2:]).all()


@pytest.mark.torch
def test_average_pooling_of_volumes_refuses_padding_that_makes_the_window_fit():
    torch = pytest.importorskip("torch", reason="needs torch")
    volume = torch.ones(1, 1, 2, 4, 4)
    refused(
        lambda: torch.nn.functional.avg_pool3d(volume, 3, 1, 1), "smaller than kernel size", "avg_pool3d with padding"
    )
    assert torch.nn.functional.avg_pool2d(volume[0], 3, 1, 1).shape == volume[0].shape


@pytest.mark.torch
def test_the_gradient_of_the_negative_log_likelihood_refuses_channels_last():
    torch = pytest.importorskip("torch", reason="needs torch")
    scores = torch.ones(2, 5, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    loss = torch.nn.functional.nll_loss(scores, torch.zeros((2, 4, 4), dtype=torch.int64))
    refused(loss.backward, "grad_input must be contiguous", "nll_loss channels-last")


@pytest.mark.torch
def test_batch_norm_refuses_to_train_on_one_value_a_channel():
    torch = pytest.importorskip("torch", reason="needs torch")
    x, running = torch.ones(1, 3), torch.zeros(3)
    refused(
        lambda: torch.nn.functional.batch_norm(x, running, running + 1, training=True),
        "Expected more than 1 value per channel",
        "batch_norm of one value",
    )


@pytest.mark.jax
def test_the_gradient_of_a_window_s_maximum_refuses_negative_padding():
    jax = pytest.importorskip("jax", reason="needs jax")

    def largest(x):
        return jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 2), (1, 2), ((0, 0), (0, -1))).sum()

    assert float(largest(jax.numpy.arange(6.0).reshape(2, 3))) == 5.0
    refused(
        lambda: jax.grad(largest)(jax.numpy.ones((2, 3))), "slice limit_indices", "negative padding of windows", "jax"
    )


@pytest.mark.torch
@pytest.mark.slow
def test_the_compiled_gradient_of_a_selection_writes_beyond_its_buffer():
    pytest.importorskip("torch", reason="needs torch")
    done = subprocess.run([sys.executable, "-c", OVERFLOW], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        mended("our ops need not step around index_select", "torch")
    assert done.returncode in (1, -signal.SIGABRT, -signal.SIGSEGV)
    if done.returncode == 1:
        assert "AssertionError" in done.stderr


@pytest.mark.torch
@pytest.mark.slow
def test_the_compiled_gradient_of_an_lstm_is_refused():
    torch = pytest.importorskip("torch", reason="needs torch")
    weights = [torch.ones(shape, requires_grad=True) for shape in ((16, 3), (16, 4), (16,), (16,))]
    start = torch.zeros(1, 2, 4)

    def last(x):
        return torch.lstm(x, (start, start), weights, True, 1, 0.0, True, False, True)[1].sum()

    refused(lambda: torch.compile(last)(torch.ones(2, 5, 3)).backward(), "mkldnn_rnn_layer", "compiled lstm")


@pytest.mark.torch
@pytest.mark.slow
def test_the_compiled_gradient_of_padding_with_the_edge_refuses_channels_last():
    torch = pytest.importorskip("torch", reason="needs torch")
    x = torch.ones(2, 4, 8, 10).to(memory_format=torch.channels_last).requires_grad_()

    def padded(x):
        return torch.nn.functional.pad(x, (1, 2, 1, 2), mode="replicate").sum()

    refused(lambda: torch.compile(padded)(x).backward(), "expected size 4==4, stride 1==80", "replication padding")


@pytest.mark.torch
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_the_gradient_of_lp_pooling_is_0_where_the_norm_is(p):
    torch = pytest.importorskip("torch", reason="needs torch")
    x = torch.zeros(1, 1, 4, 4, requires_grad=True)
    torch.nn.functional.lp_pool2d(x, p, 2).sum().backward()
    assert x.grad.abs().max() == 0  # what cnnbench's layer has, too
    assert bool(torch.nn.functional.lp_pool2d(x.detach() - 1, 3.0, 2).isnan().all())


@pytest.mark.jax
@pytest.mark.torch
@pytest.mark.tensorflow
def test_the_gradient_of_a_magnitude_at_0_is_a_convention(tf):
    jax = pytest.importorskip("jax", reason="needs jax")
    torch = pytest.importorskip("torch", reason="needs torch")
    assert float(jax.grad(jax.numpy.abs)(0.0)) == 1.0
    x = torch.zeros((), requires_grad=True)
    x.abs().backward()
    with tf.GradientTape() as tape:
        v = tf.Variable(0.0)
        y = tf.abs(v)
    assert (float(x.grad), float(tape.gradient(y, v))) == (0.0, 0.0)
