"""Reads Keras' weight files, old and new, without Keras: HDF5 (``.h5``) and the archive ``.keras``."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cnnbench.errors import DataError
from cnnbench.spec.interchange.fitting import KerasArrays
from cnnbench.spec.interchange.keras_config import KerasLayer, KerasModel, parse_model, wrapped
from cnnbench.spec.interchange.keras_variables import canonical, role, variables

LARGEST_BYTES = 8 << 30  # of an array, and of the weights in an archive
_SIDES = {"forward": "forward", "backward": "reverse"}  # of a Bidirectional, as Keras and as networks here call them
# What files of Keras 3 hold beside layers, and where layers keep layers of their own.
_NO_LAYERS = ("vars", "optimizer", "seed_generator", "compile_metrics", "metrics")
_PARTS = {"cell": "", "forward_layer": "forward", "backward_layer": "reverse", "layer": ""}
_INSIDE = {part: key for key, part in _PARTS.items() if part}


def read_keras(path: Path) -> KerasArrays:
    """The arrays of a file of Keras, named ``<layer>.<weight>`` as PyTorch calls its weights, in canonical layouts.

    Reads what Keras 3 writes (``.keras``, ``.weights.h5``, a whole model in ``.h5``) and what earlier versions wrote
    (``.h5`` with or without the model), the files of Keras' applications among them. Nothing in the file is executed:
    its configuration is read as data.

    Raises:
        DataError: The file is missing, is damaged, points outside itself, or holds no weights.
    """
    try:
        if path.suffix.lower() == ".keras":
            return _of_archive(path)
        with h5py.File(path, "r") as file:
            version = file.attrs.get("keras_version", "")
            if "model_weights" in file.keys():  # noqa: SIM118  no such get
                version = file["model_weights"].attrs.get("keras_version", version)
            return _of_file(file, _configuration(file.attrs.get("model_config"), version))
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
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in archive.namelist() else {}
        configuration = _configuration(archive.read("config.json"), metadata.get("keras_version", ""))
        with h5py.File(BytesIO(archive.read("model.weights.h5")), "r") as file:
            return _of_file(file, configuration)


def _configuration(text: Any, version: Any) -> KerasModel | None:
    """The model of a configuration; None where there is none, or its structure is in code."""
    if text is None:
        return None
    return parse_model(json.loads(text), version.decode() if isinstance(version, bytes) else str(version))


@dataclass(frozen=True)
class _Variable:
    """One array of a layer: the layer's path, the part of the layer that it is in, the part's class, and its name."""

    path: tuple[str, ...]
    part: str
    cls: str
    name: str
    array: Any


def _of_file(file: h5py.File, model: KerasModel | None) -> KerasArrays:
    group = _member(file, "model_weights") if "model_weights" in file.keys() else file  # noqa: SIM118  no such get
    known = {layer.path: layer for layer in model.every_layer()} if model else {}
    named = bool(_attribute(group, "layer_names"))
    found = list(_named(group, known) if named else _numbered(group, (), known))
    if not found:
        raise ValueError("it holds no layers with weights")
    order = {path: i for i, path in enumerate(known)}
    found.sort(key=lambda item: order.get(item.path, len(order)))
    arrays: dict[str, Any] = {}
    for item in found:
        name = ".".join((*item.path, *filter(None, (item.part, role(item.cls, item.name)))))
        if name in arrays:
            raise ValueError(f"two arrays are called {name}")
        arrays[name] = canonical(item.array, item.cls, item.name, item.path[-1])
    return KerasArrays(arrays, model)


def _attribute(group: Any, name: str) -> list[str]:
    """A list of names, which Keras cuts into several attributes (``name0``, ``name1``) where it is long."""
    parts = [group.attrs[name]] if name in group.attrs else []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{name}{len(parts)}"])
    return [item.decode() if isinstance(item, bytes) else str(item) for part in parts for item in part]


def _named(group: Any, known: Mapping[tuple[str, ...], KerasLayer]) -> Iterator[_Variable]:
    """Those of files that list their layers and weights by name."""
    for layer in _attribute(group, "layer_names"):
        held = _member(group, layer)
        inner = {path for path in known if path[0] == layer}
        for weight in _attribute(held, "weight_names"):
            *places, last = weight.split("/")
            path = _path(layer, places, inner)
            own = known.get(path)
            name = re.sub(r"_\d+$", "", last.partition(":")[0].removeprefix(f"{path[-1]}_"))
            part = _part_of(places) if own is not None and wrapped(own.config) else ""
            yield _Variable(path, part, _class_of(own, part), name, _array(held, weight))


def _path(layer: str, places: list[str], inner: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """The layer among those of a nested model that a weight's name leads to."""
    fitting = [path for path in inner if len(path) > 1 and _leads(places, path)]
    return max(fitting, key=len, default=(layer,))


def _leads(places: list[str], path: tuple[str, ...]) -> bool:
    """Whether the layer's own name is in the weight's, behind those of the models between."""
    return all(place in places for place in path[1:])


def _part_of(places: list[str]) -> str:
    return next((here for side, here in _SIDES.items() for place in places if place.startswith(f"{side}_")), "")


def _class_of(layer: KerasLayer | None, part: str) -> str:
    """The class of a layer, or of what it wraps."""
    if layer is None:
        return ""
    inside = wrapped(layer.config)
    return (inside.get(_INSIDE.get(part, "")) or inside.get("layer") or (layer.cls, layer.config))[0]


def _numbered(group: Any, above: tuple[str, ...], known: Mapping[tuple[str, ...], KerasLayer]) -> Iterator[_Variable]:
    """The same of files whose groups are called by classes, or by attributes where a model is of a class of its own.

    A layer's own name is an attribute of its variables.
    """
    inside = _member(group, "layers") if "layers" in group else group
    for place in sorted(inside.keys(), key=_natural):
        if place in _NO_LAYERS or not isinstance(inside.get(place), h5py.Group):
            continue
        held = _member(inside, place)
        if "vars" not in held and "layers" not in held:  # a list of layers
            yield from _numbered(held, above, known)
            continue
        path = (*above, str(_member(held, "vars").attrs.get("name", place)) if "vars" in held else place)
        if "layers" in held:
            yield from _numbered(held, path, known)
        else:
            yield from _of_layer(held, path, "", re.sub(r"_\d+$", "", place), known.get(path))


def _of_layer(held: Any, path: tuple[str, ...], part: str, cls: str, layer: KerasLayer | None) -> Iterator[_Variable]:
    """The variables of a layer, and of the layers that it keeps."""
    if layer is not None:
        cls = _class_of(layer, part)
    own = _member(held, "vars") if "vars" in held else {}
    config = None if layer is None else _config_of(layer, part)
    arrays = [_array(own, str(i)) for i in range(len(own))]
    for name, array in zip(variables(cls, config, [array.ndim for array in arrays]), arrays, strict=True):
        yield _Variable(path, part, cls, name, array)
    for key in sorted(held.keys(), key=lambda key: [*_PARTS, key].index(key)):
        if key == "vars" or not isinstance(held.get(key), h5py.Group):
            continue
        inside = _member(held, key)
        inner = ".".join(filter(None, (part, _PARTS.get(key, key))))
        kept = cls if key in _PARTS else key
        if key in _PARTS and layer is None and "vars" in inside:  # its own name is mostly that of its class
            name = str(_member(inside, "vars").attrs.get("name", cls))
            kept = re.sub(r"^(forward|backward)_|_\d+$", "", name)
        yield from _of_layer(inside, path, inner, kept, layer if key in _PARTS else None)


def _config_of(layer: KerasLayer, part: str) -> Mapping[str, Any]:
    inside = wrapped(layer.config)
    return (inside.get(_INSIDE.get(part, "")) or inside.get("layer") or ("", layer.config))[1]


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
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # bfloat16, which HDF5 has no name for
        return np.left_shift(array.view("<u2").astype("<u4"), 16).view("<f4")
    return array.astype(np.float32) if array.dtype == np.float16 else array
