"""Files of every kind that cnnbench reads, altered at random: for tests, and for ``benchmarks/fuzz_inputs.py``.

A target's reader may return or raise a CnnbenchError; anything else is a defect.
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from cnnbench.errors import CnnbenchError, DataError

SUITE: dict[str, Any] = {
    "schema_version": 1,
    "name": "fuzzed",
    "matrix": {
        "architectures": ["lenet5", "simple_cnn"],
        "backends": [{"name": "numpy", "mode": ["fast", "reference"], "layout": "auto", "fold_batch_norm": True}],
        "batch": [1, 8],
        "image": [[1, 32, 32]],
        "num_classes": 10,
        "precision": ["float32"],
        "threads": [1],
        "device": ["cpu"],
        "data": "random",
        "include": [{"batch": 4}],
        "exclude": [{"backend": "numpy", "batch": 1}],
    },
    "checks": {"names": ["local", "end_to_end"], "batch": 2, "training_steps": 2},
    "measure": {"latency": {"launches": 1, "rounds": 2, "samples": 3, "warmup": {"max_s": 0.5}}, "memory": True},
    "train": {
        "architectures": ["lenet5"],
        "epochs": 1,
        "batch": 16,
        "learning_rate": 0.1,
        "optimizer": {"kind": "sgd"},
    },
    "timeouts": {"compile_s": 10, "call_s": 10},
    "seed": 0,
}
NETWORK: dict[str, Any] = {
    "name": "fuzzed",
    "input": [3, 16, 16],
    "nodes": [
        {"name": "conv", "kind": "conv", "out_channels": 4, "kernel_size": 3, "padding": 1, "stride": 1, "groups": 1},
        {"name": "norm", "kind": "batch_norm", "eps": 1e-5},
        {"name": "relu", "kind": "relu"},
        {"name": "pool", "kind": "max_pool", "kernel_size": 2, "stride": 2},
        {"name": "sum", "kind": "add", "inputs": ["pool", "pool"]},
        {"name": "flat", "kind": "flatten"},
        {"name": "fc", "kind": "linear", "out_features": 10},
    ],
    "outputs": {"logits": "fc"},
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 5),
    st.sampled_from([2**31, 2**63, 10**30, -(2**63), 1e308, -0.0, float("inf"), float("nan")]),
    st.floats(allow_nan=True),
    st.sampled_from(
        ["", "../../etc/passwd", "file:/dev/zero", "file:../x.yaml", "a\0b", "<script>", "\ud83d", "cuda:99"]
    ),
    st.text(max_size=8),
    st.lists(st.integers(-2, 70_000), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(0, 3), max_size=2),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        found += [item for key, part in value.items() for item in _places(part, (*path, key))]
    elif isinstance(value, list):
        found += [item for index, part in enumerate(value) for item in _places(part, (*path, index))]
    return found


@st.composite
def altered_data(draw: Any, seed: Any, values: st.SearchStrategy[Any] = VALUES) -> Any:
    """The data with some parts replaced, removed, repeated or moved elsewhere."""
    data = deepcopy(seed)
    for _ in range(draw(st.integers(1, 3))):
        places = [place for place in _places(data) if place]
        if not places:
            break
        place = draw(st.sampled_from(places))
        holder = data
        for step in place[:-1]:
            holder = holder[step]
        action = draw(st.sampled_from(["replace", "replace", "remove", "rename", "copy", "repeat"]))
        if action == "remove":
            del holder[place[-1]]
        elif action == "rename" and isinstance(holder, dict):
            holder[draw(st.text(max_size=5))] = holder.pop(place[-1])
        elif action == "repeat" and isinstance(holder[place[-1]], list):
            holder[place[-1]] = holder[place[-1]] * draw(st.integers(2, 60))
        elif action == "copy":
            source: Any = data
            for step in draw(st.sampled_from(places)):
                source = source[step]
            holder[place[-1]] = deepcopy(source)
        else:
            holder[place[-1]] = draw(values)
    return data


@st.composite
def altered_bytes(draw: Any, seed: bytes) -> bytes:
    """The bytes with some flipped, cut, put in or repeated."""
    data = bytearray(seed)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["flip", "flip", "cut", "insert", "repeat", "number"])):
            case "flip" if data:
                data[at] ^= draw(st.integers(1, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=16))
            case "repeat":
                data[at:at] = data[at : at + 32] * draw(st.integers(1, 8))
            case "number":
                data[at : at + 8] = draw(st.sampled_from([b"\xff" * 8, b"\0" * 8, struct.pack("<Q", 2**62)]))
    return bytes(data)


def _as_text(data: Any) -> bytes:
    return json.dumps(data, indent=1).encode("utf-8", "surrogatepass")


def _lying_safetensors(header: Any, body: bytes, length: int | None) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


HEADER = {
    "__metadata__": {"format": "pt"},
    "conv.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "conv.bias": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
}


@cache
def _onnx_model() -> bytes:
    from onnx import TensorProto, helper

    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], [0.5] * 108)
    external = helper.make_tensor("b", TensorProto.FLOAT, [4], [0.0] * 4)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fuzzed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 64])],
        [weight, external],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


def _read_suite(path: Path) -> object:
    from cnnbench.harness.suite.file import load_suite
    from cnnbench.harness.suite.plan import plan

    return plan(load_suite(path))


def _read_network(path: Path) -> object:
    from cnnbench.spec.interchange.yaml_network import load_network

    return load_network(path)


def _read_safetensors(path: Path) -> object:
    from cnnbench.spec.weights import load

    return load(path)


def _read_onnx(path: Path) -> object:
    from cnnbench.spec.interchange.onnx_import import import_file

    return import_file(path)


def _read_record(path: Path) -> object:
    from cnnbench.harness.run.store import RunStore

    folder = path.parent / "run"
    cell = folder / "cells" / "c"
    cell.mkdir(parents=True, exist_ok=True)
    (cell / "record.json").write_bytes(path.read_bytes())
    store = RunStore.open(folder)
    record = store.read_record("c")
    if record is None:
        raise DataError(store.problems[-1])  # no problem told of is an IndexError, and a defect
    return record


def _read_baseline(path: Path) -> object:
    from cnnbench.gates.baselines import load_baseline

    return load_baseline(path)


@dataclass(frozen=True)
class Target:
    """A kind of file: its suffix, altered contents, and what reads it."""

    suffix: str
    contents: Callable[[], st.SearchStrategy[bytes]]
    read: Callable[[Path], object]


def _yaml(seed: Any) -> st.SearchStrategy[bytes]:
    return st.one_of(altered_data(seed).map(_as_text), altered_bytes(_as_text(seed)), st.binary(max_size=64))


def _json(seed: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(altered_data(json.loads(seed)).map(_as_text), altered_bytes(seed))


def _safetensors() -> st.SearchStrategy[bytes]:
    whole = _lying_safetensors(HEADER, bytes(32), None)
    lengths = st.sampled_from([None, None, 0, 7, 2**20, 2**40, 2**63, 2**64 - 1])
    lying = st.builds(_lying_safetensors, altered_data(HEADER), st.binary(max_size=64), lengths)
    return st.one_of(lying, altered_bytes(whole), st.binary(max_size=64))


@cache
def _finished() -> tuple[bytes, bytes]:
    """A record and a baseline as cnnbench writes them."""
    import tempfile

    import synthetic_run

    from cnnbench.gates.baselines import save_baseline, snapshot

    run = synthetic_run.synthetic_run()
    record = run.records[0].model_dump_json().encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "baseline.json"
        save_baseline(snapshot(run), path)
        return record, path.read_bytes()


TARGETS = {
    "suite": Target(".yaml", lambda: _yaml(SUITE), _read_suite),
    "network": Target(".yaml", lambda: _yaml(NETWORK), _read_network),
    "safetensors": Target(".safetensors", _safetensors, _read_safetensors),
    "onnx": Target(".onnx", lambda: st.one_of(altered_bytes(_onnx_model()), st.binary(max_size=64)), _read_onnx),
    "record": Target(".json", lambda: _json(_finished()[0]), _read_record),
    "baseline": Target(".json", lambda: _json(_finished()[1]), _read_baseline),
}


_NUMBERS = itertools.count()


def attempt(target: Target, content: bytes, folder: Path) -> str:
    """Reads the content: ``read``, or the class of the CnnbenchError; anything else is raised."""
    path = folder / f"hostile{next(_NUMBERS)}{target.suffix}"  # readers may keep what they read of a path
    path.write_bytes(content)
    try:
        target.read(path)
    except CnnbenchError as error:
        if not str(error):
            raise AssertionError("an error without a message") from error
        return type(error).__name__
    finally:
        path.unlink()
    return "read"
