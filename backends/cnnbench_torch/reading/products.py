"""Matrix products, attention, embeddings and recurrent layers, as ``torch.export`` writes them."""

from __future__ import annotations

import math
from typing import Any

import torch

from cnnbench.spec.graph import Value
from cnnbench.spec.layers import Add, Concat, Linear, Softmax
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.embedding import TokenEmbedding
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.recurrent import GRU, LSTM, RNN
from cnnbench.spec.layers.shape import Transpose, Unsqueeze
from cnnbench.spec.layers.tables import CausalMask
from cnnbench_torch.reading.call import AtenCall, FixedTensor, NotReadError, reads


@reads("linear")
def linear(call: AtenCall) -> Value:
    """Of the last axis."""
    weight, bias = call.constant("weight"), call.weight("bias")
    if weight is None:
        if bias is not None:
            raise NotReadError("a linear layer whose weight is computed from an input")
        return call.add(MatMul(transpose_b=True), call.value("input"), call.value("weight"))
    layer = Linear(out_features=weight.tensor.shape[0], bias=bias is not None)
    return call.weighted(layer, call.value("input"), weight=weight, bias=bias)


@reads("addmm")
def addmm(call: AtenCall) -> Value:
    """Bias + x W."""
    weight, bias = call.weight("mat2"), call.weight("self")
    if weight is None or bias is None or bias.tensor.ndim != 1 or (call["alpha"], call["beta"]) != (1, 1):
        raise NotReadError("addmm other than of a bias and a weight")
    layer = Linear(out_features=weight.tensor.shape[1])
    turned = FixedTensor(weight.tensor.t(), weight.name)
    return call.weighted(layer, call.value("mat1"), weight=turned, bias=bias)


@reads("matmul", "mm", "bmm")
def matmul(call: AtenCall) -> Value:
    """By a constant matrix it is a linear layer."""
    second = "other" if "other" in call.arguments else "mat2"
    weight = call.constant(second)
    if weight is not None and weight.tensor.ndim == 2:
        layer = Linear(out_features=weight.tensor.shape[1], bias=False)
        return call.weighted(layer, call.value("self"), weight=FixedTensor(weight.tensor.t(), weight.name))
    one, two = call.value("self"), call.value(second)
    if min(len(one.shape), len(two.shape)) < 2:
        raise NotReadError("the product of a matrix and a vector")
    return call.add(MatMul(), one, two)


@reads("scaled_dot_product_attention")
def attention(call: AtenCall) -> Value:
    """As its products: queries by keys, softmax, by values. Where a mask of booleans is false, logits are -inf."""
    if call["dropout_p"]:
        raise NotReadError("a dropout that drops at inference too")
    q, k, v = (call.value(name) for name in ("query", "key", "value"))
    scale = call.arguments.get("scale")
    q = call.add(Affine(scale=q.shape[-1] ** -0.5 if scale is None else float(scale)), q, part="scale")
    logits = call.add(MatMul(transpose_b=True), q, k, part="logits")
    if call["is_causal"]:
        mask = call.add(CausalMask(length=q.shape[-2]), q, part="mask")
        logits = call.add(Add(broadcast=True), *call.aligned([logits, mask]), part="masked")
    if call.arguments.get("attn_mask") is not None:
        mask = call.as_value(_added(call["attn_mask"]))
        logits = call.add(Add(broadcast=True), *call.aligned([logits, mask]), part="masked")
    weights = call.add(Softmax(axis=-1), logits, part="softmax")
    return call.add(MatMul(), weights, v)


def _added(mask: Any) -> Any:
    """A mask as what is added to the logits."""
    if isinstance(mask, FixedTensor) and mask.tensor.dtype == torch.bool:
        return FixedTensor(torch.zeros(mask.tensor.shape, dtype=torch.float64).masked_fill(~mask.tensor, -math.inf))
    return mask


@reads("embedding")
def embedding(call: AtenCall) -> Value:
    """Rows of a table."""
    weight = call.weight("weight")
    if weight is None:
        raise NotReadError("it has no weight")
    rows, features = weight.tensor.shape
    layer = TokenEmbedding(num_embeddings=rows, embedding_dim=features)
    return call.weighted(layer, call.value("indices"), weight=weight)


_RECURRENT: dict[str, Any] = {"lstm": LSTM, "gru": GRU, "rnn_tanh": RNN, "rnn_relu": RNN}


@reads(*_RECURRENT)
def recurrent(call: AtenCall) -> tuple[Value, ...]:
    """Each layer and direction a layer of its own."""
    starts = call["hx"] if isinstance(call["hx"], list | tuple) else [call["hx"]]
    if any(not isinstance(item, FixedTensor) or bool(item.tensor.any()) for item in starts):
        raise NotReadError("a recurrent layer that starts with other states than zeros")
    x = call.value("input")
    x = x if call["batch_first"] else call.add(Transpose(permutation=(1, 0, 2)), x, part="batch_first")
    params = [item for item in call["params"] if isinstance(item, FixedTensor)]
    each, sides = (4 if call["has_biases"] else 2), (2 if call["bidirectional"] else 1)
    if len(params) != call["num_layers"] * sides * each:
        raise NotReadError("a recurrent layer with projections (proj_size)")
    last: list[tuple[Value, ...]] = []
    for layer in range(call["num_layers"]):
        outputs = []
        for side in range(sides):
            start = (layer * sides + side) * each
            made = _direction(call, x, params[start : start + each], reverse=bool(side))
            outputs.append(made[0])
            last.append(made[1:])
        x = outputs[0] if sides == 1 else call.add(Concat(axis=2), *outputs, part=f"layer_{layer}")
    states = [_stacked(call, [item[i] for item in last]) for i in range(len(last[0]))] if _needs_states(call) else []
    x = x if call["batch_first"] else call.add(Transpose(permutation=(1, 0, 2)), x, part="sequence_first")
    return (x, *states)


def _needs_states(call: AtenCall) -> bool:
    return bool(call.arguments.get("states_are_read"))


def _direction(call: AtenCall, x: Value, params: list[FixedTensor], *, reverse: bool) -> tuple[Value, ...]:
    kind = _RECURRENT[call.op]
    fields: dict[str, Any] = {"hidden_size": params[1].tensor.shape[1], "reverse": reverse}
    fields["biases"] = "two" if len(params) == 4 else "none"
    if call.op == "rnn_relu":
        fields["activations"] = ("relu",)
    roles = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: len(params)]
    name = params[0].name.replace("weight_ih_", "")
    arrays = {role: (item.tensor, item.name) for role, item in zip(roles, params, strict=True)}
    return call.add_all(kind(**fields), x, name=name, arrays=arrays)


def _stacked(call: AtenCall, states: list[Value]) -> Value:
    rows = [call.add(Unsqueeze(axes=(0,)), state, part="state") for state in states]
    return rows[0] if len(rows) == 1 else call.add(Concat(axis=0), *rows, part="states")
