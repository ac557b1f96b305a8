"""Reads Keras' weight files, old and new, without Keras: HDF5 (``.h5``) and the archive ``.keras``."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cnnbench.errors import DataError
from cnnbench.spec.interchange.fitting import KerasArrays

LARGEST_BYTES = 8 << 30  # of an array, and of the weights in an archive
_ROLES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "W": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "b": "bias",
    "moving_mean": "running_mean",
    "running_mean": "running_mean",
    "moving_variance": "running_var",
    "running_std": "running_var",  # what Keras 1 called the variance
}
# The order in which Keras 3 keeps a layer's variables, which have numbers and no names.
_NUMBERED = {
    "batch_normalization": {
        4: ("gamma", "beta", "moving_mean", "moving_variance"),
        3: ("beta", "moving_mean", "moving_variance"),
        2: ("moving_mean", "moving_variance"),
    },
    "normalization": {3: ("mean", "variance", "count")},
}


def read_keras(path: Path) -> KerasArrays:
    """The arrays of a file of Keras, named ``<layer>.<weight>`` as PyTorch calls its weights, in canonical layouts.

    Reads what Keras 3 writes (``.keras``, ``.weights.h5``, a whole model in ``.h5``) and what earlier versions wrote
    (``.h5`` with or without the model), the files of Keras' applications among them. Nothing in the file is executed:
    of its configuration only names, classes and epsilons are looked at.

    Raises:
        DataError: The file is missing, is damaged, points outside itself, or holds no weights.
    """
    try:
        if path.suffix.lower() == ".keras":
            return _of_archive(path)
        with h5py.File(path, "r") as file:
            return _of_file(file, _configuration(file.attrs.get("model_config")))
    except FileNotFoundError:
        raise DataError("the weights file does not exist", where=str(path)) from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(
            "the file cannot be read as one of Keras' weight files",
            where=str(path),
            received=str(error).partition("\n")[0],
            expected="what model.save or model.save_weights writes: HDF5, or an archive with model.weights.h5",
        ) from None


def _of_archive(path: Path) -> KerasArrays:
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("model.weights.h5").file_size
        if size > LARGEST_BYTES:
            raise ValueError(f"model.weights.h5 would take {size} bytes")
        configuration = _configuration(archive.read("config.json"))
        with h5py.File(BytesIO(archive.read("model.weights.h5")), "r") as file:
            return _of_file(file, configuration)


def _configuration(text: Any) -> dict[str, dict[str, Any]]:
    """What the model's configuration says of each layer, by the layer's name; empty where there is none."""
    if text is None:
        return {}
    try:
        configs = [(layer["class_name"], layer["config"]) for layer in json.loads(text)["config"]["layers"]]
        return {str(own["name"]): {"class": str(cls), "epsilon": own.get("epsilon")} for cls, own in configs}
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"its configuration is no model's: {error}") from None


def _of_file(file: h5py.File, configuration: Mapping[str, dict[str, Any]]) -> KerasArrays:
    group = _member(file, "model_weights") if "model_weights" in file.keys() else file  # noqa: SIM118  no such get
    entries = list(_named(group) if _attribute(group, "layer_names") else _numbered(group))
    if not entries:
        raise ValueError("it holds no layers with weights")
    order = {name: i for i, name in enumerate(configuration)}
    entries.sort(key=lambda entry: order.get(entry[0], len(order)))
    arrays: dict[str, Any] = {}
    for layer, role, array, kind in entries:
        cls = configuration.get(layer, {}).get("class", kind)
        name = f"{layer}.{_ROLES.get(role, role)}"
        if name in arrays:
            raise ValueError(f"two arrays are called {name}")
        arrays[name] = _canonical(layer, role, array, cls)
    epsilons = {n: float(c["epsilon"]) for n, c in configuration.items() if isinstance(c["epsilon"], (int, float))}
    return KerasArrays(arrays, epsilons)


def _attribute(group: Any, name: str) -> list[str]:
    """A list of names, which Keras cuts into several attributes (``name0``, ``name1``) where it is long."""
    parts = [group.attrs[name]] if name in group.attrs else []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{name}{len(parts)}"])
    return [item.decode() if isinstance(item, bytes) else str(item) for part in parts for item in part]


def _named(group: Any) -> Iterator[tuple[str, str, Any, str]]:
    """(layer, role, array, class) of files that list their layers and weights by name."""
    for layer in _attribute(group, "layer_names"):
        held = _member(group, layer)
        for weight in _attribute(held, "weight_names"):
            role = weight.rpartition("/")[2].partition(":")[0]
            role = re.sub(r"_\d+$", "", role.removeprefix(f"{layer}_"))
            yield layer, role, _array(held, weight), ""


def _numbered(group: Any) -> Iterator[tuple[str, str, Any, str]]:
    """The same of files whose groups are called by classes; the layer's own name is an attribute."""
    layers = _member(group, "layers")
    for path in sorted(layers.keys(), key=_natural):
        held = _member(layers, f"{path}/vars")
        cls = re.sub(r"_\d+$", "", path)
        roles = _NUMBERED.get(cls, {}).get(len(held), ("kernel", "bias"))
        if len(roles) < len(held):
            raise ValueError(f"layer {path} has {len(held)} variables, which is not known of that class")
        for i in range(len(held)):
            yield str(held.attrs.get("name", path)), roles[i], _array(held, str(i)), cls


def _natural(name: str) -> tuple[str, int]:
    base, _, number = name.rpartition("_")
    return (base, int(number)) if number.isdigit() else (name, 0)


def _member(group: Any, name: str) -> Any:
    """What lies in a group under a path, never in another file."""
    for part in name.split("/"):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is not in the file itself")
        group = group[part]
    return group


def _array(group: Any, name: str) -> Any:
    found = _member(group, name)
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise ValueError(f"{name} is not an array of the file itself")
    if found.nbytes > LARGEST_BYTES:
        raise ValueError(f"{name} would take {found.nbytes} bytes")
    array = np.asarray(found[()])
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _canonical(layer: str, role: str, array: Any, cls: str) -> Any:
    """(h, w, I, O) -> OIHW, depthwise (h, w, C, M) -> (C M, 1, h, w), (in, out) -> [out, in]."""
    if array.ndim == 2 and role in ("kernel", "W"):
        return np.ascontiguousarray(array.T)
    if array.ndim != 4 or _ROLES.get(role) != "weight":
        return array
    known = cls.lower().replace("_", "")
    depthwise = "depthwise" in known or role == "depthwise_kernel"
    if not known:
        depthwise = depthwise or (
            array.shape[3] == 1 and re.search(r"(^|_)(dw|depthwise|dwconv)(_|$)", layer) is not None
        )
    if depthwise:
        height, width, channels, multiplier = array.shape
        moved = array.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    else:
        moved = array.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(moved)
