"""One layer, run and differentiated by the NumPy backend."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from cnnbench_numpy.backend import NumpyBackend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.host import HostGradients, HostResult
from cnnbench.execution.precision import precision
from cnnbench.spec.draws import draw
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import Layer
from cnnbench.spec.weights import split_state


@dataclass(frozen=True)
class LayerCase:
    """A graph of one node ``node`` with inputs ``x0``, ``x1`` ... and arrays for it."""

    layer: Layer
    inputs: tuple[Any, ...]
    arrays: dict[str, Any] = field(default_factory=dict)
    masks: dict[str, Any] = field(default_factory=dict)
    mode: str = "reference"
    precision: str = "float64"
    layout: str = "auto"
    training: bool = False

    @property
    def graph(self) -> Graph:
        builder = Builder("case")
        values = [builder.input(f"x{i}", x.shape, batched=False) for i, x in enumerate(self.inputs)]
        return builder.build(builder.add_all("node", self.layer, *values))

    @property
    def options(self) -> ProgramOptions:
        return ProgramOptions(
            mode=self.mode, precision=precision(self.precision), layout=self.layout, training=self.training
        )

    @property
    def batch(self) -> dict[str, Any]:
        return {**{f"x{i}": x for i, x in enumerate(self.inputs)}, **self.masks}

    def under(self, **changes: Any) -> LayerCase:
        return replace(self, **changes)

    def filled(self, seed: int = 0) -> LayerCase:
        """With random weights, running statistics and masks where none are given."""
        generator = np.random.default_rng(seed)
        graph, arrays, masks = self.graph, dict(self.arrays), dict(self.masks)
        for spec in (*graph.named_weights(), *graph.named_state()):
            arrays.setdefault(spec.name, generator.normal(size=spec.shape))
            if spec.name.endswith("running_var"):
                arrays[spec.name] = np.abs(arrays[spec.name]) + 0.5
            if spec.initializer.distribution == "signs":
                arrays[spec.name] = draw(spec, seed)
        if self.training:
            for spec in graph.named_masks():
                masks.setdefault(spec.name, (generator.random(spec.shape) < spec.keep).astype(float))
        return replace(self, arrays=arrays, masks=masks)

    def forward(self) -> HostResult:
        program = NumpyBackend().compile_forward(self.graph, self.options)
        program.load(*split_state(self.graph, self.arrays))
        return program.download(program.run(program.upload(self.batch)))

    def output(self) -> Any:
        return next(iter(self.forward().outputs.values()))

    def gradient(self, *cotangents: Any) -> HostGradients:
        program = NumpyBackend().compile_gradient(self.graph, self.options)
        program.load(*split_state(self.graph, self.arrays))
        named = {f"gradient.output{i}": value for i, value in enumerate(cotangents)}
        return program.download(program.run(program.upload({**self.batch, **named})))


def layer_case(layer: Layer, *inputs: Any, **fields: Any) -> LayerCase:
    return LayerCase(layer, tuple(np.asarray(x) for x in inputs), **fields).filled()


@pytest.fixture(scope="session")
def make_case() -> Any:
    """``make_case(layer, *inputs, **fields)``: a case whose missing arrays are random."""
    return layer_case
