"""Shifts and scales of a network on integers: they keep values exact, and activations where these hand values on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import CnnbenchError
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.integer_weights import TILE, unit
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.numerics.rounding import host_dtype, largest_value
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import Add, BatchNorm, Conv, Layer, Linear

Array = NDArray[Any]
Role = Literal["open", "bounded", "added", "normalised", "last"]
PASSED = frozenset(["dropout", "stochastic_depth", "flatten", "reshape", "max_pool", "pad"])
LARGE = np.array([24.0, 25.0, 40.0, 1000.0])
SMALL = np.array([2.0, 2.5, 3.0, 3.75, 4.0])


def roles(graph: Graph) -> dict[str, Role]:
    """What the values of each layer with a shift are for, which says where they should lie.

    ``normalised``: a batch norm reads them. ``added``: to another value, which they should change little. ``bounded``:
    an activation hands on values up to a few units only, as ReLU6 does. ``last``: nothing reads them. ``open``:
    anything else; large positive values go through ReLU, SiLU, GELU and their like unchanged.
    """
    readers, made = graph.consumers(), {node.name: node for node in graph.nodes}
    found: dict[str, Role] = {}
    for node in graph.nodes:
        if not _has_shift(node.layer):
            continue
        after = list(_after(node.name, readers))
        if any(isinstance(n.layer, BatchNorm) for n in after):
            found[node.name] = "normalised"
        elif any(isinstance(n.layer, Add) and not _is_base(node, n, made) for n in after):
            found[node.name] = "added"
        elif any(_is_bounded(n.layer) for n in after):
            found[node.name] = "bounded"
        elif not after:
            found[node.name] = "last"
        else:
            found[node.name] = "open"
    return found


def _after(value: str, readers: Mapping[str, list[Node]]) -> Iterator[Node]:
    for node in readers.get(value, []):
        if node.layer.kind in PASSED:
            yield from _after(node.name, readers)
        else:
            yield node


def _has_shift(layer: Layer) -> bool:
    return isinstance(layer, BatchNorm) or (isinstance(layer, Conv | Linear) and layer.bias)


def _is_base(node: Node, add: Node, made: Mapping[str, Node]) -> bool:
    """Whether of a sum's operands this one is large: the first, where each comes from a shift of its own."""
    sources = []
    for value in add.inputs:
        while value in made and made[value].layer.kind in PASSED:
            value = made[value].inputs[0]
        sources.append(made.get(value))
    shifted = [source for source in sources if source is not None and _has_shift(source.layer)]
    return len(shifted) == len(sources) and shifted[0].name == node.name


def _is_bounded(layer: Layer) -> bool:
    """Whether the layer hands on values of a few units, but not large ones."""
    return _hands_on(layer, SMALL) and not _hands_on(layer, LARGE)


def _hands_on(layer: Layer, values: Array) -> bool:
    if layer.weights((values.shape,)) if layer.family in ("activation", "rectifier", "smooth", "arithmetic") else True:
        return False
    try:
        (y,) = reference().forward(LayerCall(layer, (values,))).outputs
    except (CnnbenchError, ValueError):
        return False
    return y.shape == values.shape and np.array_equal(np.float32(y), np.float32(values))


@dataclass(frozen=True)
class IntegerAffine:
    """Chooses shifts and scales.

    Args:
        roles: Of the layers.
        largest: How large values should be, as a power of two.
        policy: In which arrays are stored.
    """

    roles: Mapping[str, Role]
    largest: float
    policy: PrecisionPolicy

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of host arrays, and of the arithmetic of a norm's statistics."""
        return host_dtype(self.policy)

    def shift(self, node: Node, values: Array, generator: np.random.Generator, factor: float | None = None) -> Array:
        """A shift for each channel of ``factor`` times ``values`` (channels, places), the same within a tile.

        Args:
            node: The layer.
            values: Without the shift.
            generator: Of the shifts.
            factor: Of a norm, which can bring values into any range; None for a layer that only shifts.
        """
        starts, scale = np.arange(0, len(values), TILE), factor or 1.0
        low = np.minimum.reduceat(values.min(1, initial=np.inf), starts) * scale
        step = (unit(values) or 1.0) * scale
        role, most = self.roles.get(node.name, "open"), self.largest * min(1.0, max(step, 48 / self.largest))
        if role == "normalised":
            chosen = generator.integers(int(most / 8), int(most / 4 + 1), len(starts)) * step
        elif role == "last":
            chosen = generator.integers(int(most / 64), int(most / 16), len(starts)) * max(step, 1.0)
        elif role == "added":
            chosen = generator.integers(int(-most / 16), int(most / 16 + 1), len(starts)) - low
        elif role == "bounded" and factor is not None:
            chosen = 2.0 - low
        else:
            chosen = generator.integers(int(most / 2), int(most + 1), len(starts)) - low
        return np.asarray(np.repeat(chosen, TILE)[: len(values)])

    def norm(self, node: Node, layer: BatchNorm, x: Array, generator: np.random.Generator) -> dict[str, Array]:
        """Statistics, scale and shift of a batch norm whose factor scale / sqrt(var + eps) is a power of two.

        Args:
            node: The norm's.
            layer: The norm.
            x: What it reads, (N, C, *spatial).
            generator: Of the statistics.
        """
        values = x.swapaxes(0, 1).reshape(x.shape[1], -1)
        step = unit(values) or 1.0
        factor = 1 / step if step < 1 else 1.0
        if self.roles.get(node.name) == "bounded":
            starts = np.arange(0, len(values), TILE)
            high = np.maximum.reduceat(values.max(1), starts)
            spread = (high - np.minimum.reduceat(values.min(1), starts)).max()
            factor = float(2.0 ** np.floor(np.log2(2.0 / max(spread, 1.0))))
        shift = self.shift(node, values, generator, factor)
        if not layer.affine:
            scale = np.full(len(values), 1 / factor)
            return {"running_mean": -shift / factor, "running_var": self._variance(scale, layer.eps)}
        widest = math.floor(math.log2(largest_value(self.policy)) / 2)  # whose square is still in the type
        scale = 2.0 ** np.minimum(generator.integers(0, 3, len(values)) + self._least(layer.eps), widest)
        most = max(4.0, min(self.largest, np.abs(values).max(initial=0) / step) / 4)
        mean = generator.integers(int(most / 2), int(most), len(values)) * step
        return {
            "weight": factor * scale,
            "bias": shift + mean * factor,
            "running_mean": mean,
            "running_var": self._variance(scale, layer.eps),
        }

    def _least(self, eps: float) -> int:
        """The exponent of the smallest deviation: in a narrow type, where a variance cannot make up for epsilon, one
        whose square loses it.
        """
        if self.policy.storage_roundoff <= np.finfo(self.dtype).eps / 2:
            return -1
        return max(-1, math.ceil(math.log2(eps / np.finfo(self.dtype).eps * 2) / 2)) if eps > 0 else -1

    def is_exact(self, layer: BatchNorm, call: LayerCall) -> bool:
        """Whether sqrt(var + eps) is a power of two with the variance as it is stored."""
        total = call.state[1].astype(self.dtype) + self.dtype.type(layer.eps)
        with np.errstate(invalid="ignore"):
            root = np.sqrt(total)
        return bool((np.frexp(root)[0] == 0.5).all() and (root * root == total).all())

    def _variance(self, scale: Array, eps: float) -> Array:
        """Numbers of the host's type that give scale^2 when eps is added in that type."""
        kind = self.dtype.type
        wanted, found = kind(scale * scale), kind(scale * scale - eps)
        for _ in range(4):
            found = np.where(found + kind(eps) < wanted, np.nextafter(found, kind(np.inf)), found)
            found = np.where(found + kind(eps) > wanted, np.nextafter(found, kind(0)), found)
        return np.asarray(found, np.float64)

    def ideal(self, layer: BatchNorm, call: LayerCall) -> Array:
        """(x - mean) a + shift with the power of two a that scale / sqrt(var + eps) is in float32."""
        mean, variance = call.state[:2]
        scale, shift = call.weights if call.weights else (np.ones_like(mean), np.zeros_like(mean))
        factor = 2.0 ** np.rint(np.log2(scale / np.sqrt(variance + layer.eps)))
        shape = (-1,) + (1,) * (call.inputs[0].ndim - 2)
        return np.asarray((call.inputs[0] - mean.reshape(shape)) * factor.reshape(shape) + shift.reshape(shape))
