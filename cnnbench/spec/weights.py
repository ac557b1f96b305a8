"""Canonical arrays of a network: seeded initialisation, general position, and safetensors files."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.errors import DataError
from cnnbench.spec.draws import draw
from cnnbench.spec.graph import Graph, value_names
from cnnbench.spec.layers import Signal
from cnnbench.spec.narrow_floats import WIDENED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]


def initialize(graph: Graph, seed: int) -> dict[str, Array]:
    """Every weight and running statistic of ``graph`` by its full name, float32.

    Each array has a Philox stream of its own, keyed by (seed, its name), so that adding a layer changes no other. The
    convolutions before maps of keypoints and before region proposals start small (``small_heads``).
    """
    import numpy as np

    from cnnbench.spec.passes.heads import small_heads

    small = small_heads(graph)
    specs = [
        replace(spec, initializer=small.get(spec.name, spec.initializer))
        for spec in (*graph.named_weights(), *graph.named_state())
    ]
    return {spec.name: draw(spec, seed).astype(np.float32) for spec in specs}


def general_position(graph: Graph, seed: int) -> dict[str, Array]:
    """Every array of ``graph`` by its full name, float32, so that none of them can be left out, exchanged or ignored.

    Statistics, scales, shifts and biases are random, distinct and far from 0 and 1; what a layer says of each array is
    ``WeightSpec.general``. Kernels are scaled by the mean square that their input is estimated to have
    (``Layer.signal``), so that a signal neither grows nor dies in a deep network.
    """
    import numpy as np

    from cnnbench.spec.passes import lower

    lowered = lower(graph)
    signals = {item.name: Signal(1.0) for item in lowered.inputs}
    found: dict[str, Array] = {}
    for node in lowered.nodes:
        shapes = lowered.input_shapes(node)
        read = tuple(signals[value] for value in node.inputs)
        for spec in (*node.layer.weights(shapes), *node.layer.state(shapes)):
            name, initializer = f"{node.owner}.{spec.name}", spec.general_initializer
            if name not in found:
                drawn = draw(replace(spec, name=name, initializer=initializer), seed, "general position")
                size = math.sqrt(_coarse(read[0].square)) if initializer.fan and read else 1.0
                found[name] = (drawn / size).astype(np.float32)
        made = node.layer.signal(read)
        signals.update(dict.fromkeys(value_names(node.name, len(lowered.output_shapes(node))), made))
    return found


def _coarse(square: float) -> float:
    """A mean square that can be divided by, to 12 binary digits: another machine's last bit changes no weight."""
    fraction, exponent = math.frexp(min(max(square, 2.0**-40), 2.0**40))
    return math.ldexp(round(fraction * 4096) / 4096, exponent)


def at_identity(graph: Graph, arrays: Arrays) -> tuple[str, ...]:
    """The arrays that say nothing of how they are used: all values are 0, or 1, or several and equal.

    For example, the running mean of a batch norm that was never trained: a backend that ignores it gives the same.
    Arrays that are constants of the computation do not count.
    """
    import numpy as np

    def says_nothing(array: Array) -> bool:
        values = np.asarray(array).reshape(-1)
        return bool(values.size and (values == values[0]).all() and (values.size > 1 or values[0] in (0, 1)))

    specs = (*graph.named_weights(), *graph.named_state())
    return tuple(
        spec.name for spec in specs if not spec.is_fixed and spec.name in arrays and says_nothing(arrays[spec.name])
    )


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
    content = serialize({name: np.asarray(array, order="C") for name, array in arrays.items()}, header)
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
    if dtype in WIDENED:
        return WIDENED[dtype](item["data"]).reshape(item["shape"])
    if dtype not in _DTYPES:
        raise DataError(
            "the dtype cannot be read",
            where=where,
            received=dtype,
            expected=", ".join((*_DTYPES, *WIDENED)),
            remedy="save the weights as real floating-point numbers",
        )
    return np.frombuffer(item["data"], _DTYPES[dtype]).reshape(item["shape"])


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
