"""A model of Keras as a graph of its own: its configuration built with layers here, its arrays by its layers' names."""

from __future__ import annotations

from collections.abc import Sequence

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.interchange.fitting import KerasArrays, expected_shapes
from cnnbench.spec.interchange.keras_adjustments import with_defaults
from cnnbench.spec.interchange.keras_arrays import placed, stated_arrays
from cnnbench.spec.interchange.keras_builder import Construction, NotTranslatedError, run_model
from cnnbench.spec.interchange.keras_config import KerasModel
from cnnbench.spec.interchange.keras_layers import noises, translation
from cnnbench.spec.interchange.model_readers import GivenInputs, ReadModel, Unread
from cnnbench.spec.layers import Shape
from cnnbench.spec.passes.layout import channels_first
from cnnbench.spec.passes.lowering import lower
from cnnbench.spec.weights import check_fits

HELP = (
    "put what such a layer computes into Keras' own layers; export the model to ONNX, which other operators are read "
    "from; or compare activations: cnnbench port accepts a file .npz"
)


def read_configuration(found: KerasArrays, given: GivenInputs, name: str) -> ReadModel:
    """The model as a graph whose inputs, and outputs with positions, have their channels first.

    Args:
        found: Its configuration and its arrays.
        given: What is known of its inputs.
        name: What the graph is called.

    Raises:
        SpecError: Its structure is in code; layers are not read, all of them named; a size is open and not given.
    """
    model = found.model
    if model is None:
        raise SpecError(
            "the structure of the Keras model is in code: it is a subclass of Model",
            remedy="build it with keras.Sequential or keras.Model(inputs, outputs)",
        )
    _require_translations(model)
    last = has_channels_last(model)
    builder = Builder(name)
    making = Construction(builder, found.shared, {}, model.version, translation, named=True)
    inputs = _inputs(builder, making, model, given, last=last)
    try:
        outputs = run_model(making, model, inputs)
    except NotTranslatedError as error:
        unread = Unread("Keras", [("", str(error))])
        raise unread.error(HELP) from None
    making.current = "output"
    outputs = [making.moved(value, -1, 1) if last and len(value.shape) > 2 else value for value in outputs]
    named = {"output": outputs[0]} if len(outputs) == 1 else {f"output{i}": item for i, item in enumerate(outputs)}
    graph = channels_first(lower(builder.build(named)))
    expected = expected_shapes(graph)
    arrays = placed(graph, {**found, **stated_arrays(model)}, {}, expected)
    notes = with_defaults(graph, arrays, expected)
    arrays = {key: arrays[key] for key in expected if key in arrays}
    check_fits(graph, arrays, where=name)
    return ReadModel(graph, arrays, tuple(notes), noises=tuple(noises(model)))


def has_channels_last(model: KerasModel) -> bool:
    """Whether the model's layers work on images whose channels come last."""
    layers = list(model.every_layer())
    images = any("Conv" in layer.cls or "Pool" in layer.cls or "UpSampling" in layer.cls for layer in layers)
    images = images or any(len(shape) > 2 for shape in model.input_shapes())
    return images and not any(layer.config.get("data_format") == "channels_first" for layer in layers)


def _require_translations(model: KerasModel) -> None:
    unread = Unread("Keras")
    for layer in model.every_layer():
        if layer.cls in ("InputLayer", "Dropout"):
            continue
        try:
            translation(layer)
        except NotTranslatedError as error:
            unread.parts.append((layer.name, str(error).partition(": ")[2]))
    if unread.parts:
        raise unread.error(HELP)


def _inputs(
    builder: Builder, making: Construction, model: KerasModel, given: GivenInputs, *, last: bool
) -> Sequence[Value]:
    names = ["input"] if model.sequential else [tensor[0] for tensor in model.inputs]
    shapes = model.input_shapes() or [()]
    values = []
    making.current = "input"
    embeds = model.layers and any(layer.cls == "Embedding" for layer in model.every_layer())
    for i, (name, stated) in enumerate(zip(names, shapes, strict=True)):
        shape = _shape(stated, given, i, last=last)
        moves = last and len(shape) > 1
        value = builder.input(name, (shape[-1], *shape[:-1]) if moves else shape, dtype="int" if embeds else "float")
        values.append(making.moved(value, 1, -1) if moves else value)
    return values


def _shape(stated: Sequence[int | None], given: GivenInputs, position: int, *, last: bool) -> Shape:
    """Of an input in Keras' layout."""
    known = tuple(size for size in stated if size is not None)
    if stated and len(known) == len(stated) and not (given.image and position == 0):
        return known
    if position == 0 and given.image:
        return (*given.image[1:], given.image[0]) if last and len(given.image) > 1 else given.image
    shapes = given.require("a Keras model with open sizes")
    return shapes[position]
