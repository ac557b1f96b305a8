"""What PyTorch does on channels-last images, pinned: when one of these fails, the workaround in our op can go."""

from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

from cnnbench.conformance import LayerCase, run_cases
from cnnbench.conformance.cases import layer_cases
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
from cnnbench_torch.ops.standardization import _group_norm  # noqa: E402 - needs PyTorch


def normalized(x, groups):
    flat = x.double().reshape(x.shape[0], groups, -1)
    deviation = flat - flat.mean(-1, keepdim=True)
    return (deviation / (flat.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)


def test_group_norm_takes_the_variance_in_one_pass():
    x = torch.from_numpy(np.random.default_rng(0).normal(1000, 1, (2, 6, 5, 4)).astype(np.float32))
    last = torch.nn.functional.group_norm(x.contiguous(memory_format=torch.channels_last), 2)
    assert (torch.nn.functional.group_norm(x, 2) - normalized(x, 2)).abs().max() < 1e-3
    assert (last - normalized(x, 2)).abs().max() > 1e-2


def test_instance_norm_of_one_image_has_a_wrong_gradient():
    generator = np.random.default_rng(0)
    x, g = (torch.from_numpy(generator.normal(size=(1, 4, 8, 10)).astype(np.float32)) for _ in range(2))
    given = g.contiguous(memory_format=torch.channels_last)
    one, other = x.clone().requires_grad_(), x.clone().double().requires_grad_()
    (found,) = torch.autograd.grad(torch.nn.functional.instance_norm(one), one, given)
    (expected,) = torch.autograd.grad(normalized(other, 4), other, g.double())
    assert (found - expected).abs().max() > 0.1


@pytest.mark.parametrize("name", ["group_norm/large_mean", "instance_norm/3d", "instance_norm/large_mean"])
def test_our_op_has_neither(name):
    assert isinstance(layer_cases()[name], LayerCase)
    subject = InProcessSubject(load_backend("torch"))
    result = run_cases(subject, ProgramOptions("eager", precision("float32")), [name])[0]
    assert result.status == "passed", result.message


def test_masks_that_broadcast_are_drawn_natively_where_none_is_given():
    from cnnbench_torch.ops.regularization import shared_dropout

    from cnnbench.execution.operations import Call
    from cnnbench.spec.layers import StochasticDepth

    x = torch.ones(64, 8, 3, 4)
    y = shared_dropout(StochasticDepth(p=0.25), (x,), (), (), Call(True, False, (None,))).outputs[0]
    first = y[:, :1, :1, :1]
    assert torch.equal(y, first.expand_as(y))
    assert bool(((first == 0) | ((first - 1 / 0.75).abs() < 1e-6)).all())
    assert 0.5 < (first > 0).double().mean() < 0.95


def group_normed():
    """Images that need no gradient, in a group norm whose weights do."""
    generator = np.random.default_rng(0)
    x = torch.from_numpy(generator.normal(size=(2, 4, 6, 6)).astype(np.float32))
    return x.contiguous(memory_format=torch.channels_last), torch.ones(4, requires_grad=True)


def test_the_backward_pass_of_group_norm_ends_the_process_where_images_need_no_gradient():
    program = "import torch; x = torch.ones(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)\n"
    program += "w = torch.ones(4, requires_grad=True); torch.nn.functional.group_norm(x, 2, w, w).sum().backward()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=120)
    assert ended.returncode == -signal.SIGSEGV


def test_our_group_norm_trains_behind_images_that_need_no_gradient():
    x, weight = group_normed()
    found = _group_norm(x, 2, (weight, weight), 1e-5)
    found.square().sum().backward()
    exact, other = x.detach().double(), weight.detach().double().requires_grad_()
    (normalized(exact, 2) * other.view(1, 4, 1, 1) + other.view(1, 4, 1, 1)).square().sum().backward()
    assert (weight.grad - other.grad).abs().max() < 1e-3
