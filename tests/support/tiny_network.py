"""A small network, the backends that it runs on, and the same network by hand in PyTorch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.face.networks import Model
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, Flatten, Linear, ReLU
from cnnbench.spec.weights import general_position
from cnnbench.views.network import BackendRunner, ViewedNetwork

CLASSES = 5
MODES = [
    pytest.param(name, mode, marks=pytest.mark.skipif(find_spec(needs) is None, reason=f"{needs} is not installed"))
    for name, mode, needs in (
        ("numpy", "fast", "numpy"),
        ("torch", "eager", "torch"),
        ("jax", "jit", "jax"),
        ("tensorflow", "graph", "tensorflow"),
    )
]


def tiny() -> Model:
    """conv1, relu1, conv2 (stride 2), relu2, fc on images of two channels and 9 x 8 pixels."""
    builder = Builder("tiny")
    x = builder.input("image", (2, 9, 8))
    x = builder.add("relu1", ReLU(), builder.add("conv1", Conv(out_channels=4, kernel_size=3, padding=1), x))
    x = builder.add("relu2", ReLU(), builder.add("conv2", Conv(out_channels=6, kernel_size=3, stride=2), x))
    graph = builder.build(builder.add("fc", Linear(out_features=CLASSES), builder.add("flatten", Flatten(), x)))
    return Model(graph, general_position(graph, 7))


def viewed(model: Model, backend: str = "numpy", mode: str = "fast", policy: str = "float64") -> ViewedNetwork:
    """The network on a backend."""
    runner = BackendRunner(load_backend(backend), ProgramOptions(mode, precision(policy)))
    return ViewedNetwork(model.graph, model.arrays, runner)


class ByHand:
    """The small network in PyTorch's functions; ``kept`` has the values of its layers, in order."""

    def __init__(self, model: Model, torch: Any) -> None:
        self.torch = torch
        self.w = {name: torch.tensor(np.asarray(array, np.float64)) for name, array in model.arrays.items()}

    def __call__(self, x: Any, relu: Any = None) -> tuple[Any, dict[str, Any]]:
        """The scores, and the values of the nodes."""
        f, w, kept = self.torch.nn.functional, self.w, {}
        relu = relu or f.relu
        kept["conv1"] = f.conv2d(x, w["conv1.weight"], w["conv1.bias"], padding=1)
        kept["relu1"] = relu(kept["conv1"])
        kept["conv2"] = f.conv2d(kept["relu1"], w["conv2.weight"], w["conv2.bias"], stride=2)
        kept["relu2"] = relu(kept["conv2"])
        return f.linear(kept["relu2"].flatten(1), w["fc.weight"], w["fc.bias"]), kept
