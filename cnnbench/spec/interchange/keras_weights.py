"""Fits the weights of Keras' files to a network by names or by order, and holds their configuration against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cnnbench.errors import DataError
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.fitting import Fitted, KerasArrays, expected_shapes
from cnnbench.spec.interchange.keras_adjustments import with_auxiliary, with_defaults, with_epsilons, without_biases
from cnnbench.spec.interchange.keras_arrays import placed
from cnnbench.spec.interchange.keras_comparison import Checked, assumed_orders, check_model
from cnnbench.spec.interchange.keras_names import OTHERWISE, Application, application, known_differences
from cnnbench.spec.interchange.keras_variables import SCALE_OR_SHIFT
from cnnbench.spec.layers import Shape
from cnnbench.spec.passes.lowering import lower
from cnnbench.spec.weights import check_fits

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array

PREPARATION = ("normalization", "rescaling")  # layers of the network's input, which a caller does here
NOT_COMPARED = "the file has no configuration: paddings, strides, activations and epsilons are not compared"


@dataclass(frozen=True)
class _Named:
    """Our node by what the file's arrays are called, without their last part; what is left aside; how it was found."""

    nodes: Mapping[str, str]
    aside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def fit_keras(graph: Graph, arrays: KerasArrays, where: str) -> Fitted:
    """The arrays by the names of ``graph``, with what was changed on the way and what stays different.

    Layers are found by the names of Keras' applications, by the network's own names (those of a nested model with or
    without the model's), or else in their order where the two networks then compute the same. What leaves every
    prediction as it was is done: rows of a linear layer take our order of channels, a convolution's bias moves into
    the mean of the norm behind it, another epsilon into its variance, a missing scale is 1. What the file's
    configuration computes otherwise is a difference.

    Args:
        graph: The network.
        arrays: By layer and role, as the reader of Keras' files gives them.
        where: What messages call the file.

    Raises:
        DataError: With the list of what does not fit.
    """
    if graph.name in OTHERWISE:
        raise DataError(
            f"{graph.name} is not Keras' network, which has the stride of a block in its first convolution",
            where=where,
            remedy=f"import it as {OTHERWISE[graph.name]}",
        )
    _refuse_unnamed(arrays, where)
    known, expected = application(graph.name), expected_shapes(graph)
    named = _by_name(graph, arrays, known, expected, where)
    if not named.nodes and arrays.model is not None:
        named, checked = _by_order(graph, arrays, expected, where)
    elif arrays.model is not None:
        checked = check_model(graph, arrays.model, named.nodes)
    else:
        checked = assumed_orders(graph)
        checked = checked if known else replace(checked, notes=(NOT_COMPARED, *checked.notes))
    differences = known_differences(graph, known) if arrays.model is None else checked.comparison.differences
    notes = [*named.notes, *checked.notes]
    found = _renamed(arrays, named)
    found = placed(lower(graph), found, checked.comparison.orders, expected)
    for change in (with_defaults, without_biases, with_auxiliary):
        notes += change(lower(graph), found, expected)
    epsilon = known.epsilon if known is not None and arrays.model is None else None
    notes += with_epsilons(lower(graph), found, checked.comparison.epsilons, epsilon)
    check_fits(graph, found, where=where)
    return Fitted({name: found[name] for name in expected}, tuple(notes), tuple(differences))


def _refuse_unnamed(arrays: KerasArrays, where: str) -> None:
    unknown = [name for name in arrays if name.endswith(f".{SCALE_OR_SHIFT}")]
    if unknown:
        raise DataError(
            "a normalisation has a scale or a shift alone, and only a configuration tells which",
            where=where,
            received=", ".join(unknown[:8]),
            expected="a file with the model's configuration",
            remedy="save the whole model: model.save('model.keras')",
        )


def _renamed(arrays: KerasArrays, named: _Named) -> dict[str, Array]:
    found = {}
    for name, array in arrays.items():
        layer, _, role = name.rpartition(".")
        if layer not in named.aside:
            found[f"{named.nodes.get(layer, layer)}.{role}"] = array
    return found


def _by_name(
    graph: Graph, arrays: KerasArrays, known: Application | None, expected: Mapping[str, Shape], where: str
) -> _Named:
    """Our node for each layer of the file: by an application's names, by its own, or by those of nested models.

    Raises:
        DataError: Two layers of the file have the name of one node.
    """
    owners = {name.rpartition(".")[0] for name in expected}
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in arrays))
    nodes: dict[str, str] = {}
    depth = max((layer.count(".") for layer in layers), default=0)
    for level in range(depth + 1):  # without the names of the models around it
        short = {layer: layer.split(".", level)[-1] for layer in layers if layer.count(".") >= level}
        of_application = known.names(graph, list(short.values())) if known else {}
        for layer, name in short.items():
            node = of_application.get(name, name)
            if node in owners and layer not in nodes:
                nodes[layer] = node
    doubled = [layer for layer, node in nodes.items() if list(nodes.values()).count(node) > 1]
    if doubled:
        raise DataError(
            "two layers of the file have the name of one node",
            where=where,
            received=", ".join(doubled[:8]),
            remedy="rename one of the layers, or the network's nodes to the names with their models'",
        )
    aside = tuple(layer for layer in layers if layer.split(".")[-1].startswith(PREPARATION) and layer not in nodes)
    notes = (f"left aside: {', '.join(aside)}; prepare the images as those layers do",) if aside else ()
    if arrays.model is not None:
        notes = ()  # the comparison with the configuration says it
    random = tuple(name.rpartition(".")[0] for name in arrays if name.endswith("seed_generator_state"))
    return _Named(nodes, (*aside, *random), notes)


def _by_order(graph: Graph, arrays: KerasArrays, expected: Mapping[str, Shape], where: str) -> tuple[_Named, Checked]:
    """Pairs of layers and nodes in their order, where the file's network then computes what ours does.

    Raises:
        DataError: It does not, or there are not as many.
    """
    named = _by_name(graph, arrays, None, expected, where)
    layers = [layer for layer in dict.fromkeys(name.rpartition(".")[0] for name in arrays) if layer not in named.aside]
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in expected))
    problem = f"{len(layers)} layers with weights, here {len(owners)}"
    if len(layers) == len(owners) and arrays.model is not None:
        nodes = dict(zip(layers, owners, strict=True))
        checked = check_model(graph, arrays.model, nodes)
        if not checked.comparison.differences:
            note = f"by order, as no layer has a name of {graph.name}'s; both networks then compute the same"
            return _Named(nodes, named.aside, (note, *named.notes)), checked
        problem = "in order, " + "; ".join(checked.comparison.differences[:6])
    raise DataError(
        f"no layer of the file has a name of {graph.name}'s, and in their order they do not fit it",
        where=where,
        received=f"{', '.join(layers[:6])}{' …' if len(layers) > 6 else ''}: {problem}",
        expected=", ".join(owners[:6]) + (" …" if len(owners) > 6 else ""),
        remedy="give the layers and the network's nodes the same names",
    )
