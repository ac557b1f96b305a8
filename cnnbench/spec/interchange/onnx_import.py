"""ONNX model -> Graph and its arrays: each node by the importer of its operator, shape arithmetic folded on the way.

Importers stand in the modules ``onnx_<family>`` beside this one, which are discovered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np

from cnnbench.errors import CnnbenchError, SpecError
from cnnbench.spec import interchange
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.once import once_per_file
from cnnbench.spec.interchange.onnx_file import OnnxFile, read_model
from cnnbench.spec.interchange.onnx_inputs import ModelInputs
from cnnbench.spec.interchange.onnx_node import SINCE, Handler, known_importers
from cnnbench.spec.interchange.onnx_output import OnnxOutput
from cnnbench.spec.interchange.onnx_state import Importing
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.interchange.onnx_versions import readable
from cnnbench.spec.interchange.onnx_walk import DAMAGED, import_node
from cnnbench.spec.layers import Shape

_MODULE = "onnx_"


@dataclass(frozen=True)
class OnnxNetwork:
    """An imported model.

    Args:
        graph: The network; None where every output is known without computing anything.
        arrays: Its weights and running statistics by full name, as the model holds them.
        inputs: The model's name of each program input, by the graph's name.
        outputs: The model's outputs in order.
    """

    graph: Graph | None
    arrays: Mapping[str, Array]
    inputs: Mapping[str, str]
    outputs: tuple[OnnxOutput, ...]

    def results(self, outputs: Mapping[str, Array]) -> list[Array]:
        """The model's outputs in order from those of a pass; floats and integers in the width that the model has."""
        return [
            item.in_width(np.asarray(outputs[item.source] if item.array is None else item.array))
            for item in self.outputs
        ]

    def in_rows(self, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """A pass's outputs, those that are lists of rows cut to as many as there are."""
        return {**outputs, **{item.source: item.cut(outputs[item.source]) for item in self.outputs if item.rows}}


def load_network(path: Path, image: Shape = ()) -> Graph:
    """The graph of an ONNX file. Args, raises: as ``import_file``."""
    return _graph_of(import_file(path, image), path)


def load_arrays(path: Path, image: Shape = ()) -> Mapping[str, Array]:
    """The weights and running statistics that an ONNX file holds, by their full names in ``load_network``'s graph."""
    return import_file(path, image).arrays


@once_per_file
def import_file(path: Path, image: Shape = ()) -> OnnxNetwork:
    """An ONNX file whose inputs have a batch axis before each image.

    The batch stays open where the model leaves it open. Where the model fixes it, it is opened too if that is possible
    (the sizes that a reshape states do not hold it, for example); else the network has the model's batch size alone:
    its inputs are not batched.

    Args:
        path: The file.
        image: (C, *spatial) of the first input; () for what the file says.

    Raises:
        SpecError: The file, or an operator or a form of one that is not imported; with the node and the file.
    """
    file = read_model(path)
    try:
        return _import_for_images(file, image, path.stem)
    except CnnbenchError:
        raise
    except Exception as error:  # a damaged model may break any rule of the format; -v shows where
        reason = f"{type(error).__name__}: {error}"[:300]
        raise SpecError(DAMAGED, where=str(path), received=reason) from error


def _import_for_images(file: OnnxFile, image: Shape, name: str) -> OnnxNetwork:
    try:
        return import_model(file, batched=True, image=image, name=name)
    except SpecError:
        if ModelInputs(file, {}, batched=True, image=image).stated_batch is None:
            raise
    return import_model(file, image=image, name=name)


def import_model(
    file: OnnxFile,
    given: Mapping[str, Array] | None = None,
    *,
    batched: bool = False,
    image: Shape = (),
    name: str = "",
) -> OnnxNetwork:
    """A model as a graph.

    Args:
        file: The model.
        given: Data of the model's inputs by name. An input on which the structure depends (a shape, axes, pads,
            scales), or that is a weight, is bound to its data; the others become program inputs.
        batched: Whether the first axis of every program input is the batch, which the graph then leaves open.
        image: The shape of the first input without the batch; () for the model's own.
        name: What the graph is called; the model's own name where empty.

    Raises:
        SpecError: An operator, or a form of one, that is not imported.
    """
    _load_importers()
    inputs = ModelInputs(file, given or {}, batched=batched, image=image)
    try:
        importing = Importing(file, inputs, name)
        for proto in file.model.graph.node:
            import_node(importing, proto)
        return OnnxNetwork(*importing.finish())
    except SpecError as error:
        raise (error if (error.where or "").startswith(file.where) else error.at(file.where)) from None


@cache
def _load_importers() -> None:
    for module in iter_modules(interchange.__path__):
        if module.name.startswith(_MODULE):
            import_module(f"{interchange.__name__}.{module.name}")


def importers() -> dict[str, Handler]:
    """The importer of each operator, those of other domains with their domain, in alphabetical order."""
    _load_importers()
    return known_importers()


def operators() -> list[str]:
    """The operators that are imported."""
    return list(importers())


def versions_read() -> dict[str, tuple[int, ...]]:
    """The versions of each operator that are read, in alphabetical order; ``If`` where its condition is known."""
    _load_importers()
    keys = {**SINCE, ("", "If"): 1}
    named = {f"{domain}.{op}" if domain else op: readable(op, domain, since) for (domain, op), since in keys.items()}
    return dict(sorted(named.items()))


def _graph_of(network: OnnxNetwork, path: Path) -> Graph:
    if network.graph is None:
        raise SpecError("the model computes nothing", where=str(path))
    known = [item.name for item in network.outputs if item.array is not None]
    if known:
        raise SpecError(
            "outputs of the model are constants: no node computes them from an input",
            where=str(path),
            received=", ".join(known),
            remedy="remove them from the model's outputs: they are the same for every image",
        )
    return network.graph
