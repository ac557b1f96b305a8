"""How far another program's outputs lie from a trained network's own, image by image; detections are matched first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import precision
from cnnbench.spec.streams import stream
from cnnbench.training.decoders.boxes import overlaps
from cnnbench.training.evaluation import outputs_of_images
from cnnbench.training.task import TrainingTask

Array = NDArray[Any]
DETECTIONS = ("boxes", "scores", "classes", "counts")
SAME_OBJECT = 0.5  # intersection over union from which two boxes of a class are the same detection
MOVES, MOVED_BY = 4, 2.0**-21  # how often images are moved to find ties, and by what share of each value


def departures(task: TrainingTask, positions: Sequence[int], found: Mapping[str, Array]) -> tuple[float, ...]:
    """How far another program's outputs lie from the task's, image by image.

    It is the largest over the outputs of max |found - own| / max |own|, both of that image. It is infinite where a
    value is no number, where an output that is 0 throughout was found to be something else, and where an output is
    missing or has another shape. Of detections, which have no order to rely on, it is the largest of three: how far
    the boxes of a pair of one class lie apart, as a share of the largest coordinate; by how much its scores, or the
    values of its masks, differ; and the score of a detection without a partner.

    Args:
        task: Whose arrays are those of the trained network.
        positions: Of the images among the test images.
        found: The other program's outputs of all test images, by name; others than the network's are ignored.
    """
    return apart_by(outputs_of_images(task, positions), _chosen(found, positions))


def ties(task: TrainingTask, positions: Sequence[int], allowed: float) -> tuple[int, ...]:
    """Of these images those whose outputs hang on a rounding, for a network that chooses.

    The task's own outputs depart by more than ``allowed`` there in float64, or once each value of the image is moved
    by about a rounding: which of two detections or words comes out is then no property of a program.

    Args:
        task: Whose arrays are those of the trained network.
        positions: Of the images among the test images.
        allowed: How far outputs that are the same may lie apart.
    """
    chooses = any(kind != "float" for kind in task.graph.dtypes.values())
    if not chooses or not positions:
        return ()
    exact = replace(task, options=replace(task.options, precision=precision("float64")))
    own = outputs_of_images(task, positions)
    far = np.array(apart_by(own, outputs_of_images(exact, positions)))
    for number in range(MOVES):
        noise = stream(task.settings.seed, "ties", "images", number)

        def moved(images: Array, noise: np.random.Generator = noise) -> Array:
            return np.asarray(images * (1 + MOVED_BY * noise.normal(size=images.shape)), images.dtype)

        far = np.maximum(far, apart_by(own, outputs_of_images(task, positions, moved)))
    return tuple(position for position, apart in zip(positions, far, strict=True) if apart > allowed)


def _chosen(found: Mapping[str, Array], positions: Sequence[int]) -> dict[str, Array]:
    return {name: values[list(positions)] for name, values in found.items() if len(values) > max(positions)}


def apart_by(own: Mapping[str, Array], others: Mapping[str, Array]) -> tuple[float, ...]:
    """The departure of each image.

    Args:
        own: Outputs of some images, by name.
        others: Another program's of the same images.
    """
    count = len(next(iter(own.values())))
    if any(name not in others or others[name].shape != values.shape for name, values in own.items()):
        return (np.inf,) * count
    if set(DETECTIONS) <= set(own):
        return tuple(_of_detections(_found(own, i), _found(others, i)) for i in range(count))
    worst = np.zeros(count)
    for name, values in own.items():
        axes = tuple(range(1, values.ndim))
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.abs(np.subtract(others[name], values, dtype=np.float64)).max(axis=axes)
            shares = np.where(apart == 0, 0.0, apart / np.abs(values).max(axis=axes))
        worst = np.maximum(worst, np.where(np.isnan(shares), np.inf, shares))
    return tuple(map(float, worst))


def _found(outputs: Mapping[str, Array], image: int) -> dict[str, Array]:
    """The detections of an image, without the padding behind them."""
    count = int(outputs["counts"][image])
    names = [name for name in ("boxes", "scores", "classes", "masks") if name in outputs]
    return {name: np.asarray(outputs[name][image][:count], np.float64) for name in names}


def _of_detections(mine: Mapping[str, Array], theirs: Mapping[str, Array]) -> float:
    """The departure of one image's detections."""
    if not all(np.isfinite(values).all() for values in (*mine.values(), *theirs.values())):
        return np.inf
    common = overlaps(mine["boxes"], theirs["boxes"]) * (mine["classes"][:, None] == theirs["classes"])
    size = max(float(np.abs(mine["boxes"]).max(initial=0)), 1.0)
    apart, free = 0.0, np.ones(len(theirs["scores"]), bool)
    for row, overlap in enumerate(common):
        best = int(np.argmax(np.where(free, overlap, -1))) if free.any() else -1
        if best < 0 or overlap[best] < SAME_OBJECT:
            apart = max(apart, float(mine["scores"][row]))
            continue
        free[best] = False
        for name in ("boxes", "scores", "masks"):
            if name in mine:
                gap = float(np.abs(mine[name][row] - theirs[name][best]).max())
                apart = max(apart, gap / size if name == "boxes" else gap)
    return max(apart, float(theirs["scores"][free].max(initial=0)))
