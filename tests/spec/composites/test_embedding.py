"""Embeddings: shapes, weights and counts by hand, bad input, and values against PyTorch and the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.composites.embedding import ClassToken, LearnedPositions, PatchEmbedding, SinusoidalPositions
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.embedding import TimestepEmbedding, TokenEmbedding


def added(layer, *shape, dtype="float"):
    builder = Builder("net")
    return builder.add("embed", layer, builder.input("x", shape, dtype=dtype))


def outputs(layer, x, *weights):
    return reference().forward(LayerCall(layer.resolve((x.shape,)), (x,), weights)).outputs[0]


@pytest.mark.parametrize(
    ("layer", "shape", "dtype", "expected"),
    [
        (TokenEmbedding(num_embeddings=7, embedding_dim=4), (5,), "int", (1, 5, 4)),
        (TokenEmbedding(num_embeddings=7, embedding_dim=4), (), "int", (1, 4)),
        (TimestepEmbedding(features=7), (), "float", (1, 7)),
        (PatchEmbedding(embed_dim=5, patch_size=2), (3, 4, 6), "float", (1, 6, 5)),
        (PatchEmbedding(embed_dim=5, patch_size=(2, 3), arrangement="grid"), (3, 4, 6), "float", (1, 2, 2, 5)),
        (ClassToken(), (5, 4), "float", (1, 6, 4)),
        (LearnedPositions(), (5, 4), "float", (1, 5, 4)),
        (SinusoidalPositions(), (5, 4), "float", (1, 5, 4)),
    ],
)
def test_shapes(layer, shape, dtype, expected):
    assert added(layer, *shape, dtype=dtype).shape == expected


@pytest.mark.parametrize(
    ("layer", "shape", "parameters"),
    [
        (TokenEmbedding(num_embeddings=7, embedding_dim=4), (1, 5), 28),
        (TimestepEmbedding(features=8), (1,), 0),
        (PatchEmbedding(embed_dim=768, patch_size=16), (1, 3, 224, 224), 768 * 3 * 256 + 768),
        (ClassToken(), (1, 196, 768), 768),
        (LearnedPositions(), (1, 197, 768), 197 * 768),
        (SinusoidalPositions(), (1, 197, 768), 0),
    ],
)
def test_parameters_are_those_of_the_papers(layer, shape, parameters):
    specs = layer.resolve((shape,)).weights((shape,))
    assert sum(math.prod(spec.shape) for spec in specs) == parameters


@pytest.mark.parametrize(
    ("layer", "shape", "dtype", "received"),
    [
        (TokenEmbedding(num_embeddings=0, embedding_dim=4), (5,), "int", "0"),
        (TokenEmbedding(num_embeddings=7, embedding_dim=4, padding_idx=7), (5,), "int", "7"),
        (TokenEmbedding(num_embeddings=7, embedding_dim=4), (5,), "float", "float"),
        (TimestepEmbedding(features=8), (2,), "float", "(1, 2)"),
        (TimestepEmbedding(features=2), (), "float", "2"),
        (TimestepEmbedding(features=8, order="sin"), (), "float", "sin"),
        (PatchEmbedding(embed_dim=5, patch_size=2), (3, 4, 5), "float", "(4, 5)"),
        (PatchEmbedding(embed_dim=5, patch_size=2, arrangement="row"), (3, 4, 4), "float", "row"),
        (ClassToken(position="middle"), (5, 4), "float", "middle"),
        (SinusoidalPositions(), (5, 3), "float", "3"),
        (SinusoidalPositions(arrangement="mixed"), (5, 4), "float", "mixed"),
    ],
)
def test_what_does_not_fit_is_named(layer, shape, dtype, received):
    with pytest.raises(SpecError) as raised:
        added(layer, *shape, dtype=dtype)
    text = str(raised.value)
    assert "node 'embed'" in text
    assert received in text
    assert "expected" in text


def test_sinusoids_are_the_papers_value_by_value():
    table = outputs(SinusoidalPositions(), np.zeros((1, 4, 6)))[0]
    for position in range(4):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert table[position, 2 * i] == pytest.approx(math.sin(angle), abs=1e-15)
            assert table[position, 2 * i + 1] == pytest.approx(math.cos(angle), abs=1e-15)


def test_halves_hold_the_same_sinusoids_in_another_order():
    pairs = outputs(SinusoidalPositions(), np.zeros((1, 4, 6)))
    halves = outputs(SinusoidalPositions(arrangement="halves"), np.zeros((1, 4, 6)))
    assert np.array_equal(halves, np.concatenate((pairs[..., 0::2], pairs[..., 1::2]), axis=2))


@pytest.mark.parametrize(("shift", "order"), [(1, "sin_cos"), (0, "cos_sin")])
def test_times_become_angles_as_in_ddpm_and_adm(shift, order):
    t = np.array([0.0, 1.0, 500.0, 999.0])
    found = outputs(TimestepEmbedding(features=9, shift=shift, order=order), t)
    for row, time in zip(found, t, strict=True):
        angles = [time * math.exp(-math.log(10000) * i / (4 - shift)) for i in range(4)]
        sine, cosine = [math.sin(a) for a in angles], [math.cos(a) for a in angles]
        expected = sine + cosine if order == "sin_cos" else cosine + sine
        np.testing.assert_allclose(row, [*expected, 0.0], rtol=0, atol=1e-12)


def test_patches_are_products_with_each_patch():
    generator = np.random.default_rng(0)
    x, weight, bias = (generator.normal(size=s) for s in ((2, 3, 4, 6), (5, 3, 2, 3), (5,)))
    got = outputs(PatchEmbedding(embed_dim=5, patch_size=(2, 3)), x, weight, bias)
    patches = [x[:, :, y : y + 2, z : z + 3].reshape(2, -1) for y in (0, 2) for z in (0, 3)]
    np.testing.assert_allclose(got, np.stack(patches, 1) @ weight.reshape(5, -1).T + bias, rtol=1e-12)


def test_a_class_token_stands_before_every_image():
    x, token = np.arange(24.0).reshape(2, 3, 4), np.full((1, 1, 4), 9.0)
    first = outputs(ClassToken(), x, token)
    assert np.array_equal(first[:, 1:], x)
    assert (first[:, 0] == 9).all()
    last = outputs(ClassToken(position="last"), x, token)
    assert np.array_equal(last[:, :-1], x)
    assert (last[:, -1] == 9).all()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("numpy", "reference"),
        pytest.param("torch", "eager", marks=pytest.mark.torch),
        pytest.param("jax", "jit", marks=pytest.mark.jax),
        pytest.param("tensorflow", "graph", marks=pytest.mark.tensorflow),
        pytest.param("tensorflow", "xla", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
    ],
)
@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_rows_and_their_gradients_are_pytorchs_on_every_backend(name, mode, padding_idx):
    """The padding row has values and no gradient: not the derivative, so no shared case can hold it."""
    torch = pytest.importorskip("torch")
    if name != "numpy":
        pytest.importorskip(name)
    tokens = np.array([[2, 0, 6, 2], [6, 6, 1, 2]])
    generator = np.random.default_rng(0)
    weight, cotangent = (generator.normal(size=s).astype(np.float32) for s in ((7, 3), (2, 4, 3)))
    layer = TokenEmbedding(num_embeddings=7, embedding_dim=3, padding_idx=padding_idx)
    builder = Builder("net")
    graph = builder.build(builder.add("embed", layer, builder.input("tokens", (4,), dtype="int")))
    backend = load_backend(name)
    backend.configure(ProcessSettings(threads=2))
    subject, options = InProcessSubject(backend), ProgramOptions(mode, precision("float32"))
    batch = {"tokens": tokens, "gradient.output": cotangent}
    held = torch.nn.Parameter(torch.from_numpy(weight.copy()))
    expected = torch.nn.functional.embedding(torch.from_numpy(tokens), held, padding_idx)
    expected.backward(torch.from_numpy(cotangent))
    got = subject.forward(graph, {"embed.weight": weight}, batch, options)
    assert np.array_equal(got.outputs["output"], expected.detach().numpy())
    found = subject.gradient(graph, {"embed.weight": weight}, batch, options)
    np.testing.assert_allclose(found.weights["embed.weight"], held.grad.numpy(), rtol=1e-6, atol=1e-7)
