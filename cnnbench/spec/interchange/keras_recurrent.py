"""What Keras' recurrent layers compute, and layers applied at each step, in layers of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.keras_activations import activated
from cnnbench.spec.interchange.keras_builder import Construction, NotTranslatedError, Translation
from cnnbench.spec.interchange.keras_config import KerasLayer, wrapped
from cnnbench.spec.layers import Add, Concat, Layer, Linear
from cnnbench.spec.layers.indexing import Slice
from cnnbench.spec.layers.merge import Mean, Multiply
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN

_FUNCTIONS = {"sigmoid", "tanh", "relu", "softsign", "softplus"}  # without numbers that versions differ in


def _layer(cls: str, config: Mapping[str, Any], name: str) -> Layer:
    outer, inner = config.get("activation", "tanh"), config.get("recurrent_activation", "sigmoid")
    if not {outer, inner} <= _FUNCTIONS:
        raise NotTranslatedError(f"{name} ({cls}): activations {outer} and {inner} are not known here")
    bias = bool(config.get("use_bias", True))
    reverse = bool(config.get("go_backwards"))
    biases: Any = "one" if bias else "none"
    if cls == "SimpleRNN":
        return RNN(hidden_size=config["units"], reverse=reverse, biases=biases, activations=(outer,))
    if cls in ("LSTM", "CuDNNLSTM"):
        gates = (inner, outer, outer)
        return LSTM(hidden_size=config["units"], reverse=reverse, biases=biases, activations=gates)
    after = bool(config.get("reset_after", cls == "CuDNNGRU"))
    return GRU(
        hidden_size=config["units"],
        reverse=reverse,
        gate_order="zrn",
        reset="after" if after else "before",
        biases="two" if bias and after else biases,
        activations=(inner, outer),
    )


def _outputs(
    making: Construction, key: str, part: tuple[str, Mapping[str, Any]], name: str, value: Value
) -> tuple[Value, Value]:
    """(every step in the order of the sequence, the last state) of one direction."""
    cls, config = part
    if config.get("return_state") or config.get("stateful"):
        raise NotTranslatedError(f"{name} ({cls}): states that go in or out are not known here")
    every, last, *_ = making.weighted(key, _layer(cls, config, name), value)
    return every, last


def _recurrent(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    every, last = _outputs(making, layer.name, (layer.cls, layer.config), layer.name, values[0])
    if not layer.config.get("return_sequences"):
        return [last]
    return [_reversed(making, every) if layer.config.get("go_backwards") else every]  # in the order of reading


def _reversed(making: Construction, value: Value) -> Value:
    length = value.shape[1]
    return making.plain(Slice(starts=(length - 1,), ends=(-length - 1,), steps=(-1,), axes=(1,)), value)


def _bidirectional(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    inside = wrapped(layer.config)
    forward = inside.get("layer") or inside["forward_layer"]
    backward = inside.get("backward_layer") or (forward[0], {**forward[1], "go_backwards": True})
    sides = [
        _outputs(making, f"{layer.name}.{side}", part, layer.name, values[0])
        for side, part in (("forward", forward), ("reverse", backward))
    ]
    found = [side[0] if forward[1].get("return_sequences") else side[1] for side in sides]
    mode = layer.config.get("merge_mode", "concat")
    if mode is None:
        return found
    merges: dict[str, Layer] = {
        "concat": Concat(axis=-1),
        "sum": Add(),
        "mul": Multiply(),
        "ave": Mean(),
    }
    return [making.plain(merges[mode], *found)]


def _each_step(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    cls, config = wrapped(layer.config)["layer"]
    if cls != "Dense":
        raise NotTranslatedError(f"{layer.name}: TimeDistributed({cls}) is not known here")
    made = Linear(out_features=config["units"], bias=bool(config.get("use_bias", True)))
    return [activated(making, config, making.weighted(layer.name, made, values[0])[0])]


RECURRENT: Mapping[str, Translation] = {
    "(CuDNN)?(LSTM|GRU)|SimpleRNN": _recurrent,
    "Bidirectional": _bidirectional,
    "TimeDistributed": _each_step,
}
