"""What every layer kind has: fields, shape rule, weights, state, masks, MACs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from cnnbench.errors import FieldError, SpecError
from cnnbench.spec.layers.arrays import MaskSpec, Shape, Signal, WeightSpec

Shapes = tuple[Shape, ...]
LayoutRule = Literal["spatial", "follow", "canonical"]
Dtype = Literal["float", "int"]
Dtypes = tuple[Dtype, ...]


class Window(NamedTuple):
    """The sliding window of a layer, per spatial axis, for the receptive field."""

    kernel_size: Shape
    stride: Shape
    dilation: Shape


class Example:
    """A layer with inputs that it takes: what listings show, and what a case of the conformance tests is made from.

    Args:
        inputs: The full shape of each input. A first axis of 1 is the batch, which may be made larger.
        fields: The layer's fields, as far as they are to differ from their defaults.
    """

    def __init__(self, *inputs: Shape, **fields: Any) -> None:
        self.inputs: Shapes = inputs
        self.fields: Mapping[str, Any] = MappingProxyType(fields)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer kind: a value that says what is computed, and nothing of how.

    Subclasses are frozen keyword-only dataclasses declared with their kind: ``class ReLU(Layer, kind="relu")``.
    The subclass is registered under that name, which JSON, YAML and backends use.

    Class attributes:
        kind: The registered name.
        family: The stem of the module that defines it, which is also the stem of each backend's ops file.
        num_inputs: The least and the largest number of inputs (None: no limit).
        layout_rule: ``spatial``: operands of rank 3 and more are images, which a backend may hold channels-last;
            ``follow``: works in whichever layout its operands have; ``canonical``: always channels-first.
        differentiable: Whether gradients with respect to the inputs exist.
        int_inputs: The positions of inputs that hold integers (indices); the others hold floats.
        no_gradient_to: The positions of float inputs to which no gradient goes by definition, though outputs depend
            on them: boxes that say where to look.
        example: Fields and input shapes with which the kind can be shown and tried; integers in inputs are 0 or 1.
        is_composite: Whether primitives make the layer up (``spec.composites``), so that its name is a scope.
        is_shipped: Whether the kind is one of those that cnnbench itself offers to networks.
        moves: Whether the layer only moves values: its first input, and so its outputs, may be of either dtype.
    """

    kind: ClassVar[str] = ""
    family: ClassVar[str] = ""
    num_inputs: ClassVar[tuple[int, int | None]] = (1, 1)
    layout_rule: ClassVar[LayoutRule] = "follow"
    differentiable: ClassVar[bool] = True
    int_inputs: ClassVar[tuple[int, ...]] = ()
    no_gradient_to: ClassVar[tuple[int, ...]] = ()
    moves: ClassVar[bool] = False
    is_composite: ClassVar[bool] = False
    is_shipped: ClassVar[bool] = False
    example: ClassVar[Example] = Example((1, 4, 6, 6))

    def __init_subclass__(cls, *, kind: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind is not None:
            known = _KINDS.get(kind)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise SpecError(f"layer kind {kind!r} is defined twice", received=cls, expected=f"only {known}")
            if taken := sorted(OF_NODES.intersection(cls.__annotations__)):
                raise SpecError(
                    f"layer kind {kind!r} has a field of a name that says something of its node",
                    received=", ".join(taken),
                    expected=f"another name than {', '.join(sorted(OF_NODES))}",
                    remedy="a node in JSON and in YAML holds its own name beside the layer's fields: rename the field",
                )
            cls.kind = kind
            package, _, cls.family = cls.__module__.rpartition(".")
            cls.is_shipped = package.startswith("cnnbench.spec.")
            _KINDS[kind] = cls

    def resolve(self, inputs: Shapes) -> Self:
        """The same layer with every default and shorthand replaced by explicit numbers for these input shapes.

        Graphs hold resolved layers only, so that ops never interpret ``3`` against ``(3, 3)`` or ``"same"``.
        Raises ``SpecError`` where a field is invalid for the inputs.
        """
        return self

    def output_shapes(self, inputs: Shapes) -> Shapes:
        """The shapes of the outputs, batch axis first. The layer is resolved."""
        return (inputs[0],)

    def output_dtypes(self, inputs: Dtypes, count: int) -> Dtypes:
        """The dtypes of the ``count`` outputs: floats, or for a layer that moves values those of its first input."""
        return (inputs[0] if self.moves and inputs else "float",) * count

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        """The weights, in the order in which ops receive them."""
        return ()

    def state(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        """The running statistics, in the order in which ops receive and return them."""
        return ()

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        """About how large the outputs are, for weights in general position and inputs of these sizes.

        Weights in general position are scaled by it, so that a signal keeps its size through a deep network. By
        default as large as the largest input. Rather too large than too small: an estimate that is too small lets the
        signal grow from layer to layer.
        """
        return max(inputs, default=Signal(1.0))

    def masks(self, inputs: Shapes) -> tuple[MaskSpec, ...]:
        """The random program inputs of a training pass."""
        return ()

    def macs(self, inputs: Shapes, outputs: Shapes) -> int:
        """Multiply-accumulates of convolutions and linear layers for these shapes, the batch included."""
        return 0

    def macs_attention(self, inputs: Shapes, outputs: Shapes) -> int:
        """Multiply-accumulates of attention's products of two activations, counted apart."""
        return 0

    def window(self) -> Window | None:
        """The sliding window, None where an output sees one position (or, if ``is_global``, all) of its input."""
        return None

    def window_on(self, inputs: Shapes) -> Window | None:
        """The sliding window where it depends on the input's size; else ``window()``."""
        return self.window()

    def num_indices(self, inputs: Shapes) -> int:
        """How many places its inputs of integers choose among, from 0 on; 0 and 1 are right for every layer."""
        return 2

    def is_global(self) -> bool:
        """Whether an output value sees every position of its input."""
        return False

    def fields(self) -> dict[str, Any]:
        """The fields as plain data, tuples as lists, for JSON and YAML."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


OF_NODES = frozenset({"name", "kind", "inputs", "weights_of"})  # keys of a node in JSON and YAML
_KINDS: dict[str, type[Layer]] = {}


def defined_kinds() -> Mapping[str, type[Layer]]:
    """Every kind that an imported module has defined, by name; ``spec.kinds`` imports those that are shipped."""
    return MappingProxyType(_KINDS)


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def require_int(value: object, field: str, *, least: int) -> int:
    """``value`` as an int of at least ``least``, else a SpecError that names the field.

    Args:
        value: What was given.
        field: What the error calls it.
        least: The smallest that is valid.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise FieldError(field, received=repr(value), expected=f"an integer of at least {least}")
    return value


def require_rank(shape: Shape, kind: str, *, least: int, most: int | None = None) -> None:
    """Raises SpecError unless the rank of ``shape`` (batch axis included) lies within the limits.

    Args:
        shape: Of the input, as (N, C, *spatial).
        kind: The layer's, for the error.
        least: The smallest rank that is valid.
        most: The largest; None where there is none.
    """
    if len(shape) < least or (most is not None and len(shape) > most):
        limits = f"rank {least}" if least == most else f"rank {least} to {most}" if most else f"rank {least} or more"
        raise SpecError(f"{kind} cannot take an input of rank {len(shape)}", received=shape, expected=limits)


def require_one_of(value: object, field: str, options: Sequence[object]) -> None:
    """Raises SpecError unless ``value`` is one of ``options``.

    Args:
        value: What was given.
        field: What the error calls it.
        options: The values that are valid.
    """
    if value not in options:
        raise FieldError(field, received=repr(value), expected=f"one of {', '.join(map(repr, options))}")
