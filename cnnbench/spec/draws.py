"""Arrays of a network from a seed: a weight by its initialiser, the inputs of a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Graph, value_names
from cnnbench.spec.layers import Initializer, Shape, WeightSpec
from cnnbench.spec.layers.detection import RoIMaxPool
from cnnbench.spec.layers.roi_align import LevelRoIAlign
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]


def draw(spec: WeightSpec, seed: int, purpose: str = "weights") -> Array:
    """One array in float64 from its initialiser.

    Args:
        spec: With its full name.
        seed: Of the run.
        purpose: Of the stream of random numbers.
    """
    import numpy as np

    initializer, shape = spec.initializer, spec.shape
    generator = stream(seed, purpose, spec.name)
    match initializer.distribution:
        case "constant":
            return np.full(shape, initializer.scale)
        case "uniform":
            return generator.uniform(-initializer.scale, initializer.scale, shape)
        case "normal":
            return generator.normal(0.0, initializer.scale, shape)
        case "truncated_normal":
            return initializer.scale * _cut_normal(generator, shape)
        case "orthogonal":
            return initializer.scale * _orthogonal(generator, shape)
        case "kaiming_normal":
            return generator.normal(0.0, initializer.scale / math.sqrt(initializer.fan), shape)
        case "kaiming_uniform":
            return _uniform(generator, initializer.scale * math.sqrt(3.0 / initializer.fan), shape)
        case "fan_in_uniform":
            return _uniform(generator, 1.0 / math.sqrt(initializer.fan), shape)
        case "integers":
            most = int(initializer.scale)
            return generator.integers(-most, most + 1, shape).astype(np.float64)
        case "signs":
            return _signs(generator, shape)
        case "factors":
            return initializer.scale * _factors(generator, shape)
        case "signed_factors":
            return initializer.scale * _factors(generator, shape) * _signs(generator, shape)
    raise _unknown(initializer)


def draw_inputs(
    graph: Graph, seed: int, batch: int, purpose: str = "inputs", *, by_place: bool = False
) -> dict[str, Array]:
    """Seeded normal numbers in float32; boxes within the image where a layer reads them as regions of features.

    Integers are any place that every layer which reads them has.

    Args:
        graph: The network.
        seed: Of the run.
        batch: Images.
        purpose: Of the stream of random numbers.
        by_place: Whether each input's stream has its place for a name, so that networks whose inputs have other names
            are given the same.
    """
    import numpy as np

    limits = _limits(graph) if any(item.dtype == "int" for item in graph.inputs) else {}
    extents = box_extents(graph)
    found: dict[str, Array] = {}
    for place, item in enumerate(graph.inputs):
        generator, shape = stream(seed, purpose, f"input{place}" if by_place else item.name), item.full_shape(batch)
        if item.dtype == "int":
            found[item.name] = generator.integers(0, limits.get(item.name, 2), shape)
        elif item.name in extents:
            found[item.name] = _boxes(generator, shape, extents[item.name]).astype(np.float32)
        else:
            found[item.name] = np.asarray(generator.normal(size=shape)).astype(np.float32)
    return found


def _limits(graph: Graph) -> dict[str, int]:
    """How many places each value of integers may choose among: as many as the layer with the fewest that reads it."""
    limits: dict[str, int] = {}
    for node in reversed(graph.nodes):
        shapes = graph.input_shapes(node)
        moved = min(
            (limits[value] for value in value_names(node.name, len(graph.output_shapes(node))) if value in limits),
            default=None,
        )
        for position, value in enumerate(node.inputs):
            if graph.dtypes[value] != "int":
                continue
            places = node.layer.num_indices(shapes) if position in node.layer.int_inputs else moved
            if places is not None:
                limits[value] = min(places, limits.get(value, places))
    return limits


def box_extents(graph: Graph) -> dict[str, tuple[float, float]]:
    """Width and height of the image in which values are boxes: those that a layer pools, and what was reshaped to them.

    Corners of other origin are computed within the network and are no inputs.
    """
    extents: dict[str, tuple[float, float]] = {}
    for node in reversed(graph.nodes):
        if isinstance(node.layer, RoIMaxPool):
            height, width = graph.input_shapes(node)[0][2:]
            scale = node.layer.spatial_scale
            extents[node.inputs[1]] = (width / scale, height / scale)
        elif isinstance(node.layer, LevelRoIAlign):
            height, width = graph.input_shapes(node)[2][2:]
            extents[node.inputs[0]] = (width * node.layer.strides[0], height * node.layer.strides[0])
        elif isinstance(node.layer, Reshape) and node.name in extents:
            extents[node.inputs[0]] = extents[node.name]
    return extents


def _boxes(generator: np.random.Generator, shape: Shape, extent: tuple[float, float]) -> Array:
    """Corners x1, y1, x2, y2 in the image, sides from a tenth to the half of it."""
    import numpy as np

    size = np.asarray(extent)
    sides = size * generator.uniform(0.1, 0.5, (*shape[:-1], 2))
    first = (size - sides) * generator.random(sides.shape)
    return np.concatenate([first, first + sides], axis=-1)


def _uniform(generator: np.random.Generator, bound: float, shape: Shape) -> Array:
    return generator.uniform(-bound, bound, shape)


def _cut_normal(generator: np.random.Generator, shape: Shape) -> Array:
    """Normal numbers, drawn anew until none is farther than 2 from 0."""
    import numpy as np

    found = generator.normal(size=shape)
    while (outside := np.abs(found) > 2).any():
        found[outside] = generator.normal(size=int(outside.sum()))
    return found


def _orthogonal(generator: np.random.Generator, shape: Shape) -> Array:
    """Rows (the first axis) that are orthonormal over all others, or columns where there are more rows; uniform.

    Source: Mezzadri (2006), arXiv:math-ph/0609050: the signs of R's diagonal make Q uniform.
    """
    import numpy as np

    flat = generator.normal(size=(shape[0], math.prod(shape[1:])))
    wide = flat.shape[0] < flat.shape[1]
    q, r = np.linalg.qr(flat.T if wide else flat)
    q = q * np.sign(np.diagonal(r))
    return np.ascontiguousarray(q.T if wide else q).reshape(shape)


def _signs(generator: np.random.Generator, shape: Shape) -> Array:
    import numpy as np

    return np.where(generator.random(shape) < 0.5, -1.0, 1.0)


def _factors(generator: np.random.Generator, shape: Shape) -> Array:
    import numpy as np

    small = generator.random(shape) < 0.5
    return np.where(small, generator.uniform(0.5, 0.8, shape), generator.uniform(1.15, 1.4, shape))


def _unknown(initializer: Initializer) -> SpecError:
    return SpecError(f"unknown distribution {initializer.distribution!r}")
