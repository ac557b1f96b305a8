"""Closed forms of losses and training steps, written out in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnbench.spec import layers as L
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.optimizers import SGD


def linear_graph(features: int = 4, outputs: int = 3) -> Graph:
    """One linear layer ``fc``."""
    builder = Builder("linear")
    return builder.build(builder.add("fc", L.Linear(out_features=outputs), builder.input("x", (features,))))


@dataclass
class LinearTraining:
    """The steps of SGD on mean((x W^T + b - t)^2), by their definition."""

    optimizer: SGD
    weights: dict[str, Any]
    slots: dict[str, Any]

    @staticmethod
    def start(optimizer: SGD, weights: dict[str, Any]) -> LinearTraining:
        return LinearTraining(optimizer, dict(weights), {name: np.zeros_like(w) for name, w in weights.items()})

    def step(self, x: Any, targets: Any, rate: float) -> float:
        """One step; returns the loss before it."""
        o = self.optimizer
        error = x @ self.weights["fc.weight"].T + self.weights["fc.bias"] - targets
        slope = 2.0 * error / error.size
        gradients = {"fc.weight": slope.T @ x, "fc.bias": slope.sum(0)}
        for name, gradient in gradients.items():
            decayed = o.decay == "all" or name == "fc.weight"
            g = gradient + (o.weight_decay * self.weights[name] if decayed else 0.0)
            m = o.momentum * self.slots[name] + g
            self.slots[name] = m
            self.weights[name] = self.weights[name] - rate * (g + o.momentum * m if o.nesterov else m)
        return float((error**2).mean())


def batches(count: int, features: int = 4, outputs: int = 3) -> Iterator[tuple[Any, Any]]:
    """(inputs, float targets) of five images each."""
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield rng.normal(size=(5, features)), rng.normal(size=(5, outputs))


def cross_entropy(logits: Any, targets: Sequence[int], smoothing: float) -> tuple[float, Any]:
    """The loss and its gradient: q = (1 - e) onehot + e / K; d loss / d logits = (softmax - q) / N."""
    count, classes = logits.shape
    q = np.full((count, classes), smoothing / classes)
    q[np.arange(count), targets] += 1.0 - smoothing
    exponentials = np.exp(logits)
    softmax = exponentials / exponentials.sum(1, keepdims=True)
    return float(-(q * np.log(softmax)).sum(1).mean()), (softmax - q) / count
