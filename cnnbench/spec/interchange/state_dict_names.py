"""The names by which timm and torchvision call the weights of networks that are named otherwise here."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
UNUSED = (r"num_batches_tracked$", r"(^|\.)n_averaged$", r"relative_position_index$", r"attn_mask$", r"rel_indices$")

_MLP: Rules = ((r"\.mlp\.(?:fc1|linear_1)\.", ".mlp.0."), (r"\.mlp\.(?:fc2|linear_2)\.", ".mlp.3."))


def _timm_downsample(match: re.Match[str]) -> str:
    return f"features.{2 * int(match[1])}."


def _timm_stage(match: re.Match[str]) -> str:
    return f"features.{2 * int(match[1]) + 1}.{match[2]}."


_SEPARABLE = {"conv_dw": "0.0", "bn1": "0.1", "se.conv_reduce": "1.fc1", "se.conv_expand": "1.fc2"}
_SEPARABLE |= {"conv_pw": "2.0", "bn2": "2.1"}
_INVERTED = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "se.conv_reduce": "2.fc1"}
_INVERTED |= {"se.conv_expand": "2.fc2", "conv_pwl": "3.0", "bn3": "3.1"}


def _timm_block(match: re.Match[str]) -> str:
    """The first stage's blocks have no expansion."""
    stage = int(match[1])
    part = (_INVERTED if stage else _SEPARABLE)[match[3]]
    return f"features.{stage + 1}.{match[2]}.block.{part}."


_LITE_FIRST = (0, 1, 3, 5, 8, 11, 15)  # the number of each stage's first block
_LITE_SEPARABLE = {"conv_dw": "depthwise.0", "bn1": "depthwise.1", "conv_pw": "project.0", "bn2": "project.1"}
_LITE = {"conv_pw": "expand.0", "bn1": "expand.1", "conv_dw": "depthwise.0", "bn2": "depthwise.1"}
_LITE |= {"conv_pwl": "project.0", "bn3": "project.1"}


def _timm_lite_block(match: re.Match[str]) -> str:
    """Blocks are numbered through all stages."""
    stage, block = int(match[1]), int(match[2])
    return f"blocks.{_LITE_FIRST[stage] + block}.{(_LITE if stage else _LITE_SEPARABLE)[match[3]]}."


_V2_FIRST = (0, 1, 3, 6, 10, 13, 16)  # the number of each stage's first block
_V2_SEPARABLE = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
_V2_INVERTED = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"}


def _timm_v2_block(match: re.Match[str]) -> str:
    """Blocks are numbered through all stages; the first has no expansion."""
    stage, block = int(match[1]), int(match[2])
    return f"features.{_V2_FIRST[stage] + block + 1}.conv.{(_V2_INVERTED if stage else _V2_SEPARABLE)[match[3]]}."


DIALECTS: Mapping[str, Mapping[str, Rules]] = {
    "vit_": {
        "timm": (
            (r"^cls_token$", "class_token.token.value"),
            (r"^pos_embed$", "pos_embedding.positions.value"),
            (r"^patch_embed\.proj\.", "patches.proj."),
            (r"^blocks\.(\d+)\.norm([12])\.", r"encoder_layer_\1.ln_\2."),
            (r"^blocks\.(\d+)\.", r"encoder_layer_\1."),
            (r"\.attn\.qkv\.", ".self_attention.in_proj."),
            (r"\.attn\.proj\.", ".self_attention.out_proj."),
            (r"^norm\.", "ln."),
            *_MLP,
        ),
        "torchvision": (
            (r"^class_token$", "class_token.token.value"),
            (r"^encoder\.pos_embedding$", "pos_embedding.positions.value"),
            (r"^conv_proj\.", "patches.proj."),
            (r"^encoder\.layers\.", ""),
            (r"\.in_proj_(weight|bias)$", r".in_proj.\1"),
            (r"^encoder\.ln\.", "ln."),
            (r"^heads\.head\.", "head."),
            *_MLP,
        ),
    },
    "swin_": {
        "timm": (
            (r"^patch_embed\.proj\.", "features.0.0.proj."),
            (r"^patch_embed\.norm\.", "features.0.2."),
            (r"^layers\.(\d+)\.blocks\.(\d+)\.", _timm_stage),
            (r"^layers\.(\d+)\.downsample\.", _timm_downsample),
            (r"_table$", "_table.value"),
            (r"^head\.fc\.", "head."),
            *_MLP,
        ),
        "torchvision": (
            (r"^features\.0\.0\.", "features.0.0.proj."),
            (r"_table$", "_table.value"),
            *_MLP,
        ),
    },
    "convit_": {
        "timm": (
            (r"^cls_token$", "cls_token.token.value"),
            (r"^pos_embed$", "pos_embed.positions.value"),
            (r"\.gating_param$", ".gating_param.value"),
            (r"\.attn\.qkv\.", ".attn.in_proj."),
            (r"\.attn\.proj\.", ".attn.out_proj."),
            *_MLP,
        ),
    },
    "nfnet_": {"timm": ((r"\.skipinit_gain$", ".skipinit_gain.value"), (r"^head\.fc\.", "head."))},
    "efficientnet_lite0": {
        "timm": (
            (r"^conv_stem\.", "stem.0."),
            (r"^bn1\.", "stem.1."),
            (r"^blocks\.([0-6])\.(\d+)\.(conv_\w+|bn\d)\.", _timm_lite_block),
            (r"^conv_head\.", "head.0."),
            (r"^bn2\.", "head.1."),
            (r"^classifier\.", "classifier.1."),
        ),
        "efficientnet_pytorch": (
            (r"^_conv_stem\.", "stem.0."),
            (r"^_bn0\.", "stem.1."),
            (r"^_conv_head\.", "head.0."),
            (r"^_bn1\.", "head.1."),
            (r"^_fc\.", "classifier.1."),
            (r"^_blocks\.", "blocks."),
            *((rf"\._{part}_conv\.", f".{part}.0.") for part in ("expand", "depthwise", "project")),
            *((rf"\._bn{i}\.", f".{part}.1.") for i, part in enumerate(("expand", "depthwise", "project"))),
        ),
    },
    "mobilenet_v2": {
        "timm": (
            (r"^conv_stem\.", "features.0.0."),
            (r"^bn1\.", "features.0.1."),
            (r"^blocks\.([0-6])\.(\d+)\.(conv_\w+|bn\d)\.", _timm_v2_block),
            (r"^conv_head\.", "features.18.0."),
            (r"^bn2\.", "features.18.1."),
            (r"^classifier\.", "classifier.1."),
        ),
    },
    "efficientnet_b": {
        "timm": (
            (r"^conv_stem\.", "features.0.0."),
            (r"^bn1\.", "features.0.1."),
            (r"^blocks\.(\d+)\.(\d+)\.(conv_\w+|bn\d|se\.conv_\w+)\.", _timm_block),
            (r"^conv_head\.", "features.8.0."),
            (r"^bn2\.", "features.8.1."),
            (r"^classifier\.", "classifier.1."),
        ),
    },
}


def translated(architecture: str, names: Collection[str], expected: Collection[str]) -> tuple[str, dict[str, str]]:
    """(whose names they are, ours by theirs) of the names in a file; names that are ours stay.

    Of the known dialects of the architecture's family the one that gives most of the expected names is taken; ``""``
    and the names themselves where none gives more than they are already.

    Args:
        architecture: Its name, which says the family.
        names: Those in the file.
        expected: Those of the network's weights and running statistics.
    """
    best = "", {name: name for name in names}
    most = len(set(names) & set(expected))
    for prefix, dialects in DIALECTS.items():
        if not architecture.startswith(prefix):
            continue
        for dialect, rules in dialects.items():
            found = {name: name if name in expected else _renamed(name, rules) for name in names}
            count = len(set(found.values()) & set(expected))
            if count > most and len(set(found.values())) == len(found):
                best, most = (dialect, found), count
    return best


def is_unused(name: str) -> bool:
    """Whether it is a buffer that is counted anew or made from the layer's sizes."""
    return any(re.search(pattern, name) for pattern in UNUSED)


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
