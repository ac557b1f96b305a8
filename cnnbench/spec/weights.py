"""Canonical arrays of a network: seeded initialisation, and safetensors files."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError, SpecError
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Initializer, Shape, WeightSpec
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]


def initialize(graph: Graph, seed: int) -> dict[str, Array]:
    """Every weight and running statistic of ``graph`` by its full name, float32.

    Each array has a Philox stream of its own, keyed by (seed, its name), so that adding a layer changes no other.
    """
    import numpy as np

    specs = (*graph.named_weights(), *graph.named_state())
    return {spec.name: draw(spec, seed).astype(np.float32) for spec in specs}


def draw(spec: WeightSpec, seed: int) -> Array:
    """One array in float64 from its initialiser."""
    import numpy as np

    initializer, shape = spec.initializer, spec.shape
    generator = stream(seed, "weights", spec.name)
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
            return np.where(generator.random(shape) < 0.5, -1.0, 1.0)
    raise _unknown(initializer)


def _uniform(generator: np.random.Generator, bound: float, shape: Shape) -> Array:
    return generator.uniform(-bound, bound, shape)


def _unknown(initializer: Initializer) -> SpecError:
    return SpecError(f"unknown distribution {initializer.distribution!r}")


def check_fits(graph: Graph, arrays: Arrays, *, where: str) -> None:
    """Raises DataError that lists what is missing, what is left over and what has another shape.

    Args:
        graph: The network.
        arrays: Weights and running statistics by their full names.
        where: What the error calls their place, such as a file.
    """
    expected = {spec.name: spec.shape for spec in (*graph.named_weights(), *graph.named_state())}
    problems = [f"missing {name} {shape}" for name, shape in expected.items() if name not in arrays]
    problems += [f"left over {name} {arrays[name].shape}" for name in arrays if name not in expected]
    problems += [
        f"{name} is {arrays[name].shape}, expected {shape}"
        for name, shape in expected.items()
        if name in arrays and tuple(arrays[name].shape) != shape
    ]
    if problems:
        shown = "; ".join(problems[:12]) + (f"; and {len(problems) - 12} more" if len(problems) > 12 else "")
        missing = sum(name not in arrays for name in expected)
        raise DataError(
            f"the weights do not fit {graph.name}",
            where=where,
            received=shown,
            expected=f"{len(expected)} arrays",
            remedy=_whole_file(where) if missing == len(problems) else None,
        )


def _whole_file(where: str) -> str:
    """What to do about a file that holds a part of a network."""
    if re.search(r"-\d+-of-\d+\.\w+$", where):
        return "this is one of several files: import their index (*.index.json)"
    return "the file holds a part of the network: save all of it, with running statistics"


def save(arrays: Arrays, path: Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Writes canonical arrays as safetensors, whole or not at all.

    Args:
        arrays: Weights and running statistics by their full names.
        path: The file, which is replaced; its folders are made.
        metadata: Texts by name for the file's header.
    """
    import numpy as np
    from safetensors.numpy import save as serialize

    # an empty mapping of metadata without arrays would make safetensors write a header that it cannot read
    header = dict(metadata) if metadata else None
    content = serialize({name: np.ascontiguousarray(array) for name, array in arrays.items()}, header)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


def load(path: Path) -> dict[str, Array]:
    """The arrays of a safetensors file, bfloat16 and the types of 8 bits (which NumPy lacks) as the equal float32.

    Raises:
        DataError: The file does not exist, is not safetensors, or holds a dtype that NumPy cannot.
    """
    from safetensors import SafetensorError, deserialize

    try:
        items: list[tuple[str, dict[str, Any]]] = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except FileNotFoundError:
        raise DataError("the weights file does not exist", where=str(path)) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"the file is not valid safetensors: {error}", where=str(path)) from None
    return {name: _array(item, f"{path}: {name}") for name, item in items}


def _array(item: Mapping[str, Any], where: str) -> Array:
    import numpy as np

    dtype = item["dtype"]
    if dtype in _WIDENED:
        return _WIDENED[dtype](item["data"]).reshape(item["shape"])
    if dtype not in _DTYPES:
        raise DataError(
            "the dtype cannot be read",
            where=where,
            received=dtype,
            expected=", ".join((*_DTYPES, *_WIDENED)),
            remedy="save the weights as real floating-point numbers",
        )
    return np.frombuffer(item["data"], _DTYPES[dtype]).reshape(item["shape"])


def _bfloat16(data: bytes) -> Array:
    import numpy as np

    wide: Array = np.left_shift(np.frombuffer(data, "<u2").astype("<u4"), 16).view("<f4")
    return wide


def _e5m2(data: bytes) -> Array:
    """The upper byte of a float16."""
    import numpy as np

    wide: Array = np.left_shift(np.frombuffer(data, "u1").astype("<u2"), 8).view("<f2").astype("<f4")
    return wide


def _e4m3(data: bytes) -> Array:
    """Sign, four bits of exponent with bias 7, three of mantissa; no infinity, NaN where all but the sign are 1."""
    import numpy as np

    codes = np.arange(256)
    exponent, mantissa = codes >> 3 & 15, codes & 7
    size = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10))
    values = np.where(codes & 127 == 127, np.nan, np.where(codes < 128, size, -size)).astype("<f4")
    wide: Array = values[np.frombuffer(data, "u1")]
    return wide


def _e8m0(data: bytes) -> Array:
    """A power of two with bias 127; NaN where all bits are 1."""
    import numpy as np

    codes = np.frombuffer(data, "u1")
    return np.where(codes == 255, np.nan, np.ldexp(1.0, codes.astype(int) - 127)).astype("<f4")


_WIDENED: Mapping[str, Callable[[bytes], Array]] = {
    "BF16": _bfloat16,
    "F8_E4M3": _e4m3,
    "F8_E5M2": _e5m2,
    "F8_E8M0": _e8m0,
}


def split_state(graph: Graph, arrays: Arrays) -> tuple[dict[str, Array], dict[str, Array]]:
    """(weights, state): what backends load, from one mapping that holds both."""
    weights = {spec.name: arrays[spec.name] for spec in graph.named_weights()}
    state = {spec.name: arrays[spec.name] for spec in graph.named_state()}
    return weights, state


def digest(arrays: Arrays) -> str:
    """SHA-256 over names, dtypes, shapes and bytes, in the order of names."""
    import hashlib

    import numpy as np

    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        total.update(array.tobytes())
    return total.hexdigest()
