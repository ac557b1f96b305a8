"""Importers of recurrent operators: LSTM, GRU, RNN, in each direction and both layouts.

Versions before 7 have outputs that an attribute leaves out, and GRU 1 no ``linear_before_reset``; since 7 only the
layout (14) and types (22) are new.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnbench.spec.composites.recurrent import BidirectionalGRU, BidirectionalLSTM, BidirectionalRNN
from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_tensor import Array, Tensor
from cnnbench.spec.layers import Concat, Layer
from cnnbench.spec.layers.gates import GATE_FUNCTIONS, GateFunction
from cnnbench.spec.layers.indexing import Split
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN
from cnnbench.spec.layers.shape import Expand, Squeeze, Transpose, Unsqueeze

FUNCTIONS: dict[str, GateFunction] = {
    "affine": "affine",
    "elu": "elu",
    "hardsigmoid": "hard_sigmoid",
    "leakyrelu": "leaky_relu",
    "relu": "relu",
    "scaledtanh": "scaled_tanh",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "softsign": "softsign",
    "tanh": "tanh",
    "thresholdedrelu": "thresholded_relu",
}
_DIRECTIONS = ("forward", "reverse", "bidirectional")
_PEEPHOLES = 7  # which input of LSTM holds them


@importer("LSTM", since=7)
def lstm(node: OnnxNode) -> tuple[Value, ...]:
    """LSTM: its gates are i, o, f, c; without peepholes."""
    if node.has(_PEEPHOLES) and (not node.knowable(_PEEPHOLES) or node.static(_PEEPHOLES, "P").any()):
        raise node.reject("peepholes are not imported", received="the input P", expected="an LSTM without P, or zeros")
    if node.attribute("input_forget", 0):
        raise node.reject("coupled gates are not imported", received="input_forget=1", expected="input_forget=0")
    fields = {**_fields(node, LSTM.roles, ("Sigmoid", "Tanh", "Tanh")), "gate_order": "iofg"}
    layer = BidirectionalLSTM(**fields) if _is_both(node) else LSTM(**fields, reverse=_is_reverse(node))
    return _recurrent(node, layer, states=2)


@importer("GRU", since=7)
def gru(node: OnnxNode) -> tuple[Value, ...]:
    """GRU: its gates are z, r, h; the reset gate acts before the product unless ``linear_before_reset``."""
    reset = "after" if node.attribute("linear_before_reset", 0) else "before"
    fields = {**_fields(node, GRU.roles, ("Sigmoid", "Tanh")), "gate_order": "zrn", "reset": reset}
    layer = BidirectionalGRU(**fields) if _is_both(node) else GRU(**fields, reverse=_is_reverse(node))
    return _recurrent(node, layer, states=1)


@importer("RNN", since=7)
def rnn(node: OnnxNode) -> tuple[Value, ...]:
    """RNN."""
    fields = _fields(node, RNN.roles, ("Tanh",))
    layer = BidirectionalRNN(**fields) if _is_both(node) else RNN(**fields, reverse=_is_reverse(node))
    return _recurrent(node, layer, states=1)


def _is_both(node: OnnxNode) -> bool:
    return bool(node.attribute("direction", "forward") == "bidirectional")


def _is_reverse(node: OnnxNode) -> bool:
    return bool(node.attribute("direction", "forward") == "reverse")


def _fields(node: OnnxNode, roles: tuple[str, ...], defaults: tuple[str, ...]) -> dict[str, Any]:
    """The fields of the layer that its operators share.

    Args:
        node: The node.
        roles: What the layer's functions are for.
        defaults: The operator's functions where it names none.

    Raises:
        SpecError: A form that is not imported.
    """
    direction = node.attribute("direction", "forward")
    if direction not in _DIRECTIONS:
        raise node.reject("direction is not valid", received=direction, expected=", ".join(_DIRECTIONS))
    if node.attribute("clip"):
        raise node.reject(
            "clipped gates are not imported", received=f"clip={node.attribute('clip')}", expected="no attribute clip"
        )
    weights = node.static(2, "the recurrent weights R")
    hidden = int(weights.shape[-1])
    stated = node.attribute("hidden_size", hidden)
    if stated != hidden:
        raise node.reject("hidden_size is not that of R", received=f"hidden_size={stated}", expected=str(hidden))
    biases = "two" if node.has(3) else "none"
    return {"hidden_size": hidden, "biases": biases, **_functions(node, roles, defaults)}


def _functions(node: OnnxNode, roles: tuple[str, ...], defaults: tuple[str, ...]) -> dict[str, Any]:
    """``activations``, ``alpha`` and ``beta``: ONNX gives numbers only to those functions that take them, in order."""
    given = node.attribute("activations") or defaults
    names = [str(name).lower() for name in given]
    unknown = [str(name) for name, lower in zip(given, names, strict=True) if lower not in FUNCTIONS]
    if unknown:
        raise node.reject("an activation is not imported", received=unknown, expected=", ".join(sorted(FUNCTIONS)))
    functions = [FUNCTIONS[name] for name in names]
    rows = [
        _numbers(node, functions, attribute, position)
        for position, attribute in enumerate(("activation_alpha", "activation_beta"))
    ]
    count = len(roles)
    found = list(zip(functions, *rows, strict=True))
    if len(found) == 2 * count and _is_both(node):
        if found[:count] != found[count:]:
            raise node.reject(
                "activations that differ between the directions are not imported",
                received=given,
                expected="the same for both directions",
            )
        found = found[:count]
    if len(found) != count:
        raise node.reject("the number of activations is wrong", received=given, expected=f"{count} for each direction")
    activations, alpha, beta = zip(*found, strict=True)
    return {"activations": activations, "alpha": alpha, "beta": beta}


def _numbers(node: OnnxNode, functions: list[GateFunction], attribute: str, position: int) -> list[float]:
    given = node.attribute(attribute)
    takers = [i for i, name in enumerate(functions) if position < len(GATE_FUNCTIONS[name])]
    found = [0.0] * len(functions)
    if given is None:
        for i in takers:
            default = GATE_FUNCTIONS[functions[i]][position]
            if default is None:
                raise node.reject(f"{attribute} is missing", received=functions[i], expected="a number for it")
            found[i] = default
        return found
    if len(given) != len(takers):
        raise node.reject(
            f"{attribute} has another number of values than activations that take one",
            received=given,
            expected=f"{len(takers)}: for {', '.join(functions[i] for i in takers) or 'none of them'}",
        )
    for i, number in zip(takers, given, strict=True):
        found[i] = float(np.float32(number).astype(np.float64))
    return found


def _recurrent(node: OnnxNode, layer: Layer, *, states: int) -> tuple[Value, ...]:
    """The operator's outputs Y, Y_h (and Y_c) of a layer whose batch axis comes first and its steps next."""
    steps_first = not node.attribute("layout", 0)
    x = node.value(0)
    if steps_first:
        x = node.add(Transpose(permutation=(1, 0, 2)), x, part="batch_first")
    _check_lengths(node, x.shape[1])
    starts = _starts(node, states, x, steps_first=steps_first)
    sequence, *last = node.add_all(layer, x, *starts, arrays=_arrays(node, layer))
    y = _with_directions(node, sequence, 2, "y")
    # (N, T, D, H): as it is with the batch first, else (T, D, N, H); states as (N, D, H) or (D, N, H)
    order = (1, 2, 0, 3)
    first = node.add(Transpose(permutation=order), y, part="steps_first") if steps_first else y
    ends = []
    for name, value in zip("hc", last, strict=False):
        ends.append(_with_directions(node, value, 0 if steps_first else 1, f"y_{name}"))
    return (first, *ends)


def _with_directions(node: OnnxNode, x: Value, axis: int, part: str) -> Value:
    """The directions, which lie side by side in the last axis, along an axis of their own.

    Args:
        node: Where the layers belong.
        x: (..., H) or (..., 2 H).
        axis: The new axis.
        part: The name of the layer.
    """
    if not _is_both(node):
        return node.add(Unsqueeze(axes=(axis,)), x, part=part)
    halves = node.add_all(Split(sizes=2, axis=-1), x, part=f"{part}_directions")
    raised = [node.add(Unsqueeze(axes=(axis,)), half, part=f"{part}_{i}") for i, half in enumerate(halves)]
    return node.add(Concat(axis=axis), *raised, part=part)


def _check_lengths(node: OnnxNode, steps: int) -> None:
    """Raises SpecError unless every sequence has all steps."""
    if not node.has(4):
        return
    if not node.knowable(4) or any(length != steps for length in node.ints(4, "sequence_lens")):
        received = node.ints(4, "sequence_lens") if node.knowable(4) else f"{node.inputs[4]!r}, which is computed"
        raise node.reject(
            "sequences of different lengths are not imported",
            received=f"sequence_lens = {received}",
            expected=f"no sequence_lens, or {steps} for every sequence",
        )


def _starts(node: OnnxNode, states: int, x: Value, *, steps_first: bool) -> list[Value]:
    """The start states as (N, D H); none where all of them are zeros."""
    positions = range(5, 5 + states)
    given = [i for i in positions if node.has(i)]
    if all(_is_zero(node.tensor(i)) for i in given):
        return []
    if len(given) < states:
        missing = "initial_c" if node.has(5) else "initial_h"
        raise node.reject(f"{missing} is missing", received="one of two start states", expected="both, or neither")
    return [_start(node, i, x, steps_first=steps_first) for i in positions]


def _is_zero(tensor: Tensor | None) -> bool:
    """Whether a tensor is known, for each batch size, and holds zeros alone."""
    arrays = None if tensor is None else tensor.arrays
    return arrays is not None and not any(array.any() for array in arrays)


def _start(node: OnnxNode, position: int, x: Value, *, steps_first: bool) -> Value:
    """A start state as (N, D H); one row that the model fixes is that of every sequence in ``x``."""
    name = "start_" + "hc"[position - 5]
    axis = 0 if steps_first else 1
    array = node.constant(position)
    if array is not None:
        rows = np.moveaxis(array, axis, 1).reshape(array.shape[1 - axis], -1)
        if (rows == rows[:1]).all():
            return node.add(Expand(shape=(-1,)), node.parameter(rows[:1], f"{name}_row"), x, part=name)
        return node.parameter(rows, name)
    value = node.value(position)
    if not _is_both(node):
        return node.add(Squeeze(axes=(axis,)), value, part=name)
    halves = node.add_all(Split(sizes=2, axis=axis), value, part=f"{name}_directions")
    ends = [node.add(Squeeze(axes=(axis,)), half, part=f"{name}_{i}") for i, half in enumerate(halves)]
    return node.add(Concat(axis=-1), *ends, part=name)


def _arrays(node: OnnxNode, layer: Layer) -> dict[str, Array]:
    """The layer's arrays: W, R and both halves of B, of each direction."""
    w, r = node.static(1, "the weights W"), node.static(2, "the recurrent weights R")
    b = node.static(3, "the biases B") if node.has(3) else None
    found: dict[str, Array] = {}
    for i, end in enumerate(("forward.", "reverse.") if layer.is_composite else ("",)):
        found |= {f"{end}weight_ih": w[i], f"{end}weight_hh": r[i]}
        if b is not None:
            found |= {f"{end}bias_ih": b[i, : w.shape[1]], f"{end}bias_hh": b[i, w.shape[1] :]}
    return found
