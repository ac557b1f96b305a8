"""Attention: shapes, weights and counts by hand, bad input, and values against other implementations and loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.attention import AdditiveAttention, MultiHeadAttention, ScaledDotProductAttention
from cnnbench.spec.composites.feature_attention import SpatialAttentionBlock, SqueezeExcitation
from cnnbench.spec.composites.positional_attention import GatedPositionalSelfAttention
from cnnbench.spec.composites.window_attention import WindowAttention
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Layer
from cnnbench.spec.layers.tables import CausalMask, RelativeOffsets, ShiftedWindowMask, relative_position_index


def node(layer: Layer, *images: tuple[int, ...]):
    builder = Builder("net")
    outputs = builder.add_all("attention", layer, *(builder.input(f"x{i}", image) for i, image in enumerate(images)))
    return builder.build(outputs)


def drawn(layer: Layer, *shapes: tuple[int, ...], seed: int = 0):
    """(resolved layer, inputs, weights by name)."""
    generator = np.random.default_rng(seed)
    layer = layer.resolve(shapes)
    inputs = tuple(generator.normal(size=shape) for shape in shapes)
    return layer, inputs, {spec.name: generator.normal(size=spec.shape) for spec in layer.weights(shapes)}


def outputs(layer, inputs, weights):
    return reference().forward(LayerCall(layer, tuple(inputs), tuple(weights.values()))).outputs


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def same(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def naive_attention(q, k, v, heads, scale, bias=None):
    """One query, one head at a time."""
    batch, queries, features = q.shape
    width, values = features // heads, v.shape[2] // heads
    result = np.zeros((batch, queries, v.shape[2]))
    for n in range(batch):
        for h in range(heads):
            own, out = slice(h * width, (h + 1) * width), slice(h * values, (h + 1) * values)
            for i in range(queries):
                logits = np.array([scale * q[n, i, own] @ k[n, j, own] for j in range(k.shape[1])])
                logits = logits if bias is None else logits + bias[n, h, i]
                result[n, i, out] = softmax(logits) @ v[n, :, out]
    return result


# counts


@pytest.mark.parametrize(
    ("layer", "images", "parameters", "macs", "macs_attention"),
    [
        (ScaledDotProductAttention(num_heads=2), [(4, 6), (5, 6), (5, 8)], 0, 0, 4 * 5 * (6 + 8)),
        (MultiHeadAttention(num_heads=3), [(5, 6)], 4 * (36 + 6), 5 * 4 * 36, 2 * 25 * 6),
        (AdditiveAttention(units=4), [(5, 6), (3,)], 4 * (6 + 3 + 1), 5 * 6 * 4 + 3 * 4 + 5 * 4, 5 * 6),
        (
            GatedPositionalSelfAttention(num_heads=2),
            [(9, 6)],
            2 + 3 * 36 + 2 * 3 + 2 + 36 + 6,
            9 * 4 * 36 + 81 * 3 * 2,
            2 * 81 * 6,
        ),
        (WindowAttention(num_heads=2, window_size=(2, 3)), [(4, 6, 4)], 15 * 2 + 4 * 20, 24 * 4 * 16, 2 * 4 * 36 * 4),
        (SqueezeExcitation(squeeze_channels=2), [(6, 5, 4)], 2 * 6 + 2 + 6 * 2 + 6, 24, 0),
        (SpatialAttentionBlock(groups=2), [(4, 3, 5)], 4 * (16 + 4) + 8, 15 * 4 * 16, 2 * 225 * 4),
    ],
)
def test_parameters_and_products(layer, images, parameters, macs, macs_attention):
    graph = node(layer, *images)
    assert sum(math.prod(spec.shape) for spec in graph.named_weights()) == parameters
    assert graph.macs() == macs
    assert graph.macs_attention() == macs_attention


def test_names_and_order_are_torchvisions():
    names = [spec.name for spec in node(WindowAttention(num_heads=2, window_size=2), (4, 4, 4)).named_weights()]
    assert names == [
        "attention.relative_position_bias_table.value",
        "attention.qkv.weight",
        "attention.qkv.bias",
        "attention.proj.weight",
        "attention.proj.bias",
    ]
    names = [spec.name for spec in node(MultiHeadAttention(num_heads=2), (5, 4)).named_weights()]
    assert names == [f"attention.{n}" for n in ("in_proj.weight", "in_proj.bias", "out_proj.weight", "out_proj.bias")]
    names = [spec.name for spec in node(SqueezeExcitation(squeeze_channels=2), (4, 3, 3)).named_weights()]
    assert names == [f"attention.{n}" for n in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")]


@pytest.mark.parametrize(
    ("layer", "images", "received"),
    [
        (ScaledDotProductAttention(num_heads=4), [(4, 6), (5, 6), (5, 8)], "6 features, 4 heads"),
        (ScaledDotProductAttention(), [(4, 6), (5, 8), (5, 8)], "(1, 5, 8)"),
        (ScaledDotProductAttention(causal=True), [(4, 6), (5, 6), (5, 6)], "4 queries, 5 keys"),
        (ScaledDotProductAttention(), [(4, 6), (5, 6), (5, 6), (2, 4, 5)], "(1, 2, 4, 5)"),
        (MultiHeadAttention(num_heads=4), [(5, 6)], "6 features, 4 heads"),
        (AdditiveAttention(units=4), [(5, 6), (2, 3)], "(1, 2, 3)"),
        (GatedPositionalSelfAttention(num_heads=2), [(8, 6)], "8 tokens"),
        (GatedPositionalSelfAttention(num_heads=2, size=(2, 3)), [(8, 6)], "size (2, 3)"),
        (WindowAttention(num_heads=2, window_size=2, shift=2), [(4, 4, 4)], "(2, 2)"),
        (WindowAttention(num_heads=3, window_size=2), [(4, 4, 4)], "4 features, 3 heads"),
        (SqueezeExcitation(squeeze_channels=2, gate="tanh"), [(4, 3, 3)], "tanh"),
        (SqueezeExcitation(squeeze_channels=0), [(4, 3, 3)], "0"),
        (SpatialAttentionBlock(groups=3), [(4, 3, 3)], "4 channels, groups 3"),
    ],
)
def test_what_does_not_fit_is_named(layer, images, received):
    with pytest.raises(SpecError) as raised:
        node(layer, *images)
    text = str(raised.value)
    assert "node 'attention'" in text
    assert received in text
    assert "expected" in text


# values


@pytest.mark.parametrize("heads", [1, 2])
def test_scaled_dot_products_are_the_loops(heads):
    layer, (q, k, v), weights = drawn(ScaledDotProductAttention(num_heads=heads), (2, 4, 6), (2, 5, 6), (2, 5, 8))
    same(outputs(layer, (q, k, v), weights)[0], naive_attention(q, k, v, heads, (6 // heads) ** -0.5))


def test_a_bias_is_added_to_the_logits():
    shapes = ((2, 4, 6), (2, 5, 6), (2, 5, 8), (2, 2, 4, 5))
    layer, inputs, weights = drawn(ScaledDotProductAttention(num_heads=2, scale=0.3), *shapes)
    same(outputs(layer, inputs, weights)[0], naive_attention(*inputs[:3], 2, 0.3, inputs[3]))


def test_a_causal_query_sees_no_later_key():
    layer, (q, k, v), weights = drawn(ScaledDotProductAttention(causal=True), *((2, 5, 6),) * 3)
    bias = np.where(np.arange(5)[None] > np.arange(5)[:, None], -np.inf, 0.0) * np.ones((2, 1, 1, 1))
    same(outputs(layer, (q, k, v), weights)[0], naive_attention(q, k, v, 1, 6**-0.5, bias))


@pytest.mark.torch
@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention_is_pytorchs_forward_and_backward(causal):
    torch = pytest.importorskip("torch")
    layer, inputs, weights = drawn(MultiHeadAttention(num_heads=3, causal=causal), (2, 5, 6))
    module = torch.nn.MultiheadAttention(6, 3, batch_first=True, dtype=torch.float64)
    parameters = [module.in_proj_weight, module.in_proj_bias, module.out_proj.weight, module.out_proj.bias]
    with torch.no_grad():
        for parameter, array in zip(parameters, weights.values(), strict=True):
            parameter.copy_(torch.from_numpy(array))
    x = torch.from_numpy(inputs[0]).requires_grad_()
    mask = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64) if causal else None
    y, _ = module(x, x, x, attn_mask=mask, need_weights=False)
    same(outputs(layer, inputs, weights)[0], y.detach().numpy())
    cotangent = np.cos(np.arange(60.0)).reshape(2, 5, 6)
    y.backward(torch.from_numpy(cotangent))
    found = reference().gradient(LayerCall(layer, inputs, tuple(weights.values())), (cotangent,))
    same(found.inputs[0], x.grad.numpy())
    for got, parameter in zip(found.weights, parameters, strict=True):
        same(got, parameter.grad.numpy())


def test_additive_attention_is_the_papers_equations():
    layer, (x, q), weights = drawn(AdditiveAttention(units=4, bias=True), (2, 5, 6), (2, 3))
    context, shares = outputs(layer, (x, q), weights)
    w = {name.rpartition("layer.")[2]: array for name, array in weights.items()}
    for n in range(2):
        hidden = [
            np.tanh(w["keys.weight"] @ x[n, t] + w["keys.bias"] + w["query.weight"] @ q[n] + w["query.bias"])
            for t in range(5)
        ]
        expected = softmax(np.array([w["score.weight"][0] @ item for item in hidden]))
        same(shares[n], expected)
        same(context[n], sum(share * value for share, value in zip(expected, x[n], strict=True)))


def test_gated_positions_are_the_papers_equations_patch_by_patch():
    rows, columns, heads, features = 2, 3, 2, 4
    layer = GatedPositionalSelfAttention(num_heads=heads, size=(rows, columns))
    layer, (x,), w = drawn(layer, (1, rows * columns, features))
    got = outputs(layer, (x,), w)[0][0]
    tokens, width = x[0], features // heads
    q, k = np.split(tokens @ w["qk.weight"].T, 2, axis=1)
    v = tokens @ w["v.weight"].T
    expected = np.zeros((rows * columns, features))
    for h in range(heads):
        own = slice(h * width, (h + 1) * width)
        gate = sigmoid(w["gating_param.value"][h])
        for i in range(rows * columns):
            place = []
            for j in range(rows * columns):
                dx, dy = j % columns - i % columns, j // columns - i // columns
                place.append(w["pos_proj.weight"][h] @ [dx, dy, dx * dx + dy * dy] + w["pos_proj.bias"][h])
            content = softmax(k[:, own] @ q[i, own] / math.sqrt(width))
            expected[i, own] = ((1 - gate) * content + gate * softmax(np.array(place))) @ v[:, own]
    same(got, expected @ w["proj.weight"].T + w["proj.bias"])


def naive_windows(x, w, layer):
    """Each position attends to those that were in its window, were its neighbours, or are padding of it."""
    height, width, features = x.shape
    (wh, ww), (ph, pw), (sh, sw) = layer.windows((height, width))
    heads = layer.num_heads
    size = features // heads
    padded = np.zeros((ph, pw, features))
    padded[:height, :width] = x
    result = np.zeros_like(padded)
    q, k, v = np.split(padded @ w["qkv.weight"].T + w["qkv.bias"], 3, axis=2)
    places = [(y, z) for y in range(ph) for z in range(pw)]

    def rolled(place):
        return (place[0] - sh) % ph, (place[1] - sw) % pw

    for a in places:
        ra = rolled(a)
        window = [b for b in places if rolled(b)[0] // wh == ra[0] // wh and rolled(b)[1] // ww == ra[1] // ww]
        for h in range(heads):
            own = slice(h * size, (h + 1) * size)
            logits = []
            for b in window:
                rb = rolled(b)
                row = (ra[0] - rb[0] + wh - 1) * (2 * ww - 1) + ra[1] - rb[1] + ww - 1
                logit = q[a][own] @ k[b][own] / math.sqrt(size) + w["relative_position_bias_table.value"][row, h]
                together = a[0] - b[0] == ra[0] - rb[0] and a[1] - b[1] == ra[1] - rb[1]
                logits.append(logit + (0 if together else layer.masked))
            result[a][own] = softmax(np.array(logits)) @ np.array([v[b][own] for b in window])
    return (result @ w["proj.weight"].T + w["proj.bias"])[:height, :width]


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (WindowAttention(num_heads=2, window_size=(2, 3)), (4, 6)),
        (WindowAttention(num_heads=2, window_size=(2, 3), shift=(1, 2)), (4, 6)),
        (WindowAttention(num_heads=1, window_size=3, shift=1), (5, 7)),
        (WindowAttention(num_heads=2, window_size=(4, 2), shift=(2, 1)), (4, 6)),
    ],
)
def test_windows_are_those_of_a_loop_over_positions(layer, size):
    layer, (x,), weights = drawn(layer, (1, *size, 4))
    same(outputs(layer, (x,), weights)[0][0], naive_windows(x[0], weights, layer))


def test_an_axis_that_one_window_covers_is_not_shifted():
    layer = WindowAttention(num_heads=1, window_size=(4, 2), shift=(2, 1)).resolve(((1, 3, 6, 4),))
    assert layer.windows((3, 6)) == ((4, 2), (4, 6), (0, 1))


def test_squeeze_and_excitation_is_the_papers_equations():
    layer, (x,), w = drawn(SqueezeExcitation(squeeze_channels=2, gate="hard_sigmoid", scale=2.0), (2, 4, 3, 5))
    mean = x.mean(axis=(2, 3))
    hidden = np.maximum(mean @ w["fc1.weight"][:, :, 0, 0].T + w["fc1.bias"], 0)
    gate = np.clip((hidden @ w["fc2.weight"][:, :, 0, 0].T + w["fc2.bias"] + 3) / 6, 0, 1)
    same(outputs(layer, (x,), w)[0], x * 2 * gate[:, :, None, None])


def test_the_block_of_ddpm_is_the_authors_einsums():
    layer, (x,), w = drawn(SpatialAttentionBlock(groups=2), (2, 4, 3, 5))
    grouped = x.reshape(2, 2, 2, 3, 5)
    mean, variance = grouped.mean(axis=(2, 3, 4), keepdims=True), grouped.var(axis=(2, 3, 4), keepdims=True)
    normal = ((grouped - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape)
    normal = normal * w["norm.weight"][:, None, None] + w["norm.bias"][:, None, None]

    def conv(name, value):
        return np.einsum("oi,nihw->nohw", w[f"{name}.weight"][:, :, 0, 0], value) + w[f"{name}.bias"][:, None, None]

    q, k, v = (conv(name, normal) for name in "qkv")
    logits = np.einsum("nchw,ncij->nhwij", q, k) * 4**-0.5
    shares = softmax(logits.reshape(2, 3, 5, 15)).reshape(logits.shape)
    same(outputs(layer, (x,), w)[0], x + conv("proj_out", np.einsum("nhwij,ncij->nchw", shares, v)))


# tables


def test_a_causal_mask_is_open_on_and_below_the_diagonal():
    assert np.array_equal(CausalMask(length=3).values()[0, 0] == 0, np.tril(np.ones((3, 3), bool)))


def test_offsets_lead_from_query_to_key():
    table = RelativeOffsets(size=(2, 3)).values()[0]
    assert table[0, 5].tolist() == [2, 1, 5]
    assert table[5, 0].tolist() == [-2, -1, 5]


def test_a_rolled_window_is_cut_where_the_image_begins():
    mask = ShiftedWindowMask(size=(1, 4), window_size=(1, 2), shift=(0, 1)).values()[0, :, 0]
    assert mask.tolist() == [[[0, 0], [0, 0]], [[0, -100], [-100, 0]]]


def test_the_index_of_a_window_reads_query_minus_key():
    assert relative_position_index((2, 2)) == (4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4)


def test_a_mask_names_what_does_not_fit():
    with pytest.raises(SpecError, match="size, window_size and shift do not fit"):
        ShiftedWindowMask(size=(5, 4), window_size=(2, 2), shift=(1, 1)).resolve(((1, 3),))
