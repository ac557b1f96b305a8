"""Programs that are wrong in one weight or one element, in whole programs and not in their nodes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.graph import Graph, Input
from cnnbench.spec.weights import initialize

FOLDED = ProgramOptions("reference", precision("float32"), fold_batch_norm=True)


def case_of(graph: Graph, options: ProgramOptions = FOLDED, **more: Any) -> Case:
    batch = {item.name: np.ones((2, *item.shape), np.float32) for item in graph.inputs}
    return Case(graph, initialize(graph, 0), batch, options, **more)


class Wrong(InProcessSubject):
    """NumPy with a defect in its programs of at least ``least`` nodes."""

    def __init__(self, change: Callable[..., Any], least: int = 1, name: str = "numpy") -> None:
        super().__init__(loaded_backend(name))
        object.__setattr__(self, "change", change)
        object.__setattr__(self, "least", least)

    def forward(self, graph, arrays, batch, options):
        if len(graph.nodes) < self.least or any(item.name.startswith("forced.") for item in graph.inputs):
            return super().forward(graph, arrays, batch, options)
        changed = self.change(graph, {name: np.array(array) for name, array in arrays.items()})
        graph, arrays = changed if isinstance(changed, tuple) else (graph, changed)
        return super().forward(graph, arrays, batch, options)

    open = None  # so that each program is compiled for its pass


class Plain:
    """A subject that only runs passes."""

    def __init__(self, subject: Wrong) -> None:
        self.forward, self.gradient, self.steps = subject.forward, subject.gradient, subject.steps


def wrong_weight(name: str, *, lost: bool = False) -> Callable[..., Any]:
    def change(graph, arrays):
        if name in arrays:
            flat = arrays[name].reshape(-1)
            flat[flat.size // 3] *= np.float32(0 if lost else 1.01)
        return arrays

    return change


class WrongElement(InProcessSubject):
    """NumPy whose programs of at least ``least`` nodes have one element of a node's output changed."""

    def __init__(self, node: str, change: Callable[[Any], None], least: int = 1) -> None:
        super().__init__(loaded_backend("numpy"))
        for name, value in {"node": node, "change": change, "least": least}.items():
            object.__setattr__(self, name, value)

    def forward(self, graph, arrays, batch, options):
        names = [node.name for node in graph.nodes]
        if self.node not in names or len(names) < self.least or graph.inputs[0].name.startswith("forced"):
            return super().forward(graph, arrays, batch, options)
        place = names.index(self.node) + 1
        first = replace(graph, nodes=graph.nodes[:place], outputs=((self.node, self.node),))
        value = np.array(super().forward(first, arrays, batch, options).outputs[self.node])
        self.change(value)
        shape = Input("changed", value.shape, batched=False)
        nodes = tuple(
            replace(n, inputs=tuple("changed" if v == self.node else v for v in n.inputs)) for n in graph.nodes
        )
        outputs = tuple((n, "changed" if v == self.node else v) for n, v in graph.outputs)
        rest = replace(graph, inputs=(*graph.inputs, shape), nodes=nodes, outputs=outputs)
        return super().forward(rest, arrays, {**batch, "changed": value}, options)
