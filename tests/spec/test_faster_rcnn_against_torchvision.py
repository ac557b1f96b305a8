"""Faster and Mask R-CNN against torchvision's: the same weights by name, the same image, the same detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from cnnbench.face.networks import Model
from cnnbench.face.prediction import predict
from cnnbench.numerics.reference import LayerCall, reference
from cnnbench.spec.architectures.faster_rcnn import FASTER, MASK, build_faster_rcnn
from cnnbench.spec.layers.detection import NonMaxSuppression
from cnnbench.spec.layers.roi_align import RoIAlign
from cnnbench.spec.weights import general_position

torch = pytest.importorskip("torch", reason="torchvision's networks are the oracle here")
pytestmark = pytest.mark.torch

from plain_torchvision import stand_ins, suppressed, tolerant  # noqa: E402 - it imports PyTorch

IMAGE = (3, 128, 160)
SMALL = {"blocks": (1, 1, 1, 1), "before": 60, "after": 40, "detections": 12}


@pytest.fixture(scope="module")
def torchvision():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.library, "register_fake", tolerant(torch.library.register_fake))
        found = pytest.importorskip("torchvision", exc_type=ImportError)
        for module, name, value in stand_ins():
            patch.setattr(module, name, value)
        yield found


@dataclass(frozen=True)
class Side:
    """Of one image proposals, what the head says of each, and detections."""

    proposals: np.ndarray
    logits: np.ndarray
    deltas: np.ndarray
    found: dict[str, np.ndarray]


def theirs(torchvision, graph, arrays, image, variant):
    from torchvision.models import resnet
    from torchvision.models.detection import FasterRCNN, MaskRCNN
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor

    body = resnet.ResNet(resnet.Bottleneck, list(variant.blocks), norm_layer=torchvision.ops.FrozenBatchNorm2d)
    make = MaskRCNN if variant.mask else FasterRCNN
    model = (
        make(
            _resnet_fpn_extractor(body, 5),
            num_classes=5,
            min_size=min(IMAGE[1:]),
            max_size=max(IMAGE[1:]),
            image_mean=[0.0] * 3,
            image_std=[1.0] * 3,
            rpn_pre_nms_top_n_test=variant.before,
            rpn_post_nms_top_n_test=variant.after,
            box_detections_per_img=variant.detections,
        )
        .eval()
        .double()
    )
    names = {spec.name for spec in graph.named_weights()}
    assert names == set(model.state_dict())
    model.load_state_dict({name: torch.from_numpy(np.asarray(arrays[name], np.float64)) for name in names})
    seen = {}
    model.rpn.register_forward_hook(lambda module, args, output: seen.update(proposals=output[0][0]))
    model.roi_heads.box_predictor.register_forward_hook(
        lambda module, args, output: seen.update(logits=output[0], deltas=output[1])
    )
    masks = []
    if variant.mask:
        model.roi_heads.mask_predictor.register_forward_hook(lambda module, args, output: masks.append(output))
    with torch.no_grad():
        (found,) = model([torch.from_numpy(image)])
    labels = found["labels"]
    result = {name: found[name].numpy() for name in ("boxes", "scores")} | {"classes": labels.numpy() - 1}
    if masks:
        result["masks"] = masks[0][torch.arange(len(labels)), labels].sigmoid().numpy()
    return Side(**{name: value.numpy() for name, value in seen.items()}, found=result)


def ours(graph, arrays, image):
    result = predict(
        Model(graph, arrays),
        {"image": image[None]},
        backend="torch:eager",
        precision="float64",
        nodes=["rpn.proposals"],
    )
    count = int(result.outputs["counts"][0])
    names = [name for name in ("boxes", "scores", "classes", "masks") if name in result.outputs]
    proposals = np.asarray(result.nodes["rpn.proposals"])[0]
    there = proposals.any(1)
    return Side(
        proposals[there],
        result.outputs["logits"][0][there],
        result.outputs["deltas"][0][there],
        {name: result.outputs[name][0][:count] for name in names},
    )


def outputs(layer, *inputs):
    return reference().forward(LayerCall(layer.resolve(tuple(x.shape for x in inputs)), inputs)).outputs


@pytest.mark.parametrize("aligned", [True, False])
def test_regions_at_the_borders_are_pooled_as_torchvisions(torchvision, aligned):
    features = np.random.default_rng(0).normal(size=(1, 3, 9, 12))
    boxes = np.array(
        [
            [47.2, 3, 47.9, 30], [5, 35.2, 44, 35.9], [47.9, 35.9, 48, 36],  # less than one position of 4 pixels
            [-3, -3, 20, 20], [-9, -9, -8.5, 40], [40, 30, 60, 50],
        ]
    )  # fmt: skip
    pooled = torchvision.ops.poolers.roi_align(
        torch.from_numpy(features), [torch.from_numpy(boxes)], (2, 3), 0.25, 2, aligned
    )
    layer = RoIAlign(output_size=(2, 3), spatial_scale=0.25, sampling_ratio=2, aligned=aligned)
    np.testing.assert_allclose(outputs(layer, features, boxes)[0], pooled.numpy(), rtol=1e-12, atol=1e-14)


def test_boxes_without_extent_suppress_nothing_in_the_stand_in_either():
    boxes = np.array([[1.0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 4, 4], [0, 0, 4, 3.5], [2, 2, 2, 4]])
    scores = np.array([0.5, 0.4, 0.9, 0.8, 0.3])
    stay = suppressed(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5).numpy()
    found, count = outputs(NonMaxSuppression(iou_threshold=0.5, max_outputs=5), boxes, scores)
    np.testing.assert_array_equal(stay, [2, 0, 1, 4])
    np.testing.assert_array_equal(found[:count], stay)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", [FASTER, MASK], ids=["faster", "mask"])
def test_proposals_and_detections_are_torchvisions(torchvision, variant):
    variant = variant._replace(**SMALL)
    graph = build_faster_rcnn(variant, IMAGE, 4)
    arrays = dict(general_position(graph, 0))
    scale = "roi_heads.box_predictor.cls_score.weight"
    arrays[scale] = 0.2 * arrays[scale]  # probabilities that rounding to 1 does not make equal
    image = np.random.default_rng(0).normal(size=IMAGE)
    expected, found = theirs(torchvision, graph, arrays, image, variant), ours(graph, arrays, image)
    assert len(expected.proposals) > 10
    assert len(expected.found["scores"]) > 3
    for name in ("proposals", "logits", "deltas"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-9, err_msg=name)
    np.testing.assert_array_equal(found.found["classes"], expected.found["classes"])
    for name in set(expected.found) - {"classes"}:
        np.testing.assert_allclose(found.found[name], expected.found[name], rtol=1e-6, atol=1e-6, err_msg=name)
