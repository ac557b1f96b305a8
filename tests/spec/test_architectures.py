"""Every registered network against its declared facts, and the facts against figures of independent origin."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from cnnbench.errors import SpecError
from cnnbench.hookspecs import hookimpl
from cnnbench.registry import architecture, architectures, build, forget_plugins, plugin_manager
from cnnbench.spec.architectures.cifar_resnet import VARIANTS as CIFAR_VARIANTS
from cnnbench.spec.architectures.lenet import c3_connections
from cnnbench.spec.architectures.resnet import TABLE_1
from cnnbench.spec.passes import lower
from cnnbench.spec.serialization import graph_from_json
from cnnbench.spec.summary import summarize

# Published: parameters and buffers of torchvision's checkpoints; LeCun et al. 1998; Caffe's prototxt; the counts for
# 32x32 from He et al. 2015, section 4.2 (0.27 M for 20 layers).
PUBLISHED = {
    "resnet18": (11_689_512, 9_600, 1_814_073_344),
    "resnet34": (21_797_672, 17_024, 3_663_761_408),
    "resnet50": (25_557_032, 53_120, 4_089_184_256),
    "resnet101": (44_549_160, 105_344, 7_801_405_440),
    "resnet152": (60_192_808, 151_424, 11_513_626_624),
    "resnet50_v1": (25_557_032, 53_120, 3_857_973_248),
    "resnet20": (269_722, 1_376, 40_551_040),
    "resnet20_b": (272_474, 1_568, 40_813_184),
    "lenet5_1998": (60_000, 840, 326_520),
    "lenet5": (61_706, 0, 416_520),
    "lenet_20_50_500": (431_080, 0, 2_293_000),
}

INPUTS = {"lenet5_1998": (1, 32, 32), "lenet5": (1, 32, 32), "lenet_20_50_500": (1, 28, 28)}


@pytest.mark.parametrize("name", sorted(architectures()))
def test_the_graph_has_the_declared_facts(name):
    found = architecture(name)
    summary = summarize(build(name))
    assert summary.name == name
    assert summary.parameters == found.facts.parameters
    assert summary.macs == found.facts.macs
    assert found.facts.buffers is None or summary.buffers == found.facts.buffers
    inference = found.facts.parameters_inference
    assert summary.parameters_inference == (found.facts.parameters if inference is None else inference)
    assert next(iter(summary.inputs.values())) == found.facts.input
    assert found.source
    assert found.year >= 1998


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_the_published_ones(name):
    summary = summarize(build(name))
    assert (summary.parameters, summary.buffers, summary.macs) == PUBLISHED[name]
    side = 32 if name.startswith("resnet20") else 224
    assert summary.inputs == {"image": INPUTS.get(name, (3, side, side))}
    assert summary.outputs == {"logits": (10 if side == 32 or name in INPUTS else 1000,)}


@pytest.mark.parametrize(
    "name",
    [
        *(f"{form}{depth}" for form in ("resnet", "plain") for depth in (20, 32, 44, 56, 110)),
        *(f"resnet{depth}_v1" for depth in (50, 101, 152)),
        *("simple_cnn", "simple_cnn_norm_last"),
    ],
)
def test_the_catalogue_is_registered(name):
    assert architecture(name).name == name


@pytest.mark.parametrize("variant", CIFAR_VARIANTS, ids=lambda variant: variant.name)
def test_the_nets_for_32x32_follow_section_4_2(variant):
    """6 n + 2 layers: 3x3 convolutions of 16, 32, 64 channels on maps of 32, 16, 8, norms, one linear layer."""
    n = (variant.depth - 2) // 6
    weights = 9 * (3 * 16 + 2 * n * 16 * 16)
    macs = weights * 32**2
    for side, width in ((16, 32), (8, 64)):
        stage = 9 * (width // 2 * width + (2 * n - 1) * width * width)
        weights += stage
        macs += stage * side**2
    normalized = 16 + 2 * n * (16 + 32 + 64)
    if variant.shortcut == "B":  # two projections with their norms
        weights += 16 * 32 + 32 * 64
        macs += 16 * 32 * 16**2 + 32 * 64 * 8**2
        normalized += 32 + 64
    summary = summarize(build(variant.name))
    assert summary.parameters == weights + 2 * normalized + 64 * 10 + 10
    assert summary.buffers == 2 * normalized
    assert summary.macs == macs + 640


def bottleneck_macs(blocks: tuple[int, ...], *, stride_in_first: bool) -> int:
    """Multiply-accumulates of a bottleneck network at 224, summed from table 1."""
    total = 112**2 * 64 * 3 * 49
    channels, side = 64, 56
    for stage, (count, width) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True)):
        for block in range(count):
            before, side = side, side // 2 if stage and not block else side
            first_side = side if stride_in_first else before
            total += first_side**2 * channels * width + side**2 * (9 * width**2 + width * 4 * width)
            if not block:
                total += side**2 * channels * 4 * width
            channels = 4 * width
    return total + 2048 * 1000


@pytest.mark.parametrize(
    ("depth", "blocks"), [(50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))], ids=["50", "101", "152"]
)
def test_bottleneck_networks_cost_what_table_1_sums_to(depth, blocks):
    assert summarize(build(f"resnet{depth}")).macs == bottleneck_macs(blocks, stride_in_first=False)
    assert summarize(build(f"resnet{depth}_v1")).macs == bottleneck_macs(blocks, stride_in_first=True)


@pytest.mark.parametrize(
    ("name", "field"),
    [("resnet50_v1", 483), ("resnet101_v1", 1027), ("resnet152_v1", 1507)],
)
def test_receptive_fields_are_those_of_araujo_norris_sim(name, field):
    """Their table 'receptive field, effective stride' of the paper's own ResNets (2019)."""
    last = [node.receptive_field for node in summarize(build(name)).nodes if node.receptive_field][-1]
    assert last == (field, field)


def test_output_sizes_of_the_stages_are_those_of_table_1():
    shapes = build("resnet34").shapes()
    for number, stage in enumerate(TABLE_1, start=1):
        assert shapes[f"layer{number}.0.relu2"] == (1, stage.width, stage.output_size, stage.output_size)


def test_names_are_those_of_torchvision_checkpoints():
    graph = build("resnet50")
    names = [spec.name for spec in graph.named_weights()]
    assert len(names) == 161  # entries of resnet50's state dict that are parameters
    assert len(graph.named_state()) == 2 * 53
    assert names[:3] == ["conv1.weight", "bn1.weight", "bn1.bias"]
    assert names[-2:] == ["fc.weight", "fc.bias"]
    block = {name.removeprefix("layer3.0.") for name in names if name.startswith("layer3.0.")}
    norms = {f"{norm}.{part}" for norm in ("bn1", "bn2", "bn3", "downsample.1") for part in ("weight", "bias")}
    assert block == norms | {"conv1.weight", "conv2.weight", "conv3.weight", "downsample.0.weight"}
    assert not any(name.startswith("layer3.1.downsample") for name in names)


def test_v1_and_v1_5_differ_only_in_the_place_of_the_stride():
    strides = {
        name: [build(name).node(f"layer2.0.{conv}").layer.stride for conv in ("conv1", "conv2", "downsample.0")]
        for name in ("resnet50", "resnet50_v1")
    }
    assert strides == {"resnet50": [(1, 1), (2, 2), (2, 2)], "resnet50_v1": [(2, 2), (1, 1), (2, 2)]}


def test_option_a_has_no_weights_in_its_shortcuts_and_keeps_channels_first():
    graph = build("resnet20")
    pad = graph.node("layer2.0.shortcut.pad").layer
    assert pad.padding == ((0, 16), (0, 0), (0, 0))
    assert not any("shortcut" in spec.name for spec in graph.named_weights())


def test_a_plain_network_is_its_residual_twin_without_additions():
    plain, residual = build("plain20"), build("resnet20")
    assert [n.name for n in plain.nodes] == [
        n.name for n in residual.nodes if n.layer.kind not in ("add", "subsample", "pad")
    ]
    assert plain.named_weights() == residual.named_weights()


def test_c3_is_connected_as_table_i_says():
    table = c3_connections()
    assert [len(seen) for seen in table] == [3] * 6 + [4] * 9 + [6]
    assert sum(map(len, table)) == 60
    assert table[:6] == tuple(tuple(sorted({i, (i + 1) % 6, (i + 2) % 6})) for i in range(6))
    assert table[6:12] == tuple(tuple(sorted((i + k) % 6 for k in range(4))) for i in range(6))
    assert table[12:15] == ((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5))


def test_the_layers_of_lenet_5_have_the_paper_s_counts():
    counts = {node.name: node.parameters for node in summarize(build("lenet5_1998")).nodes if node.parameters}
    assert counts == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}


def test_the_two_orders_of_the_simple_network():
    kinds = {name: [n.layer.kind for n in build(name).nodes][:4] for name in ("simple_cnn", "simple_cnn_norm_last")}
    assert kinds == {
        "simple_cnn": ["conv", "batch_norm", "relu", "dropout"],
        "simple_cnn_norm_last": ["conv", "relu", "dropout", "batch_norm"],
    }


def test_image_size_channels_and_classes_can_be_chosen():
    graph = build("resnet18", image=(1, 64, 96), num_classes=7)
    assert graph.shapes(5)["fc"] == (5, 7)
    assert graph.shapes()["layer4.1.relu2"] == (1, 512, 2, 3)
    assert graph.named_weights()[0].shape == (64, 1, 7, 7)


def test_an_image_that_is_too_small_is_refused_at_its_node():
    with pytest.raises(SpecError, match=r"lenet5: node 'conv2' \(conv\): the window does not fit"):
        build("lenet5", image=(1, 10, 10))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(SpecError) as caught:
        architecture("resnet5O")
    assert "resnet5" in str(caught.value.remedy)


def test_the_largest_network_builds_fast():
    def seconds() -> float:
        start = time.process_time()
        summarize(build("resnet152"))
        return time.process_time() - start

    build("resnet18")
    assert min(seconds() for _ in range(5)) < 0.3


@pytest.mark.parametrize("name", sorted(architectures()))
def test_json_gives_an_equal_graph_with_an_equal_digest(name):
    graph = build(name)
    again = graph_from_json(graph.to_json())
    assert again == graph
    assert again.digest == graph.digest


def test_digests_tell_all_networks_apart():
    digests = {name: build(name).digest for name in architectures()}
    assert len(set(digests.values())) == len(digests)


def once_a_batch(graph):
    """What is computed from positions and not from images: ConViT's projection of offsets."""
    parts = lower(graph)
    per_node = (
        (n.layer.macs(parts.input_shapes(n, b), parts.output_shapes(n, b)) for b in (1, 3)) for n in parts.nodes
    )
    return sum(one for one, three in per_node if one == three)


@pytest.mark.parametrize("name", sorted(architectures()))
def test_weight_names_are_unique_and_batch_changes_no_weight(name):
    graph = build(name)
    specs = (*graph.named_weights(), *graph.named_state())
    assert len({spec.name for spec in specs}) == len(specs)
    assert graph.macs(3) == 3 * graph.macs() - 2 * once_a_batch(graph)
    assert all(math.prod(spec.shape) > 0 for spec in specs)


def test_a_plugin_adds_networks_and_cannot_take_a_name_that_is_taken(capsys):
    resnet18 = architecture("resnet18")

    class Plugin:
        @hookimpl
        def cnnbench_architectures(self):
            return [replace(resnet18, name=self.name)]

    plugin = Plugin()
    plugin_manager().register(plugin)
    try:
        plugin.name = "mine"
        assert list(architectures())[-1] == "mine"
        shipped = architectures()["resnet50"]
        plugin.name = "resnet50"
        assert architectures()["resnet50"] is shipped
        assert "the name 'resnet50' is taken" in capsys.readouterr().err
        assert not plugin_manager().is_registered(plugin)
    finally:
        forget_plugins()
