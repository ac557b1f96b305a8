"""State dicts of timm and torchvision, by their names: fitted, and with the same predictions."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.registry import build
from cnnbench.spec.interchange.fitting import expected_shapes
from cnnbench.spec.interchange.weight_files import fit, match

TIMM = {
    "vit_b_16": "vit_base_patch16_224",
    "swin_t": "swin_tiny_patch4_window7_224",
    "convit_tiny": "convit_tiny",
    "nfnet_f0": "dm_nfnet_f0",
    "efficientnet_b0": "efficientnet_b0",
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "mobilenet_v2": "mobilenetv2_100",
    "densenet121": "densenet121",
    "resnet50": "resnet50",
}


@pytest.fixture(scope="module")
def timm():
    pytest.importorskip("torch", reason="needs torch")
    return pytest.importorskip("timm", reason="needs timm, which nothing here installs")


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("name", TIMM)
def test_a_network_of_timm_predicts_the_same_here(timm, name):
    import torch

    torch.manual_seed(0)
    model = timm.create_model(TIMM[name], pretrained=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() <= 1:
                parameter.add_(torch.randn(parameter.shape) * 0.1)
    image = torch.randn(1, *model.default_cfg["input_size"])
    graph = build(name, image=tuple(image.shape[1:]))
    arrays = match(graph, {key: value.numpy() for key, value in model.state_dict().items()})
    subject = InProcessSubject(load_backend("torch"))
    options = ProgramOptions("eager", precision("float32"))
    ours = subject.forward(graph, arrays, {graph.inputs[0].name: image.numpy()}, options).outputs["logits"]
    with torch.no_grad():
        theirs = model(image).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())


def arrays_for(graph):
    """Values of every expected shape, by our names."""
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in expected_shapes(graph).items()}


def spoken(arrays, words):
    """The arrays with every name in other words, the longest first."""
    renamed = {}
    for name, array in arrays.items():
        for ours, theirs in words:
            name = name.replace(ours, theirs)
        renamed[name] = array
    return renamed


VIT_OF_TIMM = (
    ("class_token.token.value", "cls_token"),
    ("pos_embedding.positions.value", "pos_embed"),
    ("patches.proj", "patch_embed.proj"),
    ("encoder_layer_", "blocks."),
    (".ln_", ".norm"),
    ("self_attention.in_proj", "attn.qkv"),
    ("self_attention.out_proj", "attn.proj"),
    ("mlp.0", "mlp.fc1"),
    ("mlp.3", "mlp.fc2"),
)
VIT_OF_TORCHVISION = (
    ("class_token.token.value", "class_token"),
    ("pos_embedding.positions.value", "encoder.pos_embedding"),
    ("patches.proj", "conv_proj"),
    ("encoder_layer_", "encoder.layers.encoder_layer_"),
    ("in_proj.", "in_proj_"),
    ("head.", "heads.head."),
)


@pytest.mark.parametrize(("whose", "words"), [("timm", VIT_OF_TIMM), ("torchvision", VIT_OF_TORCHVISION)])
def test_the_words_of_a_vision_transformer(whose, words):
    graph = build("vit_b_16", num_classes=3)
    arrays = arrays_for(graph)
    given = spoken(arrays, words)
    given = {
        ("encoder." if whose == "torchvision" else "") * name.startswith("ln.") + name: a for name, a in given.items()
    }
    if whose == "timm":
        given = {name.replace("ln.", "norm.") if name.startswith("ln.") else name: a for name, a in given.items()}
    given["rel_indices"] = np.arange(3)
    fitted = fit(graph, dict(sorted(given.items())))
    assert fitted.notes == (f"by {whose}'s names",)
    assert all(fitted.arrays[name] is array for name, array in arrays.items())


def test_efficientnet_in_alphabetical_order_with_its_own_classes():
    """Names and not order: a safetensors file of timm holds them sorted."""
    graph = build("efficientnet_b0", num_classes=3)
    arrays = arrays_for(graph)
    given = {}
    for name, array in arrays.items():
        head, _, role = name.rpartition(".")
        parts = head.split(".")
        if parts[0] == "classifier":
            given[f"classifier.{role}"] = array
        elif len(parts) == 3:
            given[{"00": "conv_stem", "01": "bn1", "80": "conv_head", "81": "bn2"}["".join(parts[1:])] + f".{role}"] = (
                array
            )
        else:
            stage, block, part = int(parts[1]), parts[2], ".".join(parts[4:])
            first = {"0.0": "conv_dw", "0.1": "bn1", "1.fc1": "se.conv_reduce", "1.fc2": "se.conv_expand"}
            first |= {"2.0": "conv_pw", "2.1": "bn2"}
            other = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2.fc1": "se.conv_reduce"}
            other |= {"2.fc2": "se.conv_expand", "3.0": "conv_pwl", "3.1": "bn3"}
            given[f"blocks.{stage - 1}.{block}.{(first if stage == 1 else other)[part]}.{role}"] = array
    fitted = match(graph, dict(sorted(given.items())))
    assert all(fitted[name] is array for name, array in arrays.items())


def test_mobilenet_v2_in_alphabetical_order():
    graph = build("mobilenet_v2", num_classes=3)
    arrays = arrays_for(graph)
    stages = [(stage, block) for stage, count in enumerate((1, 2, 3, 4, 3, 3, 1)) for block in range(count)]
    parts = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
    first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    given = {}
    for name, array in arrays.items():
        head, _, role = name.rpartition(".")
        top, number, *rest = (*head.split("."), "")
        if top == "classifier":
            new = "classifier"
        elif number in ("0", "18"):
            new = {"00": "conv_stem", "01": "bn1", "180": "conv_head", "181": "bn2"}[number + rest[0]]
        else:
            stage, block = stages[int(number) - 1]
            new = f"blocks.{stage}.{block}.{(parts if stage else first)['.'.join(rest[1:-1])]}"
        given[f"{new}.{role}"] = array
    fitted = match(graph, dict(sorted(given.items())))
    assert all(fitted[name] is array for name, array in arrays.items())


def test_what_is_missing_is_listed_in_our_words():
    graph = build("vit_b_16", num_classes=3)
    given = spoken(arrays_for(graph), VIT_OF_TIMM)
    del given["blocks.3.mlp.fc2.bias"]
    with pytest.raises(DataError, match=r"missing encoder_layer_3\.mlp\.3\.bias"):
        match(graph, given)
