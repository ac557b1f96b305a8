"""Forty and more mistakes of ports: each is named at its node and field, and the right port beside it is silent."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("tensorflow")

from cnnbench.porting.port import Side, compare_networks
from cnnbench.spec.interchange.model_readers import GivenInputs

OTHER_SHAPES = ("groups", "reset", "start_axis")  # mistakes after which the weights do not fit
SHOWN = 8  # of the cases in every run of the tests, the others in slow ones
pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]


@pytest.fixture(scope="module")
def torch_reader():
    from cnnbench_torch.models import read

    return read


def _cases():
    try:
        from port_mistakes import MISTAKES
    except ImportError:
        return ()
    return [
        pytest.param(case, id=case.name, marks=() if i < SHOWN else pytest.mark.slow) for i, case in enumerate(MISTAKES)
    ]


def side(name, read):
    return Side(name, read.graph, read.arrays)


def in_general_position(module):
    import torch

    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.running_mean)
            torch.nn.init.uniform_(part.running_var, 0.5, 2.0)
        if hasattr(part, "weight") and part.weight is not None and part.weight.ndim == 1:
            torch.nn.init.uniform_(part.weight, 0.5, 2.0)
            torch.nn.init.normal_(part.bias)
    return module


@pytest.mark.parametrize("case", _cases())
def test_a_mistake_is_named_and_the_right_port_is_silent(case, torch_reader):
    from cnnbench_tensorflow.models import read as keras_reader
    from port_networks import same_weights

    module = in_general_position(case.module())
    reference = side("module", torch_reader(module, GivenInputs((case.shape,))))
    for wrong in (False, True):
        if wrong and case.wrong_module is not None:
            module = in_general_position(case.wrong_module())
            reference = side("module", torch_reader(module, GivenInputs((case.shape,))))
        model = case.model(wrong)
        if not wrong or case.field not in OTHER_SHAPES:
            same_weights(module, model)
        change = case.weights if wrong else case.right
        if change is not None:
            change(model)
        result = compare_networks(reference, side("model", keras_reader(model, GivenInputs())), training=case.training)
        named = {(item.node, item.name if item.what not in ("missing", "extra") else "") for item in result.counted}
        if wrong:
            assert (case.node, case.field) in named, [item.text for item in result.differences]
            assert result.exit_code == 4
        elif case.training:  # Keras keeps the variance otherwise, in every port
            assert (case.node, case.field) not in named
        else:
            assert result.same, [item.text for item in result.differences]
