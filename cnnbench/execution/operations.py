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
    """What an op is given beside its operands.

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
        """The axis of channels in an operand of this rank."""
        return rank - 1 if self.channels_last and rank > 2 else 1

    def axis(self, canonical: int, rank: int) -> int:
        """The axis of an operand of this rank that is ``canonical`` in (N, C, *spatial).

        >>> Call(training=False, channels_last=True).axis(1, rank=4)
        3
        """
        canonical %= rank
        if not self.channels_last or rank <= 2 or canonical == 0:
            return canonical
        return rank - 1 if canonical == 1 else canonical - 1

    def axes(self, canonical: tuple[int, ...], rank: int) -> tuple[int, ...]:
        """``axis`` of several axes, sorted."""
        return tuple(sorted(self.axis(axis, rank) for axis in canonical))

    def order_after_removal(self, canonical: tuple[int, ...], rank: int) -> tuple[int, ...] | None:
        """How to permute the result of a reduction that removes axes from an operand of this rank.

        A result of rank 3 and more must be channels-last where the operand is, and one of rank 2 canonical.

        Args:
            canonical: The axes that are removed, in the canonical layout.
            rank: The operand's, before.

        Returns:
            The permutation, or None where the result already lies as it must.
        """
        gone = {axis % rank for axis in canonical}
        left = [axis for axis in range(rank) if axis not in gone]
        found = sorted(left, key=lambda axis: self.axis(axis, rank))
        wanted = sorted(left, key=lambda axis: self.axis(left.index(axis), len(left)))
        return None if found == wanted else tuple(found.index(axis) for axis in wanted)

    def per_axis(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """One value an axis, given in canonical order (N, C, *spatial), in the order of the operand's axes.

        >>> Call(training=False, channels_last=True).per_axis(("n", "c", "h", "w"))
        ('n', 'h', 'w', 'c')
        """
        rank = len(values)
        moved: list[Any] = [None] * rank
        for canonical, value in enumerate(values):
            moved[self.axis(canonical, rank)] = value
        return tuple(moved)


class OpResult(NamedTuple):
    """What an op returns.

    Args:
        outputs: One value for each output of the layer.
        state: The running statistics after the call, in the order of ``Layer.state``; () where they do not change.
        saved: What the backward function needs; None in backends that differentiate by themselves.
    """

    outputs: tuple[Array, ...]
    state: tuple[Array, ...] = ()
    saved: Any = None


class Gradients(NamedTuple):
    """What a backward function returns: a gradient for each input and for each weight, None where there is none."""

    inputs: tuple[Array | None, ...]
    weights: tuple[Array | None, ...] = ()


Forward = Callable[[Any, tuple[Array, ...], tuple[Array, ...], tuple[Array, ...], Call], OpResult]
"""An op, ``op(layer, inputs, weights, state, call) -> OpResult``; in every backend its parameters are called so.

Args:
    layer: Resolved: strides, padding and axes are explicit numbers.
    inputs: The operands, (N, C, *spatial) or as ``call`` says.
    weights: In the order of ``Layer.weights``, each as the op's ``WeightLayout`` made it.
    state: Running statistics in the order of ``Layer.state``; they are not changed in place.
    call: What kind of pass it is, where channels are, and the masks.
"""
Backward = Callable[[Any, Any, tuple[Array, ...], tuple[Array, ...], Call], Gradients]
"""An op's gradients, ``backward(layer, saved, gradients, weights, call) -> Gradients``, for NumPy.

Args:
    layer, weights, call: As the op had them.
    saved: What the op left in ``OpResult.saved``.
    gradients: The cotangents of the outputs.
"""


@dataclass(frozen=True)
class WeightLayout:
    """How a backend holds the weights of a kind: a permutation of the elements, made once when weights are loaded.

    Both functions take (layer, weight name, host array, channels_last) and return a host array.

    Args:
        to_native: From the canonical layout to that which the op takes.
        to_canonical: The inverse.
    """

    to_native: Callable[[Any, str, Any, bool], Any]
    to_canonical: Callable[[Any, str, Any, bool], Any]


def _same(layer: Layer, name: str, array: Any, channels_last: bool) -> Any:
    return array


CANONICAL_WEIGHTS = WeightLayout(_same, _same)


@dataclass(frozen=True)
class Operation:
    """A kind's implementation in one backend.

    Args:
        forward: The op.
        backward: Its gradients; None where the framework differentiates.
        weight_layout: How the op takes its weights.
    """

    forward: Forward
    backward: Backward | None = None
    weight_layout: WeightLayout = CANONICAL_WEIGHTS


_F = TypeVar("_F", bound=Callable[..., Any])


class Operations:
    """The kinds that a backend implements.

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
            backward: The gradients, where the framework does not differentiate.
            weight_layout: How the op takes its weights; canonical where it is left out.
        """

        def decorate(function: _F) -> _F:
            self._table[kind] = Operation(function, backward, weight_layout)
            return function

        return decorate

    def lacks(self, kind: str, reason: str, **fields: Any) -> None:
        """Declares a ``Gap``; ``fields`` are its other arguments."""
        self._gaps.append(Gap(kind, reason, **fields))

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What was declared."""
        return tuple(self._gaps)

    def gap(self, layer: Layer, precision: str, mode: str, *, gradient: bool = False) -> str | None:
        """Why a layer does not work here, or None where it works.

        Args:
            layer: Of any kind.
            precision: The name of the precision policy.
            mode: The backend's mode.
            gradient: Whether the program differentiates.
        """
        found = (gap.reason for gap in self._gaps if gap.meets(layer, precision, mode, gradient=gradient))
        return next(found, None)

    def replace(self, kind: str, operation: Operation) -> Operations:
        """A copy in which ``kind`` has another implementation; fault injection uses it."""
        other = Operations(self.backend, self)
        other._table[kind] = operation
        return other

    def specialized(self, general: Operations, special: Operations) -> Operations:
        """A copy with the ops of ``special`` in place of those of ``general``; an op that was replaced stays.

        Args:
            general: The ops that these began as.
            special: The ops to run instead.
        """
        other = Operations(self.backend, self)
        for kind, operation in special._table.items():
            if kind in self._table and self._table[kind] is general._table.get(kind):
                other._table[kind] = operation
        return other

    @property
    def kinds(self) -> frozenset[str]:
        """The layer kinds among them: all but the change of layout, which only binding inserts."""
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
