"""Builds the network of a Keras configuration with layers of ours, to be compared with a network here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from cnnbench.errors import CnnbenchError
from cnnbench.spec.graph import Builder, Graph, Node, Value, is_within
from cnnbench.spec.interchange.keras_config import KerasLayer, KerasModel, Tensor
from cnnbench.spec.layers import Dropout, Layer, Shape
from cnnbench.spec.layers.shape import Transpose
from cnnbench.spec.passes.lowering import lower

PREPARATION = ("Normalization", "Rescaling")  # layers of the network's input, which a caller does here


class NotTranslatedError(Exception):
    """A layer whose computation is not known here; its text says which and why."""


Translation: TypeAlias = "Callable[[Construction, KerasLayer, Sequence[Value]], Sequence[Value]]"


@dataclass
class Construction:
    """A network while it is built, its values in Keras' layout.

    Args:
        builder: Of the graph.
        nodes: Our node by what the file's arrays are called, without their last part.
        prepared: The network's inputs, where layers that prepare images are left out.
        aside: Those layers.
        users: The nodes that use the weights of each of ours, in order.
        version: Of Keras.
        translation: What builds a layer.
        named: Whether layers without weights are called as Keras' and dropouts kept, for a graph that people read.
    """

    builder: Builder
    nodes: Mapping[str, str]
    users: Mapping[str, Sequence[str]]
    version: str
    translation: Callable[[KerasLayer], Translation]
    prepared: set[str] = field(default_factory=set)
    aside: list[str] = field(default_factory=list)
    named: bool = False
    current: str = ""
    _names: set[str] = field(default_factory=set)
    _steps: int = 0
    _made: dict[str, int] = field(default_factory=dict)

    def plain(self, layer: Layer, *values: Value) -> Value:
        """The first output of a layer without weights."""
        self._steps += 1
        name = self._readable(layer) if self.named else f"step_{self._steps}"
        return self.builder.add(name, layer, *values)

    def _readable(self, layer: Layer) -> str:
        """A layer of Keras that is one here has its name; what else it becomes stands below."""
        taken = any(is_within(name, self.current) for name in self._names)
        if layer.kind == "transpose":
            return f"{self.current}_layout_{self._steps}"  # beside a layer that becomes several
        name = f"{self.current}.{layer.kind}" if taken else self.current
        name = f"{name}_{self._steps}" if name in self._names else name
        self._names.add(name)
        return name

    def weighted(self, key: str, layer: Layer, *values: Value) -> tuple[Value, ...]:
        """The outputs of a layer with weights.

        Args:
            key: What the file's arrays are called, without their last part.
            layer: The layer.
            values: What it reads.
        """
        owner = self.nodes.get(key, key)
        call = self._made.get(owner, 0)
        self._made[owner] = call + 1
        users = self.users.get(owner, (owner,))
        name = users[call] if call < len(users) else f"{owner}.call_{call + 1}"
        self._names.add(name)
        return self.builder.add_all(name, layer, *values, weights_of=owner if call else None)

    def moved(self, value: Value, source: int, target: int) -> Value:
        """The value with one axis at another place.

        Args:
            value: The value.
            source: The axis, from the end where it is negative.
            target: Its place, likewise.
        """
        rank = len(value.shape)
        axes = [axis for axis in range(rank) if axis != source % rank]
        axes.insert(target % rank, source % rank)
        return value if axes == list(range(rank)) else self.plain(Transpose(permutation=tuple(axes)), value)


def build_keras(
    model: KerasModel,
    graph: Graph,
    nodes: Mapping[str, str],
    last: Sequence[bool],
    translation: Callable[[KerasLayer], Translation],
) -> tuple[Graph, list[str]]:
    """The model as a graph of primitive kinds, and the layers of it that prepare images, which are not in the graph.

    Inputs, and nodes with weights, are called as those of ``graph``.

    Args:
        model: The configuration.
        graph: Our network, which says the shapes of the inputs.
        nodes: Our node by what the file's arrays are called, without their last part.
        last: For each input, whether ``graph`` has the channels first where Keras has them last.
        translation: What builds a layer.

    Raises:
        NotTranslatedError: A layer is not known, or cannot have inputs of these shapes.
    """
    builder = Builder("keras")
    making = Construction(builder, nodes, graph.sharing, model.version, translation)
    leave_preparation = not any(node.layer.kind == "scalar_affine" for node in _readers(graph))
    inputs = []
    for item, moves in zip(graph.inputs, last, strict=True):
        value = builder.input(item.name, item.shape, dtype=item.dtype, batched=item.batched)
        inputs.append(making.moved(value, 1, -1) if moves else value)
    if not model.sequential and len(model.inputs) != len(inputs):
        raise NotTranslatedError(f"its model has {len(model.inputs)} inputs, {graph.name} has {len(inputs)}")
    making.prepared |= {value.name for value in inputs} if leave_preparation else set()
    outputs = run_model(making, model, inputs)
    return lower(builder.build({f"output_{i}": value for i, value in enumerate(outputs)})), making.aside


def _readers(graph: Graph) -> list[Node]:
    """The nodes that read the network's inputs."""
    consumers = graph.consumers()
    return [node for item in graph.inputs for node in consumers.get(item.name, [])]


def run_model(making: Construction, model: KerasModel, inputs: Sequence[Value]) -> Sequence[Value]:
    """The outputs of a model, whose layers are put into the graph.

    Args:
        making: The network so far.
        model: The configuration.
        inputs: What the model reads, in Keras' layout.

    Raises:
        NotTranslatedError: A layer is not known, or reads a mask.
    """
    _require_no_mask(model)
    if model.sequential:
        values: Sequence[Value] = inputs
        for layer in model.layers:
            values = _outputs(making, layer, values)
        return values
    if len(model.inputs) != len(inputs):
        raise NotTranslatedError(f"a model has {len(model.inputs)} inputs, and is given {len(inputs)}")
    known: dict[Tensor, Value] = dict(zip(model.inputs, inputs, strict=True))
    first = _first_calls(model)
    waiting = [(layer, i) for layer in model.layers for i in range(len(layer.calls))]
    while waiting:
        # calls of one layer in their order, in which its uses are named
        ready = [
            (layer, i)
            for layer, i in waiting
            if all(tensor in known for tensor in layer.calls[i])
            and not any(other is layer and j < i for other, j in waiting)
        ]
        if not ready:
            raise NotTranslatedError(f"{waiting[0][0].name} reads what no layer makes")
        for layer, i in ready:
            found = _outputs(making, layer, [known[tensor] for tensor in layer.calls[i]])
            call = first.get(layer.path[-1], 0) + i
            known |= {(layer.path[-1], call, number): value for number, value in enumerate(found)}
        waiting = [item for item in waiting if item not in ready]
    missing = [tensor[0] for tensor in model.outputs if tensor not in known]
    if missing:
        raise NotTranslatedError(f"no layer makes the output {missing[0]}")
    return [known[tensor] for tensor in model.outputs]


_READ_MASKS = re.compile(
    r"(CuDNN)?(LSTM|GRU)(V[12])?|SimpleRNN|RNN|ConvLSTM[123]D|Bidirectional|TimeDistributed|Softmax|.*Attention|"
    r"GlobalAverage(Pool|Pooling)1D"
)


def _require_no_mask(model: KerasModel) -> None:
    """Masks of sequences travel beside the values, which the graph has alone."""
    layers = list(model.every_layer())
    readers = [layer for layer in layers if _READ_MASKS.fullmatch(layer.cls)]
    for layer in layers:
        masks = layer.cls == "Masking" or (layer.cls == "Embedding" and layer.config.get("mask_zero"))
        if masks and readers:
            raise NotTranslatedError(f"{layer.name} ({layer.cls}): its mask, which {readers[0].name} reads")
        if layer.cls == "Masking" and layer.config.get("mask_value", 0.0) != 0:
            raise NotTranslatedError(f"{layer.name} (Masking): a mask_value other than 0, where it sets values to 0")


def _first_calls(model: KerasModel) -> dict[str, int]:
    """By layer the number of its first call: 1 for a functional model, whose making Keras counts as a call of it."""
    found: dict[str, int] = {}
    read = (tensor for layer in model.layers for call in layer.calls for tensor in call)
    for name, call, _ in (*model.outputs, *read):
        found[name] = min(call, found.get(name, call))
    return found


def _outputs(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    if layer.model is not None:
        return run_model(making, layer.model, values)
    if layer.cls == "InputLayer":
        return values
    if layer.cls in PREPARATION and all(value.name in making.prepared for value in values):
        making.aside.append(layer.name)
        return values
    making.current = layer.name
    if making.named and layer.cls == "Dropout" and layer.config["rate"]:
        return [making.plain(Dropout(p=float(layer.config["rate"])), values[0])]
    try:
        return making.translation(layer)(making, layer, values)
    except CnnbenchError as error:
        raise NotTranslatedError(f"{layer.name} ({layer.cls}): {error.message}") from None
    except (LookupError, TypeError, ValueError) as error:
        raise NotTranslatedError(f"{layer.name} ({layer.cls}): its configuration is not valid: {error}") from None


def channels_move(shape: Shape, theirs: Sequence[int | None] | None, images: bool) -> list[bool]:
    """Whether an input of ours may be that of Keras with its channels moved first, the likelier first.

    Args:
        shape: Of our input, without the batch axis.
        theirs: Of Keras' input, None where it is not stated.
        images: Whether Keras' channels are last and its layers are ones of images.
    """
    choices = [True, False] if images and len(shape) > 1 else [False, True] if len(shape) > 1 else [False]
    if theirs is None:
        return choices
    return [moves for moves in choices if _agree((*shape[1:], shape[0]) if moves else shape, theirs)] or choices[:1]


def _agree(shape: Shape, theirs: Sequence[int | None]) -> bool:
    """Axes of positions may have other sizes."""
    return len(shape) == len(theirs) and (theirs[-1] in (None, shape[-1]) or len(shape) == 1)
