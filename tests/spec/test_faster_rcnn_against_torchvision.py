"""Faster and Mask R-CNN against torchvision's: the same weights by name, the same image, the same detections."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
import pytest

from cnnbench.face.networks import Model
from cnnbench.face.prediction import predict
from cnnbench.spec.architectures.faster_rcnn import FASTER, MASK, build_faster_rcnn
from cnnbench.spec.weights import general_position

torch = pytest.importorskip("torch", reason="torchvision's networks are the oracle here")
pytestmark = pytest.mark.torch

IMAGE = (3, 128, 160)
SMALL = {"blocks": (1, 1, 1, 1), "before": 60, "after": 40, "detections": 12}


def suppressed(boxes, scores, threshold):
    """Greedy suppression, in the place of torchvision's compiled operator, which not every build of PyTorch loads."""
    stay, left = [], scores.argsort(descending=True, stable=True)
    while len(left):
        first, left = left[0], left[1:]
        stay.append(first)
        low, high = torch.maximum(boxes[first, :2], boxes[left, :2]), torch.minimum(boxes[first, 2:], boxes[left, 2:])
        common = (high - low).clamp(min=0).prod(1)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        left = left[common / (areas[first] + areas[left] - common) <= threshold]
    return torch.stack(stay) if stay else torch.zeros(0, dtype=torch.long)


def empty_outside(interpolate):
    """Samples beyond the features count as 0, as in torchvision's compiled ``roi_align`` and not in its Python form.

    Regions less than a position long are enlarged to one, and so reach over the border (its
    ``csrc/ops/cpu/roi_align_common.h``).
    """

    def interpolated(features, images, y, x, ymask, xmask):
        values = interpolate(features, images, y, x, ymask, xmask)
        height, width = features.shape[2:]
        rows, columns = (y >= -1) & (y <= height), (x >= -1) & (x <= width)
        return values * (rows[:, None, :, None, :, None] & columns[:, None, None, :, None, :])

    return interpolated


@pytest.fixture(scope="module")
def torchvision():
    with pytest.MonkeyPatch.context() as patch:
        register = torch.library.register_fake

        def tolerant(name, *args, **kwargs):
            """Registers nothing for operators that are not compiled."""

            def decorate(function):
                try:
                    return register(name, *args, **kwargs)(function)
                except RuntimeError:
                    return function

            return decorate

        patch.setattr(torch.library, "register_fake", tolerant)
        found = pytest.importorskip("torchvision", exc_type=ImportError)
        import torchvision.ops.boxes

        align = importlib.import_module("torchvision.ops.roi_align")
        patch.setattr(align, "_bilinear_interpolate", empty_outside(align._bilinear_interpolate))
        patch.setattr(torchvision.ops.boxes, "nms", suppressed)
        patch.setattr(torch, "compile", lambda function, **how: function)  # of its roi_align in Python
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
