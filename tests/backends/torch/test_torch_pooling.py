"""Max pooling whose padding is more than PyTorch's own pooling takes."""

from __future__ import annotations

import pytest

from cnnbench.conformance import LayerCase
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.layers import MaxPool, Shape

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("image", [(4, 9), (4, 9, 7), (2, 5, 6, 7)])
def test_padding_of_a_dilated_window_may_be_half_of_its_reach(torch_backend: Backend, image: Shape) -> None:
    """PyTorch allows half of the window without its dilation, in every number of axes."""
    layer = MaxPool(kernel_size=3, stride=1, dilation=2, padding=2)
    case = LayerCase(layer, (image,)).case(ProgramOptions("eager", precision("float32")))
    outcomes = run_checks(["local", "gradient"], InProcessSubject(torch_backend), case)
    assert [(o.name, o.status) for o in outcomes] == [("local", "passed"), ("gradient", "passed")]
