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
from cnnbench.porting.reading import UserModel, read_model
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
        train: Whether fields that change training only count (momentum, dropout's rate, the kept variance), and
            gradients and a forward pass in training mode are compared: of users' own models by their framework.
        seed: Of the images, and of weights where a network has none of its own.
        folder: Where a file goes that reproduces the first node where they part; None for nowhere.

    Raises:
        SpecError, DataError: A network cannot be read, or they take different inputs.
    """
    if str(candidate).lower().endswith(SUFFIX):
        found = read_activations(Path(str(candidate)))
        return compare_activations(_side(reference, image, seed), str(candidate), found)
    sides = (_side(network, image, seed, train=train) for network in (reference, candidate))
    return compare_networks(*sides, training=train, seed=seed, folder=None if folder is None else Path(folder))


def _side(network: Network, image: Image, seed: int, *, train: bool = False) -> Side:
    found = parse_reference(network_name(network)) if isinstance(network, str | Path) else None
    if found is None:
        own = isinstance(network, Graph | Model)
        model = load_examined(network, seed=seed, image=None if own else image)
        name = model.graph.name if isinstance(network, Graph | Model) else str(network)
        return Side(name, model.graph, model.arrays)
    return _proven(found, image, seed, train=train)


def _proven(reference: ModelReference, image: Image, seed: int, *, train: bool) -> Side:
    """A user's own model, run as it is beside its graph."""
    shape = () if image is None else (3, image, image) if isinstance(image, int) else tuple(image)
    asked = ReadRequest(reference=reference, image=shape, batch=BATCH, seed=seed, training=train)
    model = read_model(asked)
    plain = PlainNetwork(lower(model.graph), model.arrays, {})
    inputs = [model.inputs[item.name] for item in model.graph.inputs]
    values = values_of(plain, inputs)
    apart = [distance(model.outputs[name], values[value]) for name, value in plain.graph.outputs]
    worst = max(apart, default=0.0)
    if worst <= SAME:
        notes = (*model.notes, *(_unread_gradients(model) if train else ()))
        return Side(
            str(reference),
            model.graph,
            model.arrays,
            notes=notes,
            noises=model.noises,
            gradients=model.gradients,
            trained=model.trained,
            untrained=_untrained(model),
        )
    explained = NetworkValues(plain, inputs, precision("float32"))
    beyond = max(explained.share(value, model.outputs[name]) for name, value in plain.graph.outputs)
    loss = "the model computes less accurately than float64"
    lossy = (f"its gradients are its graph's: {loss}",) if train else ()
    return Side(
        str(reference), model.graph, model.arrays, worst, beyond, (*model.notes, *lossy), model.noises, untrained=loss
    )


def _untrained(model: UserModel) -> str:
    """Why a model has no training pass, "" where it has one."""
    if model.untrained:
        return f"it cannot be run in training mode: {model.untrained}"
    return "" if model.trained is not None else f"a {model.framework} model of this kind is its inference alone"


def _unread_gradients(model: UserModel) -> list[str]:
    """The weights whose gradients are not compared with the model's own."""
    if model.gradients is None:
        return [f"its gradients are its graph's: a {model.framework} model of this kind is not differentiated"]
    names = [item.name for item in model.graph.named_weights() if item.name not in model.gradients.weights]
    text = f"gradients are not compared of weights that are no weights of the model as they are: {', '.join(names[:8])}"
    return [text + (f" and {len(names) - 8} more" if len(names) > 8 else "")] if names else []
