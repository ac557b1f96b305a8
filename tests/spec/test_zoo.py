"""The classification networks against figures of independent origin: published counts, sizes and checkpoint names."""

from __future__ import annotations

import time

import pytest

from cnnbench.registry import architecture, architectures, build
from cnnbench.spec.summary import summarize

# torchvision's documentation of its checkpoints: parameters of the network at inference, and GFLOPs (which are
# multiply-accumulates, attention's products included) as it prints them.
TORCHVISION = {
    "alexnet": (61_100_840, 0.714),
    "densenet121": (7_978_856, 2.834),
    "densenet161": (28_681_000, 7.728),
    "densenet169": (14_149_480, 3.36),
    "densenet201": (20_013_928, 4.291),
    "efficientnet_b0": (5_288_548, 0.386),
    "efficientnet_b1": (7_794_184, 0.687),
    "efficientnet_b3": (12_233_232, 1.827),
    "efficientnet_b4": (19_341_616, 4.394),
    "efficientnet_b5": (30_389_784, 10.266),
    "efficientnet_b6": (43_040_704, 19.068),
    "efficientnet_b7": (66_347_960, 37.746),
    "googlenet_bn": (6_624_904, 1.498),
    "inception_v3": (23_834_568, 5.713),  # torchvision states 27,161,264, its auxiliary classifier counted
    "mobilenet_v2": (3_504_872, 0.301),
    "mobilenet_v3_large": (5_483_032, 0.217),
    "mobilenet_v3_small": (2_542_856, 0.057),
    "squeezenet1_0": (1_248_424, 0.819),
    "squeezenet1_1": (1_235_496, 0.349),
    "swin_b": (87_768_224, 15.431),
    "swin_s": (49_606_258, 8.741),
    "swin_t": (28_288_354, 4.491),
    "vit_b_16": (86_567_656, 17.564),
    "vit_b_32": (88_224_232, 4.409),
    "vit_l_16": (304_326_632, 61.555),
    "vgg11": (132_863_336, 7.609),
    "vgg11_bn": (132_868_840, 7.609),
    "vgg13": (133_047_848, 11.308),
    "vgg13_bn": (133_053_736, 11.308),
    "vgg16": (138_357_544, 15.47),
    "vgg16_bn": (138_365_992, 15.47),
    "vgg19": (143_667_240, 19.632),
    "vgg19_bn": (143_678_248, 19.632),
}
# Counts by others, of networks that torchvision does not have.
ELSEWHERE = {
    "alexnet_2012": (60_965_224, 724_406_816),
    "convit_base": (86_540_040, 16_796_161_536),
    "convit_small": (27_777_322, 5_347_587_168),
    "convit_tiny": (5_710_512, 1_075_037_568),
    "allcnn_c": (1_369_738, 270_798_336),
    "bn_inception": (11_285_224, 2_032_600_064),
    "cifar10_full": (89_578, 12_298_240),
    "cifar10_quick": (145_578, 12_354_176),
    "googlenet": (6_998_552, 1_582_671_872),
    "hrnet_w32": (41_232_680, 8_921_133_056),
    "mobilenet_v1": (4_231_976, 568_740_352),
    "nfnet_f0": (71_489_284, 12_384_198_656),
    "se_resnet50": (28_088_024, 3_860_488_192),
}
# (parameters of the state dict, its first and its last one)
CHECKPOINTS = {
    "alexnet": (16, "features.0.weight", "classifier.6.bias"),
    "densenet121": (364, "features.conv0.weight", "classifier.bias"),
    "googlenet_bn": (187, "conv1.conv.weight", "fc.bias"),
    "inception_v3": (292, "Conv2d_1a_3x3.conv.weight", "fc.bias"),
    "mobilenet_v2": (158, "features.0.0.weight", "classifier.1.bias"),
    "mobilenet_v3_small": (142, "features.0.0.weight", "classifier.3.bias"),
    "squeezenet1_1": (52, "features.0.weight", "classifier.1.bias"),
    "vgg16": (32, "features.0.weight", "classifier.6.bias"),
    "vgg16_bn": (58, "features.0.weight", "classifier.6.bias"),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_counts_are_those_that_torchvision_publishes(name):
    summary = summarize(build(name))
    parameters, giga = TORCHVISION[name]
    assert summary.parameters_inference == parameters
    assert round((summary.macs + summary.macs_attention) / 1e9, 3) == giga


@pytest.mark.parametrize("name", ELSEWHERE)
def test_counts_are_those_that_others_publish(name):
    summary = summarize(build(name))
    assert (summary.parameters_inference, summary.macs) == ELSEWHERE[name]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_are_named_as_in_checkpoints(name):
    names = [spec.name for spec in build(name).named_weights()]
    count, first, last = CHECKPOINTS[name]
    assert len(names) == count
    assert first in names
    assert last in names


def test_inception_modules_have_the_sizes_of_the_papers():
    shapes = build("googlenet").shapes()
    sizes = {"3a": (256, 28), "3b": (480, 28), "4a": (512, 14), "4e": (832, 14), "5a": (832, 7), "5b": (1024, 7)}
    assert {name: shapes[f"inception{name}.concat"] for name in sizes} == {
        name: (1, width, side, side) for name, (width, side) in sizes.items()
    }
    shapes = build("inception_v3").shapes()
    sizes = {"Mixed_5b": (256, 35), "Mixed_5d": (288, 35), "Mixed_6e": (768, 17), "Mixed_7c": (2048, 8)}
    assert {name: shapes[f"{name}.concat"] for name in sizes} == {
        name: (1, width, side, side) for name, (width, side) in sizes.items()
    }


def test_auxiliary_classifiers_are_further_outputs():
    assert [name for name, _ in build("googlenet").outputs] == ["logits", "aux1", "aux2"]
    assert [name for name, _ in build("inception_v3").outputs] == ["logits", "aux"]
    assert architecture("googlenet").facts.parameters == 13_378_280


@pytest.mark.parametrize("name", ["densenet201", "inception_v3", "efficientnet_b7"])
def test_large_networks_build_fast(name):
    build(name)  # modules are imported once
    start = time.process_time()
    build(name)
    assert time.process_time() - start < 2  # 0.03 to 0.06 s, measured beside other work


def test_every_network_takes_fewer_classes():
    for name, item in architectures().items():
        if item.num_classes == 1000:
            assert build(name, num_classes=7).shapes()[build(name, num_classes=7).outputs[0][1]] == (1, 7)
