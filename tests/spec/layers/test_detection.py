"""Detectors: shapes and refusals, and the reference's ops against other implementations and naive loops."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.composites.boxes import BoxClip, BoxDecode, BoxEncode, BoxIoU
from cnnbench.spec.composites.proposals import ProposalSelection, YoloDecode
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.detection import AnchorGrid, NonMaxSuppression, RoIMaxPool, TakeRows
from cnnbench.spec.layers.roi_align import RoIAlign

RNG = np.random.default_rng(3)


def outputs(layer, *inputs):
    arrays = tuple(np.asarray(x) for x in inputs)
    resolved = layer.resolve(tuple(x.shape for x in arrays))
    return reference().forward(LayerCall(resolved, arrays)).outputs


def random_boxes(count, size, *, batch=None):
    shape = (count, 2) if batch is None else (batch, count, 2)
    first = RNG.uniform(-0.2 * size, 0.8 * size, shape)
    return np.concatenate([first, first + RNG.uniform(0.05, 0.7, shape) * size], -1)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align_equals_the_onnx_reference(aligned, ratio, mode):
    """The last three boxes are thinner than a position, at the border: enlarged to one, they reach over it."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    features = RNG.normal(size=(2, 3, 9, 12)).astype(np.float32)
    first = RNG.uniform(0, 20, (6, 2))  # within the image: there the adaptive number of samples has no limit
    boxes = np.concatenate([first, first + RNG.uniform(1, (28, 16), (6, 2))], 1)
    thin = [[47.2, 3, 47.9, 30], [5, 35.2, 44, 35.9], [47.9, 35.9, 48, 36]]
    boxes = np.concatenate([boxes, thin]).astype(np.float32)
    images = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1])
    node = onnx.helper.make_node(
        "RoiAlign",
        ["x", "boxes", "images"],
        ["y"],
        output_height=2,
        output_width=3,
        sampling_ratio=ratio,
        spatial_scale=0.25,
        mode=mode,
        coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
    )
    kinds = {"x": (1, features.shape), "boxes": (1, boxes.shape), "images": (7, images.shape)}
    graph = onnx.helper.make_graph(
        [node],
        "one",
        [onnx.helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()],
        [onnx.helper.make_tensor_value_info("y", 1, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 16)])
    expected = ReferenceEvaluator(model).run(None, {"x": features, "boxes": boxes, "images": images})[0]
    layer = RoIAlign(output_size=(2, 3), spatial_scale=0.25, sampling_ratio=ratio, aligned=aligned, mode=mode)
    found = outputs(layer, features.astype(float), boxes.astype(float), images)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_roi_align_of_a_plane_is_the_plane():
    """Interpolation is exact on planes, so the mean of a cell's samples is the plane at the cell's centre."""
    y, x = np.mgrid[:10, :14]
    features = (3.0 * y - 2.0 * x + 1.0)[None, None]
    box = np.array([[8.0, 8.0, 40.0, 24.0]])  # pixels; stride 4
    found = outputs(RoIAlign(output_size=(2, 4), spatial_scale=0.25, sampling_ratio=2), features, box, np.array([0]))[0]
    rows = (8 + 16 * (np.arange(2) + 0.5) / 2) / 4 - 0.5
    columns = (8 + 32 * (np.arange(4) + 0.5) / 4) / 4 - 0.5
    np.testing.assert_allclose(found[0, 0], 3 * rows[:, None] - 2 * columns + 1, rtol=1e-13)


def test_roi_max_pool_equals_a_loop_over_pixels():
    features = RNG.normal(size=(2, 2, 7, 9))
    boxes = np.array([[0.5, 1.5, 4.5, 6.0], [-3, -3, 2, 2], [8, 6, 30, 30], [20, 20, 30, 30], [2.4, 2.6, 2.4, 2.6]])
    images = np.array([0, 1, 1, 0, 0])
    found = outputs(RoIMaxPool(output_size=(2, 3)), features, boxes, images)[0]
    for r, (box, image) in enumerate(zip(boxes, images, strict=True)):
        x1, y1, x2, y2 = (int(np.floor(v + 0.5)) if v >= 0 else -int(np.floor(-v + 0.5)) for v in box)
        height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for i in range(2):
            for j in range(3):
                seen = [
                    features[image, :, y, x]
                    for y in range(7)
                    for x in range(9)
                    if y - y1 >= (i * height) // 2
                    and (y - y1) * 2 < (i + 1) * height
                    and x - x1 >= (j * width) // 3
                    and (x - x1) * 3 < (j + 1) * width
                ]
                expected = np.max(seen, axis=0) if seen else np.zeros(2)
                np.testing.assert_array_equal(found[r, :, i, j], expected)


def test_boxes_without_images_belong_to_them_in_equal_shares():
    features, boxes = RNG.normal(size=(2, 3, 9, 12)), random_boxes(6, 36)
    layer = RoIAlign(output_size=2, spatial_scale=0.25, sampling_ratio=2)
    given = outputs(layer, features, boxes, np.array([0, 0, 0, 1, 1, 1]))[0]
    np.testing.assert_array_equal(outputs(layer, features, boxes)[0], given)


def test_anchors_are_torchvisions():
    """Figures of torchvision's AnchorGenerator for one size, three ratios, stride 16 (its documentation's layout)."""
    layer = AnchorGrid(sizes=(32.0,), aspect_ratios=(0.5, 1.0, 2.0), stride=16)
    found = outputs(layer, np.zeros((1, 1, 2, 2)))[0]
    assert found.shape == (12, 4)
    np.testing.assert_array_equal(found[:3], [[-23, -11, 23, 11], [-16, -16, 16, 16], [-11, -23, 11, 23]])
    np.testing.assert_array_equal(found[3], [-23 + 16, -11, 23 + 16, 11])  # the next column
    np.testing.assert_array_equal(found[6], [-23, -11 + 16, 23, 11 + 16])  # the next row


def naive_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return common / union if union > 0 else 0.0


def naive_nms(boxes, scores, threshold, most):
    stay = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(naive_iou(boxes[i], boxes[j]) <= threshold for j in stay) and len(stay) < most:
            stay.append(i)
    return stay


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_suppression_equals_the_rule_as_it_is_told(threshold):
    for _ in range(20):
        boxes = np.round(random_boxes(18, 8))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2])
        scores = RNG.integers(0, 6, 18) / 5
        indices, count = outputs(NonMaxSuppression(iou_threshold=threshold, max_outputs=7), boxes, scores)
        expected = naive_nms(boxes, scores, threshold, 7)
        assert indices.tolist() == expected + [-1] * (7 - len(expected))
        assert count == len(expected)


def test_an_overlap_equal_to_the_threshold_does_not_suppress():
    boxes = np.array([[0.0, 0, 2, 1], [1, 0, 3, 1], [0, 0, 2, 1]])
    scores = np.array([0.9, 0.8, 0.7])
    indices, count = outputs(NonMaxSuppression(iou_threshold=1 / 3, max_outputs=3), boxes, scores)
    assert indices.tolist() == [0, 1, -1]
    assert (indices.dtype, int(count)) == (np.int64, 2)


def test_iou_equals_a_loop_and_is_zero_for_points():
    a, b = random_boxes(4, 10), random_boxes(5, 10)
    a[0], b[2] = 1.0, 1.0
    found = outputs(BoxIoU(), a, b)[0]
    np.testing.assert_allclose(found, [[naive_iou(x, y) for y in b] for x in a], rtol=1e-13, atol=1e-15)
    assert found[0, 2] == 0


def test_encoding_is_as_published_and_decoding_is_its_inverse():
    anchors = np.array([[0.0, 0.0, 10.0, 20.0]])
    boxes = np.array([[2.0, 4.0, 22.0, 14.0]])  # centre (12, 9), size (20, 10)
    scales = (10.0, 10.0, 5.0, 5.0)
    found = outputs(BoxEncode(scales=scales), boxes, anchors)[0]
    expected = [10 * (12 - 5) / 10, 10 * (9 - 10) / 20, 5 * np.log(20 / 10), 5 * np.log(10 / 20)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-14)
    np.testing.assert_allclose(outputs(BoxDecode(scales=scales), found, anchors)[0], boxes, rtol=1e-13)


def test_a_decoded_side_grows_by_62_and_a_half_at_most():
    found = outputs(BoxDecode(), np.array([[0.0, 0.0, 50.0, -1.0]]), np.array([[0.0, 0.0, 2.0, 2.0]]))[0]
    np.testing.assert_allclose(found[0, 2] - found[0, 0], 2 * 1000 / 16, rtol=1e-13)


def test_clipping_moves_corners_into_the_image():
    found = outputs(BoxClip(height=10, width=20), np.array([[-1.0, 3, 25, 11]]))[0]
    assert found.tolist() == [[0, 3, 20, 10]]


def test_proposals_equal_a_loop():
    anchors, logits, deltas = random_boxes(14, 20), RNG.normal(size=(2, 14)), RNG.normal(size=(2, 14, 4)) * 0.3
    layer = ProposalSelection(height=16, width=18, before=9, after=5, iou_threshold=0.4, min_size=2.0)
    boxes, scores, count = outputs(layer, logits, deltas, anchors)
    for n in range(2):
        centre, size = (anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]
        middle, grown = centre + deltas[n, :, :2] * size, size * np.exp(deltas[n, :, 2:])
        decoded = np.concatenate([middle - grown / 2, middle + grown / 2], 1).clip(0, [18, 16, 18, 16])
        best = np.argsort(-logits[n], kind="stable")[:9]
        kept = [i for i in best if (decoded[i, 2:] - decoded[i, :2] >= 2).all()]
        stay = [kept[i] for i in naive_nms(decoded[kept], logits[n, kept], 0.4, 5)]
        assert count[n] == len(stay)
        np.testing.assert_allclose(boxes[n, : len(stay)], decoded[stay], rtol=1e-12)
        np.testing.assert_allclose(scores[n, : len(stay)], 1 / (1 + np.exp(-logits[n, stay])), rtol=1e-12)
        assert not boxes[n, len(stay) :].any()
        assert not scores[n, len(stay) :].any()


def test_yolo_decodes_cell_by_cell():
    grid = RNG.uniform(0, 1, (2, 5 * 2 + 3, 2, 4))
    boxes, scores = outputs(YoloDecode(boxes=2, classes=3, height=20, width=80), grid)
    assert boxes.shape == (2, 16, 4)
    for n, i, j, b in np.ndindex(2, 2, 4, 2):
        x, y, w, h, confidence = grid[n, 5 * b : 5 * b + 5, i, j]
        cx, cy, width, height = (j + x) / 4 * 80, (i + y) / 2 * 20, w * w * 80, h * h * 20
        row = (i * 4 + j) * 2 + b
        expected = [cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2]
        np.testing.assert_allclose(boxes[n, row], expected, rtol=1e-12)
        np.testing.assert_allclose(scores[n, row], confidence * grid[n, 10:, i, j], rtol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shapes", "received"),
    [
        (RoIAlign(output_size=2), ((1, 2, 8, 8), (3, 5)), "(3, 5)"),
        (RoIAlign(output_size=2, mode="mean"), ((1, 2, 8, 8), (3, 4)), "'mean'"),
        (RoIAlign(output_size=2, spatial_scale=0.0), ((1, 2, 8, 8), (3, 4)), "0.0"),
        (RoIAlign(output_size=0), ((1, 2, 8, 8), (3, 4)), "0"),
        (RoIMaxPool(output_size=2), ((2, 2, 8, 8), (3, 4)), "3 boxes, 2 images"),
        (RoIMaxPool(output_size=2), ((1, 2, 8), (3, 4)), "(1, 2, 8)"),
        (AnchorGrid(sizes=()), ((1, 2, 8, 8),), "()"),
        (AnchorGrid(sizes=(8.0,), aspect_ratios=(-1.0,)), ((1, 2, 8, 8),), "(-1.0,)"),
        (NonMaxSuppression(iou_threshold=1.5, max_outputs=3), ((5, 4), (5,)), "1.5"),
        (NonMaxSuppression(iou_threshold=0.5, max_outputs=0), ((5, 4), (5,)), "0"),
        (NonMaxSuppression(iou_threshold=0.5, max_outputs=3), ((5, 4), (6,)), "(5, 4) and (6,)"),
        (BoxIoU(), ((2, 5, 4), (3, 5, 4)), "((2, 5, 4), (3, 5, 4))"),
        (BoxDecode(scales=(1.0, 1.0, 0.0, 1.0)), ((5, 4), (5, 4)), "(1.0, 1.0, 0.0, 1.0)"),
        (BoxEncode(), ((5, 4), (6, 4)), "((5, 4), (6, 4))"),
        (BoxClip(height=0, width=4), ((5, 4),), "0"),
        (YoloDecode(boxes=2, classes=3), ((1, 12, 7, 7),), "12"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(layer, shapes, received):
    builder = Builder("bad")
    values = [builder.input(f"x{i}", shape, batched=False) for i, shape in enumerate(shapes)]
    with pytest.raises(SpecError, match="node 'suspect'") as caught:
        builder.add("suspect", layer, *values)
    assert received in str(caught.value.received)
    assert caught.value.expected


def test_rows_are_taken_by_image_and_negative_indices_give_zeros():
    values = np.arange(12.0).reshape(2, 3, 2)
    found = outputs(TakeRows(), values, np.array([[2, -1], [0, 0]]))[0]
    assert found.tolist() == [[[4, 5], [0, 0]], [[6, 7], [6, 7]]]


def test_indices_are_integers_in_a_graph():
    builder = Builder("detector")
    boxes, scores = builder.input("boxes", (5, 4)), builder.input("scores", (5,))
    indices, count = builder.add_all("nms", NonMaxSuppression(iou_threshold=0.5, max_outputs=3), boxes, scores)
    taken = builder.add("taken", TakeRows(), boxes, indices)
    graph = builder.build({"boxes": taken, "indices": indices, "count": count})
    assert [graph.dtypes[value] for _, value in graph.outputs] == ["float", "int", "int"]
    assert graph.shapes(7)["nms:1"] == (7,)
    assert graph.differentiable_outputs == ("boxes",)
