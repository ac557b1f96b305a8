"""The declared example of a layer kind, built: the layer, and a graph that holds it alone."""

from __future__ import annotations

from typing import TypeVar

from cnnbench.errors import SpecError
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers.base import Layer

_Layer = TypeVar("_Layer", bound=Layer)


def example_layer(cls: type[_Layer]) -> _Layer:
    """The layer that a kind declares as its example.

    Raises:
        SpecError: The declared fields are not those of the kind.
    """
    try:
        return cls(**cls.example.fields)
    except TypeError as error:
        raise _invalid(cls, str(error)) from None


def example_graph(cls: type[Layer]) -> Graph:
    """A graph of a kind's example as node ``layer``, with inputs ``input0``, ``input1`` ... and every output.

    Raises:
        SpecError: The kind does not take what it declares.
    """
    layer, shapes = example_layer(cls), cls.example.inputs
    builder = Builder(cls.kind)
    try:
        inputs = [
            builder.input(
                f"input{i}",
                shape[1:] if shape[:1] == (1,) else shape,
                dtype="int" if i in cls.int_inputs else "float",
                batched=shape[:1] == (1,),
            )
            for i, shape in enumerate(shapes)
        ]
        return builder.build(builder.add_all("layer", layer, *inputs))
    except SpecError as error:
        raise _invalid(cls, str(error)) from None


def _invalid(cls: type[Layer], reason: str) -> SpecError:
    declared = ", ".join([*map(str, cls.example.inputs), *(f"{k}={v!r}" for k, v in cls.example.fields.items())])
    return SpecError(
        f"the example of kind {cls.kind!r} is not valid",
        received=f"Example({declared}): {reason}",
        expected="shapes and fields that the kind takes",
        remedy=f"declare example = Example(shape, ..., field=...) in {cls.__name__}",
    )
