"""What a backend registers for each layer kind: a forward function and, for NumPy, a backward one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from cnnbench.errors import UnavailableError
from cnnbench.execution.gaps import Gap
from cnnbench.execution.layout_change import LayoutChange
from cnnbench.registry import Implementation
from cnnbench.spec.layers import Layer

Array = Any  # a value of the backend's framework


class Call(NamedTuple):
    """The context of one call of an op: the kind of pass, the layout of operands, and the dropout masks.

    Args:
        training: Whether this is a training pass, with batch statistics and dropout.
        channels_last: Whether operands of rank 3 and more are (N, *spatial, C). Weights are as the op's
            ``WeightLayout`` made them for this flag.
        masks: The node's dropout masks of zeros and ones, in the layout of its inputs; () where none is applied.
    """

    training: bool
    channels_last: bool
    masks: tuple[Array, ...] = ()

    def channel_axis(self, rank: int) -> int:
        """The channel axis of an operand with ``rank`` axes."""
        return rank - 1 if self.channels_last and rank > 2 else 1

    def axis(self, canonical: int, rank: int) -> int:
        """Where an axis of the canonical layout (N, C, *spatial) is in an operand with ``rank`` axes.

        >>> Call(training=False, channels_last=True).axis(1, rank=4)
        3
        """
        canonical %= rank
        if not self.channels_last or rank <= 2 or canonical == 0:
            return canonical
        return rank - 1 if canonical == 1 else canonical - 1

    def axes(self, canonical: tuple[int, ...], rank: int) -> tuple[int, ...]:
        """``axis`` of each of several canonical axes, in ascending order."""
        return tuple(sorted(self.axis(axis, rank) for axis in canonical))

    def order_after_removal(self, canonical: tuple[int, ...], rank: int) -> tuple[int, ...] | None:
        """The transposition that a reduction's result needs after axes of a channels-last operand were removed.

        A result with 3 and more axes must be channels-last again; one with 2 axes is (N, C).

        Args:
            canonical: The removed axes, in the canonical layout.
            rank: Number of axes of the operand.

        Returns:
            The permutation of the result's axes, or None where none is needed.
        """
        gone = {axis % rank for axis in canonical}
        left = [axis for axis in range(rank) if axis not in gone]
        found = sorted(left, key=lambda axis: self.axis(axis, rank))
        wanted = sorted(left, key=lambda axis: self.axis(left.index(axis), len(left)))
        return None if found == wanted else tuple(found.index(axis) for axis in wanted)

    def per_axis(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Values of the canonical axes (N, C, *spatial), such as strides, put into the order of the operand's axes.

        >>> Call(training=False, channels_last=True).per_axis(("n", "c", "h", "w"))
        ('n', 'h', 'w', 'c')
        """
        rank = len(values)
        moved: list[Any] = [None] * rank
        for canonical, value in enumerate(values):
            moved[self.axis(canonical, rank)] = value
        return tuple(moved)


class OpResult(NamedTuple):
    """The outputs of an op, its new running statistics, and what its backward function needs.

    Args:
        outputs: One value for each output of the layer.
        state: The running statistics after the call, in the order of ``Layer.state``; () where they do not change.
        saved: What the backward function needs; None in backends that differentiate by themselves.
    """

    outputs: tuple[Array, ...]
    state: tuple[Array, ...] = ()
    saved: Any = None


class Gradients(NamedTuple):
    """The gradients of a layer's inputs and weights, in their order; None for one that has no gradient."""

    inputs: tuple[Array | None, ...]
    weights: tuple[Array | None, ...] = ()


Forward = Callable[[Any, tuple[Array, ...], tuple[Array, ...], tuple[Array, ...], Call], OpResult]
"""An op, ``op(layer, inputs, weights, state, call) -> OpResult``. Its parameters have these names in every backend.

Args:
    layer: The resolved layer: strides, padding and axes are explicit numbers.
    inputs: The operands: (N, *spatial, C) where ``call.channels_last`` is true, else (N, C, *spatial).
    weights: The weights in the order of ``Layer.weights``, each in the layout that the op's ``WeightLayout`` gives.
    state: Running statistics in the order of ``Layer.state``. An op must not change them in place.
    call: The kind of pass, the layout of operands, and the dropout masks.
"""
Backward = Callable[[Any, Any, tuple[Array, ...], tuple[Array, ...], Call], Gradients]
"""The vector-Jacobian product of an op: ``backward(layer, saved, gradients, weights, call) -> Gradients``; NumPy only.

Args:
    layer, weights, call: The same as the op received.
    saved: ``OpResult.saved`` of the forward call.
    gradients: The cotangents of the outputs.
"""


@dataclass(frozen=True)
class WeightLayout:
    """Converts a layer's weights between the canonical layout and the layout that a backend's op takes.

    The conversion permutes elements, once, when weights are loaded. For example, a channels-last convolution takes
    HWIO where the canonical layout is OIHW. Both functions are (layer, weight name, host array, channels_last) ->
    host array.

    Args:
        to_native: Canonical layout to the op's layout.
        to_canonical: The inverse.
    """

    to_native: Callable[[Any, str, Any, bool], Any]
    to_canonical: Callable[[Any, str, Any, bool], Any]


def _same(layer: Layer, name: str, array: Any, channels_last: bool) -> Any:
    return array


CANONICAL_WEIGHTS = WeightLayout(_same, _same)


@dataclass(frozen=True)
class Operation:
    """The implementation of one layer kind in one backend.

    Args:
        forward: The op.
        backward: Its vector-Jacobian product; None where the framework differentiates.
        weight_layout: The layout of the weights that the op takes.
    """

    forward: Forward
    backward: Backward | None = None
    weight_layout: WeightLayout = CANONICAL_WEIGHTS


_F = TypeVar("_F", bound=Callable[..., Any])


class Operations:
    """The table of a backend's ops, by layer kind.

    >>> operations = Operations("example")
    >>> @operations.register("relu")
    ... def relu(layer, inputs, weights, state, call):
    ...     return OpResult((max(inputs[0], 0),))
    """

    def __init__(self, backend: str, base: Operations | None = None) -> None:
        self.backend = backend
        self._table: dict[str, Operation] = dict(base._table) if base else {}
        self._gaps: list[Gap] = list(base._gaps) if base else []
        self.givers: dict[str, Implementation] = dict(base.givers) if base else {}  # of ops that plugins added

    def register(
        self, kind: str, *, backward: Backward | None = None, weight_layout: WeightLayout = CANONICAL_WEIGHTS
    ) -> Callable[[_F], _F]:
        """A decorator that makes a function the op of a kind; a later registration replaces an earlier one.

        Args:
            kind: The layer kind.
            backward: The vector-Jacobian product, where the framework does not differentiate.
            weight_layout: The layout of the weights that the op takes; canonical by default.
        """

        def decorate(function: _F) -> _F:
            self._table[kind] = Operation(function, backward, weight_layout)
            return function

        return decorate

    def lacks(self, kind: str, reason: str, **fields: Any) -> None:
        """Declares a ``Gap``, a kind or configurations that the backend does not support; ``fields`` restrict it."""
        self._gaps.append(Gap(kind, reason, **fields))

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The unsupported configurations that ``lacks`` declared."""
        return tuple(self._gaps)

    def gap(self, layer: Layer, precision: str, mode: str, *, gradient: bool = False) -> str | None:
        """Why the backend does not support a layer, or None where it does.

        Args:
            layer: A layer of any kind.
            precision: Name of the precision policy.
            mode: The backend's mode.
            gradient: Whether the program differentiates.
        """
        found = (gap.reason for gap in self._gaps if gap.meets(layer, precision, mode, gradient=gradient))
        return next(found, None)

    def replace(self, kind: str, operation: Operation) -> Operations:
        """A copy of the table with another implementation of ``kind``, as fault injection needs it."""
        other = Operations(self.backend, self)
        other._table[kind] = operation
        return other

    def specialized(self, general: Operations, special: Operations) -> Operations:
        """A copy in which the ops of ``special`` take the place of the ops of ``general``.

        An op that is no longer the one of ``general``, such as an injected fault, is kept.

        Args:
            general: The table from which this one was made.
            special: The ops to run instead.
        """
        other = Operations(self.backend, self)
        for kind, operation in special._table.items():
            if kind in self._table and self._table[kind] is general._table.get(kind):
                other._table[kind] = operation
        return other

    @property
    def kinds(self) -> frozenset[str]:
        """The implemented layer kinds, without the change of layout that binding inserts."""
        return frozenset(self._table) - {LayoutChange.kind}

    def __getitem__(self, kind: str) -> Operation:
        try:
            return self._table[kind]
        except KeyError:
            raise UnavailableError(
                f"backend {self.backend!r} does not implement layer kind {kind!r}",
                remedy="run without this backend, or register an op for the kind",
            ) from None

    def __contains__(self, kind: object) -> bool:
        return kind in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._table))
