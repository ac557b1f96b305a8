"""``port``: whether a network is a port of another, and if not, where they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnnbench.execution.precision import precision
from cnnbench.face.networks import Image, Model, Network, load_examined, network_name
from cnnbench.porting.activations import SUFFIX, compare_activations, read_activations
from cnnbench.porting.messages import ReadRequest
from cnnbench.porting.normal_form import PlainNetwork
from cnnbench.porting.port import BATCH, PortResult, Side, compare_networks
from cnnbench.porting.reading import read_model
from cnnbench.porting.references import parse_reference
from cnnbench.porting.rounding import NetworkValues
from cnnbench.porting.values_apart import SAME, distance, values_of
from cnnbench.spec.graph import Graph
from cnnbench.spec.passes import lower

if TYPE_CHECKING:
    from cnnbench.spec.interchange.model_readers import ModelReference


def port(
    reference: Network,
    candidate: Network,
    *,
    image: Image = None,
    train: bool = False,
    seed: int = 0,
    folder: Path | str | None = None,
) -> PortResult:
    """Compares a network with the one that it was ported from.

    Both are brought into one form, aligned node by node, and run on the same images in float64. A user's own model is
    also run as it is, which shows whether its graph is the model.

    Args:
        reference: The network that is right: whatever ``load`` takes, such as ``nets.py:resnet`` or ``net.onnx``.
        candidate: The network that should be the same; or an ``.npz`` file with the input and the activations of a
            program that is not read.
        image: (C, *spatial) of one image, or its side; None for the networks' own.
        train: Whether fields that change training only count: momentum, dropout's rate, the kept variance.
        seed: Of the images, and of weights where a network has none of its own.
        folder: Where a file goes that reproduces the first node where they part; None for nowhere.

    Raises:
        SpecError, DataError: A network cannot be read, or they take different inputs.
    """
    if str(candidate).lower().endswith(SUFFIX):
        found = read_activations(Path(str(candidate)))
        return compare_activations(_side(reference, image, seed), str(candidate), found)
    sides = (_side(network, image, seed) for network in (reference, candidate))
    return compare_networks(*sides, training=train, seed=seed, folder=None if folder is None else Path(folder))


def _side(network: Network, image: Image, seed: int) -> Side:
    found = parse_reference(network_name(network)) if isinstance(network, str | Path) else None
    if found is None:
        own = isinstance(network, Graph | Model)
        model = load_examined(network, seed=seed, image=None if own else image)
        name = model.graph.name if isinstance(network, Graph | Model) else str(network)
        return Side(name, model.graph, model.arrays)
    return _proven(found, image, seed)


def _proven(reference: ModelReference, image: Image, seed: int) -> Side:
    """A user's own model, run as it is beside its graph."""
    shape = () if image is None else (3, image, image) if isinstance(image, int) else tuple(image)
    model = read_model(ReadRequest(reference=reference, image=shape, batch=BATCH, seed=seed))
    plain = PlainNetwork(lower(model.graph), model.arrays, {})
    inputs = [model.inputs[item.name] for item in model.graph.inputs]
    values = values_of(plain, inputs)
    apart = [distance(model.outputs[name], values[value]) for name, value in plain.graph.outputs]
    worst = max(apart, default=0.0)
    if worst <= SAME:
        return Side(str(reference), model.graph, model.arrays, notes=model.notes)
    explained = NetworkValues(plain, inputs, precision("float32"))
    beyond = max(explained.share(value, model.outputs[name]) for name, value in plain.graph.outputs)
    return Side(str(reference), model.graph, model.arrays, worst, beyond, model.notes)
