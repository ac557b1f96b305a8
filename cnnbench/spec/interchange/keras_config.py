"""A model's configuration as Keras 2 and 3 write it: its layers by their place, and what each of them reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# A tensor: the layer that made it, which of its calls, and which of that call's results.
Tensor = tuple[str, int, int]
_INSIDE = ("layer", "forward_layer", "backward_layer", "cell")  # what wrappers keep of layers
OWN_CLASS = "Custom>"  # before the name of a class that is not Keras'


@dataclass(frozen=True)
class KerasLayer:
    """A layer of a model.

    Args:
        path: Its name, behind those of the models that it is in.
        cls: Its class, behind ``OWN_CLASS`` where Keras 3 says that it is the user's own.
        config: Its own configuration; ``operands`` are the numbers that an operation is called with, None for a tensor.
        calls: The tensors that each of its calls reads; empty in a sequential model.
        model: What it holds, where it is a model itself.
    """

    path: tuple[str, ...]
    cls: str
    config: Mapping[str, Any]
    calls: tuple[tuple[Tensor, ...], ...]
    model: KerasModel | None

    @property
    def name(self) -> str:
        """As messages and arrays call it."""
        return ".".join(self.path)


@dataclass(frozen=True)
class KerasModel:
    """A model.

    Args:
        layers: In the order of the configuration.
        inputs, outputs: The tensors that it reads and gives; empty in a sequential model.
        version: Of Keras, ``""`` where the file does not tell.
        sequential: Whether each layer reads the one before it.
    """

    layers: tuple[KerasLayer, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    version: str
    sequential: bool

    def every_layer(self) -> Iterator[KerasLayer]:
        """Each layer that is no model, those of nested models in their place."""
        for layer in self.layers:
            if layer.model is None:
                yield layer
            else:
                yield from layer.model.every_layer()

    def input_shapes(self) -> list[tuple[int | None, ...]]:
        """Of the inputs without the batch axis, where the configuration tells."""
        named = {layer.path[-1]: layer for layer in self.layers}
        first = self.layers[:1] if self.sequential else [named[name] for name, _, _ in self.inputs if name in named]
        found = [_shape_of(layer) for layer in first]
        return [shape for shape in found if shape is not None]


def parse_model(content: Any, version: str = "") -> KerasModel | None:
    """The model of a configuration, None where its structure is in code that the file has not (a subclass of Model).

    Args:
        content: The JSON of ``config.json``, or of the attribute ``model_config``.
        version: Of Keras.

    Raises:
        ValueError: It is no configuration of a model.
    """
    try:
        config = content["config"]
        if isinstance(config, list):  # Keras 1 and early 2 wrote a sequential model as a list
            if not config:
                raise ValueError("its configuration is no model's: it has no layers")
            config = {"layers": config}
        if "layers" not in config:
            content["class_name"]
            return None
        return _model(content, config, version, ())
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its configuration is no model's: {error}") from None


def _model(content: Mapping[str, Any], config: Mapping[str, Any], version: str, path: tuple[str, ...]) -> KerasModel:
    layers = tuple(_layer(item, version, path) for item in config["layers"])
    sequential = "output_layers" not in config
    inputs, outputs = (tuple(_references(config.get(f"{side}_layers", []))) for side in ("input", "output"))
    return KerasModel(layers, inputs, outputs, version, sequential)


def _layer(item: Mapping[str, Any], version: str, path: tuple[str, ...]) -> KerasLayer:
    config = item["config"]
    name = str(config["name"] if isinstance(config, Mapping) and "name" in config else item["name"])
    own = (*path, name)
    model = None
    if isinstance(config, Mapping) and "layers" in config:
        model = _model(item, config, version, own)
    elif isinstance(config, list):
        model, config = _model(item, {"layers": config}, version, own), {}
    calls = tuple(tuple(_tensors(call)) for call in item.get("inbound_nodes", []))
    if numbers := [found for call in item.get("inbound_nodes", []) if (found := _operands(call))]:
        config = {**config, "operands": numbers}
    return KerasLayer(own, _class(item), config, calls, model)


def _class(item: Mapping[str, Any]) -> str:
    """Keras 3 says from which module a class is: a user's may be called as a layer of Keras."""
    cls = str(item["class_name"])
    elsewhere = "module" in item and not f"{item['module']}.".startswith("keras.")
    return OWN_CLASS + cls if elsewhere and item.get("registered_name") is not None else cls


def _operands(call: Any) -> list[float | None]:
    """The operands of a call of Keras 3, where some are numbers: those, and None for each of the others."""
    found = call.get("args", []) if isinstance(call, Mapping) else []
    numbers = [item if isinstance(item, int | float) and not isinstance(item, bool) else None for item in found]
    return numbers if any(number is not None for number in numbers) else []


def _tensors(call: Any) -> Iterator[Tensor]:
    """Those that a call reads: of Keras 3 objects, of Keras 2 lists of a name and two numbers."""
    if isinstance(call, Mapping) and call.get("class_name") == "__keras_tensor__":
        yield from _references(call["config"]["keras_history"])
    elif isinstance(call, Mapping):
        for value in call.values():
            yield from _tensors(value)
    elif isinstance(call, list):
        own = list(_references(call[:3])) if _is_reference(call) else []
        yield from own
        for value in call[3:] if own else call:
            yield from _tensors(value)


def _is_reference(found: Any) -> bool:
    return (
        isinstance(found, list)
        and len(found) >= 3
        and isinstance(found[0], str)
        and all(isinstance(number, int) and not isinstance(number, bool) for number in found[1:3])
    )


def _references(found: Any) -> Iterator[Tensor]:
    if _is_reference(found):
        yield found[0], found[1], found[2]
    elif isinstance(found, Mapping):
        for value in found.values():
            yield from _references(value)
    elif isinstance(found, list):
        for value in found:
            yield from _references(value)


def _shape_of(layer: KerasLayer) -> tuple[int | None, ...] | None:
    if layer.model is not None:
        return next(iter(layer.model.input_shapes()), None)
    for key in ("batch_shape", "batch_input_shape"):
        shape = layer.config.get(key)
        if isinstance(shape, list):
            return tuple(shape[1:])
    return None


def wrapped(config: Mapping[str, Any]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """The class and configuration of the layers that a wrapper keeps (``Bidirectional``, ``TimeDistributed``, ``RNN``).

    Args:
        config: Of the wrapper.
    """
    return {
        key: (str(config[key]["class_name"]), config[key]["config"])
        for key in _INSIDE
        if isinstance(config.get(key), Mapping) and "class_name" in config[key]
    }
