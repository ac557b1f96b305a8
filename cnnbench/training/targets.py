"""What a supervised network is trained towards: from what is true of images to the arrays that its loss takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import Shape
from cnnbench.spec.losses import Loss
from cnnbench.training.dataset import Dataset

Array = NDArray[Any]
Purpose = Literal["classes", "pixels", "image"]
"""What is learnt: the class of an image, the class of each pixel, or the image itself."""


def purpose_of(graph: Graph) -> Purpose:
    """What a network learns, by the name and the shape of its main output.

    Raises:
        SpecError: Nothing that this training knows.
    """
    name, value = graph.outputs[0]
    rank = len(graph.shapes()[value])
    found = _PURPOSES.get((name, rank), "classes" if rank == 2 else None)
    if found is None:
        raise SpecError(
            "there are no targets for the network's main output",
            where=graph.name,
            received=f"{name} of {rank} axes",
            expected=", ".join(f"{known} of {axes}" for known, axes in _PURPOSES),
        )
    return found


def targets_of(graph: Graph, loss: Loss, data: Dataset) -> Array:
    """The targets of all images of a dataset, in their order.

    Args:
        graph: The network, whose main output says what is learnt.
        loss: Takes class numbers or values.
        data: Whose labels and truth they are made of.

    Raises:
        SpecError: The data lack what the network learns, or the network's output does not fit them.
    """
    output = graph.shapes()[graph.outputs[0][1]]
    purpose = purpose_of(graph)
    found = _MAKERS[purpose](graph.name, output, data)
    if purpose != "image" and not loss.int_targets:
        found = _indicators(found, output[1])
    wanted = loss.target_shape(output)[1:]
    if found.shape[1:] != wanted or (purpose == "image" and loss.int_targets):
        raise SpecError(
            f"the loss {loss.kind!r} does not take targets of this kind",
            where=graph.name,
            received=f"{found.shape[1:]} for {purpose}",
            expected="class numbers" if loss.int_targets else str(wanted),
        )
    return found


def _classes(network: str, output: Shape, data: Dataset) -> Array:
    if output[1] < len(data.classes):
        raise _not_fitting(network, output, f"(N, {len(data.classes)}) for {data.name}")
    return data.labels


def _pixels(network: str, output: Shape, data: Dataset) -> Array:
    """(N, h, w); of a network without padding, whose output is smaller than the image, those of the middle."""
    truth = _truth(network, data, "segmentation")
    classes = len(data.names["segmentation"])
    rest = [whole - part for whole, part in zip(truth.shape[1:], output[2:], strict=True)]
    if output[1] != classes or min(rest) < 0 or any(size % 2 for size in rest):
        raise _not_fitting(network, output, f"(N, {classes}, *{truth.shape[1:]} or less) for {data.name}")
    top, left = (size // 2 for size in rest)
    return np.ascontiguousarray(truth[:, top : top + output[2], left : left + output[3]])


def _image(network: str, output: Shape, data: Dataset) -> Array:
    if output[1:] != data.images.shape[1:]:
        raise _not_fitting(network, output, f"(N, {', '.join(map(str, data.images.shape[1:]))}), the image itself")
    return data.images


_PURPOSES: Mapping[tuple[str, int], Purpose] = MappingProxyType(
    {("logits", 2): "classes", ("logits", 4): "pixels", ("image", 4): "image"}
)
_MAKERS: dict[str, Callable[[str, Shape, Dataset], Array]] = {"classes": _classes, "pixels": _pixels, "image": _image}


def _indicators(classes: Array, count: int) -> Array:
    """(N, *spatial) class numbers -> (N, K, *spatial), 1 where the class is."""
    return np.moveaxis(np.eye(count, dtype=np.float32)[classes], -1, 1)


def _truth(network: str, data: Dataset, name: str) -> Array:
    if name not in data.truth:
        raise SpecError(
            f"{data.name} does not say what {network} learns",
            received=", ".join(data.truth) or "labels only",
            expected=name,
        )
    return data.truth[name]


def _not_fitting(network: str, output: Shape, expected: str) -> SpecError:
    return SpecError(
        "the network's main output does not fit the classes"
        if len(output) == 2
        else "the output does not fit the data",
        where=network,
        received=output,
        expected=expected,
    )
