"""DenseCap, the adversarial autoencoder and the notes' blocks: counts of other origin; parts make the whole."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.face.networks import Model
from cnnbench.face.prediction import predict
from cnnbench.registry import build
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers.embedding import TokenEmbedding
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.summary import summarize
from cnnbench.spec.weights import general_position

VGG16_CONVOLUTIONS = 15_470_264_320 - 25_088 * 4096 - 4096 * 4096 - 4096 * 1000  # at 224, from torchvision's total


def of(name: str, batch: dict, seed: int = 0) -> dict:
    """Outputs of a network or a part, all with the weights of the whole."""
    graph = build(name)
    arrays = general_position(build("densecap_tiny"), seed)
    needed = {spec.name: arrays[spec.name] for spec in graph.named_weights()}
    return dict(predict(Model(graph, needed), batch, backend="numpy", precision="float64").outputs)


def test_densecap_costs_what_its_parts_sum_to():
    convolutions = VGG16_CONVOLUTIONS * (480 * 720) // 224**2
    proposals = 30 * 45 * (9 * 512 * 256 + 256 * 6 * 12)
    region = 25_088 * 4096 + 4096 * 4096 + 4096 * 5
    captioner = 4096 * 512 + 17 * 2 * 4 * 512**2 + 16 * 512 * 10_498
    assert summarize(build("densecap")).macs == convolutions + proposals + 300 * (region + captioner)
    assert summarize(build("densecap")).parameters == 150_437_263
    assert summarize(build("densecap_captioner")).macs == captioner


@pytest.mark.parametrize("part", ["regions", "captioner", "step"])
def test_a_part_of_densecap_has_weights_of_the_whole(part):
    whole = {spec.name: spec.shape for spec in build("densecap_tiny").named_weights()}
    found = {spec.name: spec.shape for spec in build(f"densecap_tiny_{part}").named_weights()}
    assert found.items() <= whole.items()


def test_word_by_word_gives_what_teacher_forcing_gives():
    image = draw_inputs(build("densecap_tiny"), 3, 2)
    whole, regions = of("densecap_tiny", image), of("densecap_tiny_regions", {"image": image["image"]})
    for name in ("boxes", "scores", "counts"):
        np.testing.assert_array_equal(whole[name], regions[name])
    h, c = (regions[name].reshape(16, -1) for name in "hc")
    words = image["words"].reshape(16, -1)
    for step in range(words.shape[1]):
        out = of("densecap_tiny_step", {"h": h, "c": c, "words": words[:, step]})
        h, c = out["h"], out["c"]
        np.testing.assert_allclose(out["logits"], whole["logits"].reshape(16, -1, 11)[:, step], rtol=1e-9, atol=1e-9)
    codes = regions["codes"].reshape(16, -1)
    forced = of("densecap_tiny_captioner", {"codes": codes, "words": words})["logits"]
    np.testing.assert_allclose(forced, whole["logits"].reshape(forced.shape), rtol=1e-9, atol=1e-9)


def naive_samples(features: np.ndarray, box: np.ndarray, size: tuple[int, int], grid: int) -> np.ndarray:
    """Bilinear interpolation by loops, at points spread over the box from the authors' affine map; zeros outside."""
    channels, rows, columns = features.shape
    found = np.zeros((channels, grid, grid))
    (x1, y1, x2, y2), (height, width) = box, size
    for i, j in np.ndindex(grid, grid):
        v, u = (2 * k / (grid - 1) - 1 for k in (i, j))
        y = (2 * (y1 + y2) / 2 / (height - 1) - 1) + (y2 - y1) / height * v
        x = (2 * (x1 + x2) / 2 / (width - 1) - 1) + (x2 - x1) / width * u
        row, column = (y + 1) / 2 * (rows - 1), (x + 1) / 2 * (columns - 1)
        for r in range(rows):
            for q in range(columns):
                weight = max(0.0, 1 - abs(row - r)) * max(0.0, 1 - abs(column - q))
                found[:, i, j] += weight * features[:, r, q]
    return found


def test_regions_are_sampled_where_the_affine_map_of_the_paper_puts_them():
    graph = build("densecap_tiny")
    arrays, batch = general_position(graph, 0), draw_inputs(graph, 0, 1)
    nodes = ["features.9", "rpn.boxes", "sample.rows"]
    result = predict(Model(graph, arrays), batch, backend="numpy", precision="float64", nodes=nodes)
    features, boxes, rows = (np.asarray(result.nodes[name], np.float64) for name in nodes)
    assert (boxes[0, 0] != 0).any()
    for region in range(3):
        expected = naive_samples(features[0], boxes[0, region], (64, 64), 4)
        np.testing.assert_allclose(rows[region], expected.ravel(), rtol=1e-9, atol=1e-9)


def test_the_adversarial_autoencoder_is_its_encoder_and_decoder():
    whole = [n.name for n in build("adversarial_autoencoder_tiny").nodes]
    parts = [n.name for part in ("encoder", "decoder") for n in build(f"adversarial_autoencoder_tiny_{part}").nodes]
    assert whole == parts


def test_the_modules_of_the_lecture_have_its_depths_and_products():
    naive, reduced = summarize(build("inception_naive")), summarize(build("inception_reduced"))
    assert (naive.outputs["features"], reduced.outputs["features"]) == ((672, 28, 28), (480, 28, 28))
    assert round(naive.macs / 1e6) == 854
    products = 2 * 64 * 256 + 128 * 256 + 192 * 9 * 64 + 96 * 25 * 64 + 64 * 256  # the six lines of the slide
    assert reduced.macs == 28**2 * products


def test_soft_attention_weighs_every_place_and_all_weights_sum_to_1():
    graph = build("soft_attention", image=(8, 3, 5))
    batch = draw_inputs(graph, 0, 2)
    out = predict(Model(graph, general_position(graph, 0)), batch, backend="numpy", precision="float64").outputs
    np.testing.assert_allclose(out["attention"].sum((1, 2)), 1.0, rtol=1e-12)
    expected = (out["attention"][:, None] * batch["image"]).sum((2, 3))
    np.testing.assert_allclose(out["context"], expected, rtol=1e-9, atol=1e-12)


def tokens(*sizes: int) -> Graph:
    """Token embeddings of different tables on the same words, the last after a reshape."""
    b = Builder("tokens")
    words = b.input("words", (6, 50), dtype="int")
    values = [b.add(f"table{i}", TokenEmbedding(num_embeddings=n, embedding_dim=2), words) for i, n in enumerate(sizes)]
    moved = b.add("moved", Reshape(shape=(300,)), words)
    values.append(b.add("last", TokenEmbedding(num_embeddings=9, embedding_dim=2), moved))
    return b.build(values)


@pytest.mark.parametrize(("sizes", "least"), [((20, 30), 9), ((7, 30), 7)])
def test_indices_are_drawn_among_all_rows_that_every_reader_has(sizes, least):
    drawn = draw_inputs(tokens(*sizes), 0, 2)["words"]
    assert drawn.dtype.kind == "i"
    assert set(np.unique(drawn)) == set(range(least))
