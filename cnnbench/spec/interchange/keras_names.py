"""What Keras' applications call the layers of networks that are registered here, and where they compute otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cnnbench.spec.graph import Graph, Node

Names = Callable[[Graph, Sequence[str]], dict[str, str]]


@dataclass(frozen=True)
class Application:
    """A network of Keras.

    Args:
        network: What it is called in ``keras.applications``.
        names: (our network, the layers of a file) -> our node by the layer's name; a layer that is not in it is left.
        epsilon: Of its normalisations, where the file does not tell.
        padding: How windows with a stride of 2 or more are padded: as ``ours`` are; as TensorFlow's ``same``, which
            puts the larger half at the end; or by one at the ``end`` whatever the size.
        mean_of_padding: Whether average pools count their padding.
    """

    network: str
    names: Names
    epsilon: float = 1e-3
    padding: Literal["ours", "same", "end"] = "ours"
    mean_of_padding: bool = True


def application(name: str) -> Application | None:
    """Keras' counterpart of the architecture of that name, None where none is known."""
    for pattern, found in APPLICATIONS.items():
        if re.fullmatch(pattern, name):
            return found
    return None


def _by_rules(*rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> Names:
    """The node of the first rule whose pattern the whole name fits."""

    def names(graph: Graph, layers: Sequence[str]) -> dict[str, str]:
        found = {}
        for layer in layers:
            for pattern, replacement in rules:
                if match := re.fullmatch(pattern, layer):
                    found[layer] = match.expand(replacement) if isinstance(replacement, str) else replacement(match)
                    break
        return found

    return names


def _in_order(graph: Graph, layers: Sequence[str]) -> dict[str, str]:
    """Layers that Keras numbered as they were made: convolutions, then norms, then linear layers, each in its order."""
    main = [node for node in graph.nodes if not node.name.startswith("AuxLogits.")]
    found: dict[str, str] = {}
    for stem, kind in (("conv2d", "conv"), ("batch_normalization", "batch_norm")):
        theirs = sorted((n for n in layers if re.fullmatch(rf"{stem}(_\d+)?", n)), key=_number)
        ours = [node.name for node in main if node.layer.kind == kind]
        if len(theirs) == len(ours):
            found |= dict(zip(theirs, ours, strict=True))
    return found | {name: "fc" for name in layers if name in _HEADS}


def _number(name: str) -> int:
    """That at the end of a name; the first has none."""
    match = re.search(r"_(\d+)$", name)
    return int(match[1]) if match else 0


def _vgg(graph: Graph, layers: Sequence[str]) -> dict[str, str]:
    """Convolutions by stage and place; three linear layers."""
    convs = [node.name for node in graph.nodes if node.layer.kind == "conv"]
    theirs = sorted(name for name in layers if re.fullmatch(r"block\d_conv\d", name))
    linear = {"fc1": "classifier.0", "fc2": "classifier.3", "predictions": "classifier.6"}
    found = dict(zip(theirs, convs, strict=False)) if len(theirs) == len(convs) else {}
    return found | {name: node for name, node in linear.items() if name in layers}


def _residual(match: re.Match[str]) -> str:
    stage, block, part, what = int(match[1]) - 1, int(match[2]) - 1, int(match[3]), match[4]
    if part == 0:
        return f"layer{stage}.{block}.downsample.{0 if what == 'conv' else 1}"
    return f"layer{stage}.{block}.{what}{part}"


def _dense(match: re.Match[str]) -> str:
    what = {"0_bn": "norm1", "1_conv": "conv1", "1_bn": "norm2", "2_conv": "conv2"}[match[3]]
    return f"features.denseblock{int(match[1]) - 1}.denselayer{match[2]}.{what}"


_INVERTED = {"expand": "0.0", "expand_BN": "0.1", "depthwise": "1.0", "depthwise_BN": "1.1"}
_INVERTED |= {"project": "2", "project_BN": "3"}
_FIRST = {"depthwise": "0.0", "depthwise_BN": "0.1", "project": "1", "project_BN": "2"}
_SCALED = {"expand_conv": "0.0", "expand_bn": "0.1", "dwconv": "1.0", "bn": "1.1", "se_reduce": "2.fc1"}
_SCALED |= {"se_expand": "2.fc2", "project_conv": "3.0", "project_bn": "3.1"}


def _scaled(match: re.Match[str]) -> str:
    """The first stage's blocks have no expansion, which moves their parts by one."""
    stage, block, part = int(match[1]), ord(match[2]) - ord("a"), _SCALED[match[3]]
    if stage == 1:
        part = f"{int(part[0]) - 1}{part[1:]}"
    return f"features.{stage}.{block}.block.{part}"


_HEADS = ("predictions", "probs", "fc1000", "conv_preds")
_HEAD = "|".join(_HEADS)
_RESNET = _by_rules(
    (r"conv1_conv", "conv1"),
    (r"conv1_bn", "bn1"),
    (r"conv(\d)_block(\d+)_(\d)_(conv|bn)", _residual),
    (_HEAD, "fc"),
)
_DENSENET = _by_rules(
    (r"conv1[_/]conv", "features.conv0"),
    (r"conv1[_/]bn", "features.norm0"),
    (r"conv(\d)_block(\d+)_(\d_(?:conv|bn))", _dense),
    (r"pool(\d)_bn", lambda m: f"features.transition{int(m[1]) - 1}.norm"),
    (r"pool(\d)_conv", lambda m: f"features.transition{int(m[1]) - 1}.conv"),
    (r"bn", "features.norm5"),
    (_HEAD, "classifier"),
)
_MOBILENET = _by_rules(
    (r"conv1", "conv0.conv"),
    (r"conv1_bn", "conv0.bn"),
    (r"conv_dw_(\d+)", r"conv\1.depthwise.conv"),
    (r"conv_dw_(\d+)_bn", r"conv\1.depthwise.bn"),
    (r"conv_pw_(\d+)", r"conv\1.pointwise.conv"),
    (r"conv_pw_(\d+)_bn", r"conv\1.pointwise.bn"),
    (_HEAD, "fc"),
)
_MOBILENET_V2 = _by_rules(
    (r"Conv1", "features.0.0"),
    (r"bn_Conv1", "features.0.1"),
    (r"expanded_conv_(\w+)", lambda m: f"features.1.conv.{_FIRST.get(m[1], m[1])}"),
    (r"block_(\d+)_(\w+)", lambda m: f"features.{int(m[1]) + 1}.conv.{_INVERTED.get(m[2], m[2])}"),
    (r"Conv_1", "features.18.0"),
    (r"Conv_1_bn", "features.18.1"),
    (_HEAD, "classifier.1"),
)
_EFFICIENTNET = _by_rules(
    (r"stem_conv", "features.0.0"),
    (r"stem_bn", "features.0.1"),
    (rf"block(\d)([a-z])_({'|'.join(_SCALED)})", _scaled),
    (r"top_conv", "features.8.0"),
    (r"top_bn", "features.8.1"),
    (_HEAD, "classifier.1"),
)
APPLICATIONS: Mapping[str, Application] = {
    r"vgg1[69]": Application("VGG16 and VGG19", _vgg),
    r"resnet(50|101|152)_v1": Application("ResNet50, ResNet101 and ResNet152", _RESNET, 1.001e-5),
    r"densenet(121|169|201)": Application("DenseNet", _DENSENET, 1.001e-5),
    r"mobilenet_v1": Application("MobileNet", _MOBILENET, padding="end"),
    r"mobilenet_v2": Application("MobileNetV2", _MOBILENET_V2, padding="same"),
    r"efficientnet_b\d": Application("EfficientNet", _EFFICIENTNET, padding="same"),
    r"inception_v3": Application("InceptionV3", _in_order, mean_of_padding=False),
}
OTHERWISE = {f"resnet{n}": f"resnet{n}_v1" for n in (50, 101, 152)}  # where Keras' network is another of ours


def known_differences(graph: Graph, known: Application | None) -> list[str]:
    """The nodes that Keras' application computes otherwise, whatever the weights, where the file does not tell.

    Args:
        graph: Our network.
        known: Its counterpart in Keras.
    """
    if known is None:
        return []
    found = []
    for node in graph.nodes:
        layer: Any = node.layer
        padding = getattr(layer, "padding", None)
        if not isinstance(padding, tuple) or not any(map(any, padding)) or node.name.startswith("AuxLogits."):
            continue
        theirs = _keras_padding(graph, node, known.padding)
        if layer.kind == "conv" and theirs != padding:
            found.append(f"{node.name} pads {padding}, Keras {theirs}")
        if layer.kind == "avg_pool" and layer.count_include_pad != known.mean_of_padding:
            found.append(f"{node.name} counts its padding in the mean, Keras does not")
    return found


def _keras_padding(graph: Graph, node: Node, rule: str) -> tuple[tuple[int, int], ...]:
    layer: Any = node.layer
    ours: tuple[tuple[int, int], ...] = layer.padding
    if rule == "ours" or layer.kind != "conv" or max(layer.stride) == 1:
        return ours
    if rule == "end":
        return ((0, 1), (0, 1))
    spatial = graph.input_shapes(node)[0][2:]
    totals = [
        max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(spatial, layer.stride, layer.kernel_size, strict=True)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)
