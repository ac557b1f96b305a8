"""Budgets of recurrent layers: the recurrence run once with each value beside a bound of its error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets.base import (
    Budget,
    ForwardBudget,
    GradientBudget,
    GradientSetting,
    Setting,
    forward_formula,
    gradient_formula,
)
from cnnbench.numerics.budgets.gates import gate_slope, gate_value
from cnnbench.numerics.budgets.running_error import Arithmetic, Tracked, cut, exactly, joined
from cnnbench.numerics.hard_operands import Hardness, hard_operands
from cnnbench.numerics.reference import LayerCall
from cnnbench.numerics.rounding import Roundoff, gamma, sharp_factor
from cnnbench.spec.layers.gates import gate_rows
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN

Array = NDArray[Any]

# Sizes of what is read at a step: gates bend, saturate, and their exponentials leave the range of the precision.
SIZES = (1.0, 8.0, 40.0, 300.0)
HALVINGS = 9
_ORDER = {"lstm": "ifgo", "gru": "rzn", "rnn": "h"}


def _order_of(layer: LSTM | GRU | RNN) -> str:
    return _ORDER["rnn"] if isinstance(layer, RNN) else layer.gate_order


class _Chain(NamedTuple):
    """A layer's operands for the recurrence: x by step, starts, and weights with gates in ``_ORDER``."""

    layer: Any
    steps: list[int]
    x: Array
    starts: tuple[Tracked, ...]
    w_ih: Tracked
    w_hh: Tracked
    b_ih: Tracked
    b_hh: Tracked
    is_started: bool

    @staticmethod
    def of(call: LayerCall) -> _Chain:
        layer: Any = call.layer
        x, *starts = call.inputs
        rows = list(gate_rows(_order_of(layer), _ORDER[layer.kind], layer.hidden_size))
        weights = [exactly(np.asarray(w)[rows]) for w in call.weights]
        weights += [exactly(np.zeros(len(rows)))] * (4 - len(weights))
        count = 2 if layer.kind == "lstm" else 1
        zero = exactly(np.zeros((x.shape[0], layer.hidden_size)))
        steps = list(range(x.shape[1]))
        return _Chain(
            layer=layer,
            steps=steps[::-1] if layer.reverse else steps,
            x=x,
            starts=tuple(map(exactly, starts)) or (zero,) * count,
            w_ih=weights[0],
            w_hh=weights[1],
            b_ih=weights[2],
            b_hh=weights[3],
            is_started=bool(starts),
        )


class _Step(NamedTuple):
    """What the backward of one step needs: the carry before it, and the values made in it."""

    carry: tuple[Tracked, ...]
    made: tuple[Tracked, ...]


def _lstm_step(a: Arithmetic, chain: _Chain, x: Tracked, carry: Sequence[Tracked]) -> tuple[list[Tracked], _Step]:
    h, c = carry
    gates = a.add(a.product(x, chain.w_ih.transposed), chain.b_ih, a.product(h, chain.w_hh.transposed), chain.b_hh)
    outer, cell, shown = chain.layer.gates()
    arguments = cut(gates, 4)
    i, f, g, o = (gate_value(a, *pair) for pair in zip((outer, outer, cell, outer), arguments, strict=True))
    after = a.add(a.times(f, c), a.times(i, g))
    factor = gate_value(a, shown, after)
    return [a.times(o, factor), after], _Step((h, c), (*arguments, i, f, g, o, after, factor))


def _gru_step(a: Arithmetic, chain: _Chain, x: Tracked, carry: Sequence[Tracked]) -> tuple[list[Tracked], _Step]:
    (h,) = carry
    size = chain.layer.hidden_size
    whole = a.add(a.product(x, chain.w_ih.transposed), chain.b_ih)
    own, w_n, b_n = slice(2 * size), chain.w_hh[2 * size :].transposed, chain.b_hh[2 * size :]
    gates = a.add(whole[:, own], a.product(h, chain.w_hh[own].transposed), chain.b_hh[own])
    outer, candidate = chain.layer.gates()
    ar, az = cut(gates, 2)
    r, z = gate_value(a, outer, ar), gate_value(a, outer, az)
    if chain.layer.reset == "after":
        recurrent = a.add(a.product(h, w_n), b_n)
        inner = a.times(r, recurrent)
    else:
        recurrent = inner = a.add(a.product(a.times(r, h), w_n), b_n)
    an = a.add(whole[:, 2 * size :], inner)
    n = gate_value(a, candidate, an)
    return [a.add(a.times(a.complement(z), n), a.times(z, h))], _Step((h,), (ar, az, an, r, z, n, recurrent))


def _rnn_step(a: Arithmetic, chain: _Chain, x: Tracked, carry: Sequence[Tracked]) -> tuple[list[Tracked], _Step]:
    (h,) = carry
    (gate,) = chain.layer.gates()
    argument = a.add(a.product(x, chain.w_ih.transposed), chain.b_ih, a.product(h, chain.w_hh.transposed), chain.b_hh)
    after = gate_value(a, gate, argument)
    return [after], _Step((h,), (argument, after))


_STEP: dict[str, Callable[..., Any]] = {"lstm": _lstm_step, "gru": _gru_step, "rnn": _rnn_step}


def _forward(a: Arithmetic, chain: _Chain) -> tuple[tuple[Array, ...], dict[int, _Step]]:
    """Error bounds of the outputs, and each step's values."""
    step = _STEP[chain.layer.kind]
    carry: list[Tracked] = list(chain.starts)
    sequence = np.zeros((*chain.x.shape[:2], chain.layer.hidden_size))
    known: dict[int, _Step] = {}
    for t in chain.steps:
        carry, known[t] = step(a, chain, exactly(chain.x[:, t]), carry)
        sequence[:, t] = carry[0].error
    return (sequence, *(value.error for value in carry)), known


@hard_operands("lstm", "gru", "rnn")
def saturating(call: LayerCall, hard: Hardness) -> LayerCall:
    """What a step reads and the starts, in ``SIZES`` by turns: all halved where functions without bounds make too much
    of them to be multiplied.
    """
    x, *starts = call.inputs
    turns = np.add.outer(np.arange(x.shape[0]), np.arange(x.shape[1])) % len(SIZES)
    for halving in range(HALVINGS):
        sizes = 0.5**halving * np.asarray(SIZES)
        first = [start * sizes[turns[:, :1]] for start in starts]
        found = replace(call, inputs=(x * sizes[turns][..., None], *first))
        with np.errstate(all="ignore"):
            known = _forward(Arithmetic(Roundoff(0, 0, 0, 0), gamma), _Chain.of(found))[1]
        if max(np.abs(part.value).max() for step in known.values() for part in step.made) <= hard.square:
            return found
    return call


@forward_formula("lstm", "gru", "rnn")
def recurrent(setting: Setting) -> ForwardBudget:
    """Running error: each product c(K, u_a) |x||W|, each function and element-wise step a few u_s, carried on by
    |W_hh| and the functions' slopes.
    """
    chain = _Chain.of(setting.call)
    sharp = _forward(Arithmetic(setting.u, sharp_factor), chain)[0]
    worst = _forward(Arithmetic(setting.u, gamma), chain)[0]
    return ForwardBudget(tuple(Budget(s, w) for s, w in zip(sharp, worst, strict=True)))


def _lstm_back(
    a: Arithmetic, chain: _Chain, step: _Step, cotangents: Sequence[Tracked]
) -> tuple[Tracked, Tracked, list[Tracked], Tracked]:
    """(gate gradients, the same for the recurrent bias, gradients of the carry, what W_hh multiplied)."""
    dh, dc = cotangents
    h, c = step.carry
    ai, af, ag, ao, i, f, g, o, after, factor = step.made
    outer, cell, shown = chain.layer.gates()
    dc = a.add(dc, a.times(a.times(dh, o), gate_slope(a, shown, after, factor)))
    parts = (
        a.times(a.times(dc, g), gate_slope(a, outer, ai, i)),
        a.times(a.times(dc, c), gate_slope(a, outer, af, f)),
        a.times(a.times(dc, i), gate_slope(a, cell, ag, g)),
        a.times(a.times(dh, factor), gate_slope(a, outer, ao, o)),
    )
    da = joined(*parts, axis=1)
    return da, da, [a.product(da, chain.w_hh), a.times(dc, f)], a.product(da.transposed, h)


def _gru_back(
    a: Arithmetic, chain: _Chain, step: _Step, cotangents: Sequence[Tracked]
) -> tuple[Tracked, Tracked, list[Tracked], Tracked]:
    (dh,) = cotangents
    (h,) = step.carry
    ar, az, an, r, z, n, recurrent = step.made
    outer, candidate = chain.layer.gates()
    size = chain.layer.hidden_size
    w_gates, w_n = chain.w_hh[: 2 * size], chain.w_hh[2 * size :]
    dn = a.times(a.times(dh, a.complement(z)), gate_slope(a, candidate, an, n))
    if chain.layer.reset == "after":
        d_recurrent, factor = a.times(dn, r), h
        dr, through = a.times(dn, recurrent), a.product(d_recurrent, w_n)
    else:
        d_recurrent, factor = dn, a.times(r, h)
        back = a.product(dn, w_n)
        dr, through = a.times(back, h), a.times(back, r)
    gates = joined(
        a.times(dr, gate_slope(a, outer, ar, r)),
        a.times(a.times(dh, a.minus(h, n)), gate_slope(a, outer, az, z)),
        axis=1,
    )
    before = a.add(a.times(dh, z), a.product(gates, w_gates), through)
    dw_hh = joined(a.product(gates.transposed, h), a.product(d_recurrent.transposed, factor), axis=0)
    return joined(gates, dn, axis=1), joined(gates, d_recurrent, axis=1), [before], dw_hh


def _rnn_back(
    a: Arithmetic, chain: _Chain, step: _Step, cotangents: Sequence[Tracked]
) -> tuple[Tracked, Tracked, list[Tracked], Tracked]:
    (dh,) = cotangents
    (h,) = step.carry
    (gate,) = chain.layer.gates()
    da = a.times(dh, gate_slope(a, gate, *step.made))
    return da, da, [a.product(da, chain.w_hh)], a.product(da.transposed, h)


_BACK: dict[str, Callable[..., Any]] = {"lstm": _lstm_back, "gru": _gru_back, "rnn": _rnn_back}


def _backward(a: Arithmetic, chain: _Chain, cotangents: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Error bounds of the inputs' and the weights' gradients."""
    back = _BACK[chain.layer.kind]
    known = _forward(a, chain)[1]
    sequence, *carry = map(exactly, cotangents)
    dx = np.zeros(chain.x.shape)
    totals: list[Tracked] | None = None
    for t in reversed(chain.steps):
        carry[0] = a.add(carry[0], sequence[:, t])
        da, d_hidden, carry, dw_hh = back(a, chain, known[t], carry)
        dx[:, t] = a.product(da, chain.w_ih).error
        found = [
            a.product(da.transposed, exactly(chain.x[:, t])),
            dw_hh,
            a.column_sums(da),
            a.column_sums(d_hidden),
        ]
        totals = found if totals is None else [a.add(old, new) for old, new in zip(totals, found, strict=True)]
    rows = list(gate_rows(_ORDER[chain.layer.kind], _order_of(chain.layer), chain.layer.hidden_size))
    count = {"two": 4, "one": 3, "none": 2}[chain.layer.biases]
    starts = [value.error for value in carry] if chain.is_started else []
    return [dx, *starts], [total.error[rows] for total in (totals or [])[:count]]


@gradient_formula("lstm", "gru", "rnn")
def recurrent_gradient(setting: GradientSetting) -> GradientBudget:
    """Running error of the same recurrence, and of its reverse."""
    chain = _Chain.of(setting.call)
    sharp = _backward(Arithmetic(setting.u, sharp_factor), chain, setting.cotangents)
    worst = _backward(Arithmetic(setting.u, gamma), chain, setting.cotangents)
    inputs, weights = (
        tuple(Budget(s, w) for s, w in zip(one, other, strict=True)) for one, other in zip(sharp, worst, strict=True)
    )
    return GradientBudget(inputs, weights)
