"""How the weights of a network start: by its layers' own rule or a named one, by images, or from other weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Graph
from cnnbench.spec.initializers import LSUV, initialize_as
from cnnbench.spec.warm_start import from_shallow, same_names
from cnnbench.spec.weights import initialize
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.lsuv import unit_variances

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

IMAGES = 64  # that lsuv sees


@dataclass(frozen=True)
class Shallow:
    """The network that given weights are of, and how many of its first and last layers are taken."""

    graph: Graph
    first: int = 4
    last: int = 3


@dataclass(frozen=True)
class WeightStart:
    """How weights start.

    Args:
        rule: A name of ``spec.initializers``; None for what the layers say.
        data: The dataset whose training images ``lsuv`` sees; None for normal numbers.
        given: Weights that replace those of the rule where they fit; None for none.
        shallow: Of which network they are, where layers are matched in order; None where names are.
    """

    rule: str | None = None
    data: str | None = None
    given: Mapping[str, Array] | None = None
    shallow: Shallow | None = None


def started(graph: Graph, seed: int, start: WeightStart) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Every weight and running statistic by its full name, float32, and the names of those that were given.

    Args:
        graph: The network.
        seed: Of the draws, and of the choice of images.
        start: How they start.

    Raises:
        SpecError: There is no such rule.
        DataError: The given weights do not fit, or a layer's outputs do not vary over the images.
    """
    arrays = _by_rule(graph, seed, start)
    if start.given is None:
        return arrays, ()
    if start.shallow is None:
        taken = same_names(arrays, start.given)
    else:
        shallow = start.shallow
        taken = from_shallow(graph, shallow.graph, start.given, first=shallow.first, last=shallow.last)
    return {**arrays, **{name: array.astype("float32") for name, array in taken.items()}}, tuple(taken)


def _by_rule(graph: Graph, seed: int, start: WeightStart) -> dict[str, Array]:
    if start.rule is None:
        return initialize(graph, seed)
    if start.rule != LSUV:
        return initialize_as(graph, seed, start.rule)
    from cnnbench.execution.backends import load_backend

    batch = draw_inputs(graph, seed, IMAGES)
    if start.data is not None:
        first = graph.inputs[0]
        wanted = DataRequest("train", first.shape, limit=IMAGES, seed=seed)
        batch[first.name] = load_dataset(start.data, wanted).images
    return unit_variances(graph, seed, batch, load_backend("numpy"))
