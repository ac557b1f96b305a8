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
from cnnbench.spec.losses import JointLoss, Loss, Objective, loss_targets, objective_graph
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.dataset import Dataset
from cnnbench.training.grid_targets import grid_targets
from cnnbench.training.keypoint_targets import keypoint_maps

Array = NDArray[Any]
Purpose = Literal["classes", "pixels", "points", "cells", "image", "words", "regions"]
"""What is learnt: the class of an image or of each pixel, where keypoints lie, a grid of objects, the image itself,
the words of its caption, objects of regions (whose targets are sampled for each batch: ``region_training``)."""


def purpose_of(graph: Graph) -> Purpose:
    """What a network learns, by the name and the shape of its main output.

    Raises:
        SpecError: Nothing that this training knows.
    """
    name, value = graph.outputs[0]
    rank = len(graph.shapes()[value])
    found = _PURPOSES.get((name, rank), "classes" if rank == 2 else None)
    if found == "regions" and "tokens" in dict(graph.outputs):
        found = "words"
    if found is None:
        raise SpecError(
            "there are no targets for the network's main output",
            where=graph.name,
            received=f"{name} of {rank} axes",
            expected=", ".join(f"{known} of {axes}" for known, axes in _PURPOSES),
        )
    return found


def require_true_targets(graph: Graph, augmentation: Augmentation) -> None:
    """Raises SpecError where varied images are no longer what the targets say: crops leave captions true."""
    crops = Augmentation(crop_padding=augmentation.crop_padding)
    purpose = purpose_of(graph)
    if purpose != "classes" and augmentation != (crops if purpose == "words" else Augmentation()):
        raise SpecError(
            "only classifiers take varied images, and captions crops: targets would have to vary alike",
            where=graph.name,
        )


def targets_of(graph: Graph, loss: Loss, data: Dataset) -> Mapping[str, Array]:
    """The targets of all images of a dataset, in their order, by the names under which the loss takes them.

    Args:
        graph: The network, whose main output says what is learnt.
        loss: What compares them with the outputs.
        data: Whose labels and truth they are made of.

    Raises:
        SpecError: The data lack what the network learns, the network's output does not fit them, or the loss takes
            something else.
    """
    output = graph.shapes()[graph.outputs[0][1]]
    purpose = purpose_of(graph)
    if purpose not in _MAKERS:
        raise SpecError(
            "targets of regions do not stand: they are sampled for each batch",
            where=graph.name,
            remedy="cnnbench.training.region_training.RegionTargets",
        )
    found = dict(_MAKERS[purpose](graph.name, output, data))
    if purpose in ("classes", "pixels") and not loss.int_targets:
        found["targets"] = _indicators(found["targets"], output[1])
    wanted = {target.name: target for target in loss_targets(graph, loss)}
    for name, target in wanted.items():
        made = found.get(name)
        is_int = made is not None and made.dtype.kind in "iu"
        if made is None or made.shape[1:] != target.shape or is_int != (target.dtype == "int"):
            raise SpecError(
                f"the loss {loss.kind!r} does not take targets of this kind",
                where=graph.name,
                received=", ".join(f"{key} {values.shape[1:]}" for key, values in found.items()) + f" for {purpose}",
                expected=", ".join(f"{key} {item.shape} ({item.dtype})" for key, item in wanted.items()),
            )
    return {name: found[name] for name in wanted}


def trained_graph(graph: Graph, loss: Loss) -> tuple[Graph, Loss]:
    """What a step program is compiled of: the network and its loss, or a graph that ends in a loss of several targets.

    Raises:
        SpecError: The loss leaves weights of the network out.
    """
    if not isinstance(loss, JointLoss):
        return graph, loss
    found = objective_graph(graph, loss)
    names = {spec.name for spec in (*found.named_weights(), *found.named_state())}
    lost = [spec.name for spec in (*graph.named_weights(), *graph.named_state()) if spec.name not in names]
    if lost:
        raise SpecError(
            f"the loss {loss.kind!r} does not depend on all weights of the network",
            where=graph.name,
            received=f"{len(lost)} that it does not reach, {lost[0]} among them",
            expected="a network whose outputs all take part in the loss",
        )
    return found, Objective()


def _classes(network: str, output: Shape, data: Dataset) -> Mapping[str, Array]:
    if output[1] < len(data.classes):
        raise _not_fitting(network, output, f"(N, {len(data.classes)}) for {data.name}")
    return {"targets": data.labels}


def _pixels(network: str, output: Shape, data: Dataset) -> Mapping[str, Array]:
    """(N, h, w); of a network without padding, whose output is smaller than the image, those of the middle."""
    truth = _truth(network, data, "segmentation")
    classes = len(data.names["segmentation"])
    rest = [whole - part for whole, part in zip(truth.shape[1:], output[2:], strict=True)]
    if output[1] != classes or min(rest) < 0 or any(size % 2 for size in rest):
        raise _not_fitting(network, output, f"(N, {classes}, *{truth.shape[1:]} or less) for {data.name}")
    top, left = (size // 2 for size in rest)
    return {"targets": np.ascontiguousarray(truth[:, top : top + output[2], left : left + output[3]])}


def _points(network: str, output: Shape, data: Dataset) -> Mapping[str, Array]:
    keypoints = _truth(network, data, "keypoints")
    if output[1] != keypoints.shape[2]:
        raise _not_fitting(network, output, f"(N, {keypoints.shape[2]}, h, w) for {data.name}")
    height, width = data.images.shape[2:]
    return keypoint_maps(keypoints, (height, width), (output[2], output[3]))


def _cells(network: str, output: Shape, data: Dataset) -> Mapping[str, Array]:
    """Of a grid (N, rows, columns, 5 B + C)."""
    _truth(network, data, "box_classes")
    classes = len(data.classes)
    if output[3] <= classes or (output[3] - classes) % 5:
        raise _not_fitting(network, output, f"(N, rows, columns, 5 B + {classes}) for {data.name}")
    height, width = data.images.shape[2:]
    return grid_targets(data.truth, classes, (height, width), (output[1], output[2]))


def _words(network: str, output: Shape, data: Dataset) -> Mapping[str, Array]:
    """(N, T): the numbers of a caption's words, then of the end."""
    captions = _truth(network, data, "captions")
    vocabulary = len(data.names["captions"])
    if output[1:] != (captions.shape[1], vocabulary):
        raise _not_fitting(network, output, f"(N, {captions.shape[1]}, {vocabulary}) for {data.name}")
    return {"targets": captions}


def _image(network: str, output: Shape, data: Dataset) -> Mapping[str, Array]:
    if output[1:] != data.images.shape[1:]:
        raise _not_fitting(network, output, f"(N, {', '.join(map(str, data.images.shape[1:]))}), the image itself")
    return {"targets": data.images}


_PURPOSES: Mapping[tuple[str, int], Purpose] = MappingProxyType(
    {
        ("logits", 2): "classes",
        ("logits", 4): "pixels",
        ("heatmaps", 4): "points",
        ("cells", 4): "cells",
        ("image", 4): "image",
        ("logits", 3): "regions",
    }
)
_MAKERS: dict[str, Callable[[str, Shape, Dataset], Mapping[str, Array]]] = {
    "classes": _classes,
    "pixels": _pixels,
    "points": _points,
    "cells": _cells,
    "image": _image,
    "words": _words,
}


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
