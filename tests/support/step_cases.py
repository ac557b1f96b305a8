"""Closed forms of losses and training steps, written out in NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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


def clipped(clipping: Any, weights: dict[str, Any], gradients: dict[str, Any]) -> dict[str, Any]:
    """Clipped gradients by loops over weights, rows and elements."""
    limit, found = clipping.limit, {}
    total = sum(float(x) ** 2 for g in gradients.values() for x in np.ravel(g)) ** 0.5
    for name, gradient in gradients.items():
        g = np.array(gradient, np.float64)
        if clipping.kind == "value":
            g = np.array([min(max(x, -limit), limit) for x in g.ravel()]).reshape(g.shape)
        elif clipping.kind == "adaptive" and name not in clipping.excluded:
            for row, w in zip(g, weights[name], strict=True) if g.ndim > 1 else [(g, weights[name])]:
                most = limit * max(sum(float(x) ** 2 for x in np.ravel(w)) ** 0.5, clipping.floor)
                norm = sum(float(x) ** 2 for x in row.ravel()) ** 0.5
                if norm > most:
                    row *= most / norm
        elif clipping.kind in ("norm", "global_norm"):
            norm = total if clipping.kind == "global_norm" else sum(float(x) ** 2 for x in g.ravel()) ** 0.5
            g = g * min(1.0, limit / (norm + clipping.floor))
        found[name] = g
    return found


@dataclass
class AdaptiveTraining:
    """The steps of an optimiser with slots on mean((x W^T + b - t)^2), by its definition, in float64."""

    optimizer: Any
    weights: dict[str, Any]
    slots: dict[str, dict[str, Any]] = field(default_factory=dict)

    def step(self, x: Any, targets: Any, rate: float) -> float:
        """One step; returns the loss before it."""
        error = x @ self.weights["fc.weight"].T + self.weights["fc.bias"] - targets
        slope = 2.0 * error / error.size
        self.update({"fc.weight": slope.T @ x, "fc.bias": slope.sum(0)}, rate)
        return float((error**2).mean())

    def update(self, gradients: dict[str, Any], rate: float) -> None:
        """One update of every weight."""
        moves = {"adam": self._adam, "adamw": self._adam, "rmsprop": self._rmsprop, "adagrad": self._adagrad}
        moves["sgd"] = self._sgd
        if self.optimizer.clipping is not None:
            gradients = clipped(self.optimizer.clipping, self.weights, gradients)
        move = moves[self.optimizer.kind]
        for name, gradient in gradients.items():
            w = self.weights[name]
            decay = self.optimizer.weight_decay if self.optimizer.decay == "all" or name != "fc.bias" else 0.0
            zeros = {slot: np.full_like(w, self.optimizer.start(slot)) for slot in self.optimizer.slots}
            coupled = self.optimizer.kind != "adamw"
            found = move(self.slots.setdefault(name, zeros), gradient + decay * w * coupled)
            self.weights[name] = w - rate * (found + decay * w * (not coupled))

    def _sgd(self, slots: dict[str, Any], g: Any) -> Any:
        o = self.optimizer
        first = not o.damp_first and not np.any(slots.get("started", 1))
        m = slots["momentum"] = o.momentum * slots["momentum"] + (g if first else (1 - o.dampening) * g)
        if "started" in slots:
            slots["started"] = 1
        return m

    def _adam(self, slots: dict[str, Any], g: Any) -> Any:
        o = self.optimizer
        t = slots["step"] = int(np.max(slots["step"])) + 1
        m = slots["mean"] = o.beta1 * slots["mean"] + (1 - o.beta1) * g
        v = slots["square"] = o.beta2 * slots["square"] + (1 - o.beta2) * g**2
        c1, c2 = (1 - o.beta1**t, 1 - o.beta2**t) if o.bias_correction else (1.0, 1.0)
        divisor = {
            "outside": np.sqrt(v / c2) + o.epsilon,
            "inside": np.sqrt(v / c2 + o.epsilon),
            "uncorrected": (np.sqrt(v) + o.epsilon) / np.sqrt(c2),
        }
        return m / c1 / divisor[o.epsilon_place]

    def _rmsprop(self, slots: dict[str, Any], g: Any) -> Any:
        o, a = self.optimizer, 0.0
        v = slots["square"] = o.smoothing * slots["square"] + (1 - o.smoothing) * g**2
        if o.centered:
            a = slots["mean"] = o.smoothing * slots["mean"] + (1 - o.smoothing) * g
        u = g / self._root(v - a**2)
        if not o.momentum:
            return u
        slots["momentum"] = o.momentum * slots["momentum"] + u
        return slots["momentum"]

    def _adagrad(self, slots: dict[str, Any], g: Any) -> Any:
        slots["sum"] = slots["sum"] + g**2
        return g / self._root(slots["sum"])

    def _root(self, square: Any) -> Any:
        epsilon = self.optimizer.epsilon
        return np.sqrt(square + epsilon) if self.optimizer.epsilon_place == "inside" else np.sqrt(square) + epsilon
