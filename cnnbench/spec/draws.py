"""One array of a network from its initialiser and a seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError
from cnnbench.spec.layers import Initializer, Shape, WeightSpec
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


def _uniform(generator: np.random.Generator, bound: float, shape: Shape) -> Array:
    return generator.uniform(-bound, bound, shape)


def _signs(generator: np.random.Generator, shape: Shape) -> Array:
    import numpy as np

    return np.where(generator.random(shape) < 0.5, -1.0, 1.0)


def _factors(generator: np.random.Generator, shape: Shape) -> Array:
    import numpy as np

    small = generator.random(shape) < 0.5
    return np.where(small, generator.uniform(0.5, 0.8, shape), generator.uniform(1.15, 1.4, shape))


def _unknown(initializer: Initializer) -> SpecError:
    return SpecError(f"unknown distribution {initializer.distribution!r}")
