"""How far another program's outputs differ from those of a trained network, for each image; detections are matched."""

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
    """The relative difference of another program's outputs from the trained network's own, for each image.

    It is the largest over the outputs of max |found - own| / max |own|, with both maxima over that image. It is
    infinite where a value is NaN, where an output is not 0 and should be 0 throughout, and where an output is missing
    or has another shape.

    Detections have no fixed order. They are matched by class and overlap, and the difference is the largest of three:

    * the distance of the boxes of a pair, divided by the largest coordinate;
    * the difference of the scores, or of the mask values, of a pair;
    * the score of a detection that has no partner.

    Args:
        task: The training task, with the arrays of the trained network.
        positions: Indices of the images among the test images.
        found: The other program's outputs on all test images, by name; other names than the network's are ignored.
    """
    return apart_by(outputs_of_images(task, positions), _chosen(found, positions))


def ties(task: TrainingTask, positions: Sequence[int], allowed: float) -> tuple[int, ...]:
    """The images on which rounding decides a discrete choice of the network, such as which detection or word it gives.

    There the network's own outputs change by more than ``allowed`` in float64, or when each value of the image moves
    by about one rounding. A different choice of another program is then no fault. Empty for a network without choices.

    Args:
        task: The training task, with the arrays of the trained network.
        positions: Indices of the images among the test images.
        allowed: The largest relative difference of outputs that count as the same.
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
    """The relative difference of two sets of outputs for each image, as ``departures`` defines it.

    Args:
        own: The network's outputs on some images, by name.
        others: Another program's outputs on the same images, by name.
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
    """The difference of one image's detections, as ``departures`` defines it."""
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
