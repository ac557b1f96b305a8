"""The network of denoising diffusion models (Ho, Jain, Abbeel 2020): a U-Net that is given the time."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cnnbench.spec.architectures import Architecture, Facts, require_no_classes
from cnnbench.spec.composites.feature_attention import SpatialAttentionBlock
from cnnbench.spec.composites.resize import Upsample
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Concat, Conv, Dropout, GroupNorm, Linear, Shape, SiLU
from cnnbench.spec.layers.embedding import TimestepEmbedding
from cnnbench.spec.layers.shape import Unsqueeze

EPS = 1e-6  # of group norms: TensorFlow's of that time
DROPOUT = 0.1


class _Variant(NamedTuple):
    """Appendix B.

    Args:
        width: Channels of the highest resolution. factors: of each resolution's channels.
        blocks: Residual blocks at each resolution. attention_at: the side of maps with attention.
        groups: Of group norms.
    """

    name: str
    width: int
    factors: tuple[int, ...]
    blocks: int
    attention_at: int
    groups: int


CIFAR = _Variant("ddpm_unet", 128, (1, 2, 2, 2), 2, 16, 32)
TINY = _Variant("ddpm_unet_tiny", 16, (1, 2), 1, 8, 4)


def build_ddpm_unet(variant: _Variant, image: Shape, num_classes: int) -> Graph:
    """The noise in a noisy image, whose place on the way from image to noise is its time.

    Args:
        variant: The registered network.
        image: The shape of one image, (C, H, W); H and W halve evenly between resolutions.
        num_classes: The network has none.

    Shapes:
        image (N, C, H, W), time (N,) from 0 to T - 1 -> noise (N, C, H, W).
    """
    require_no_classes(variant.name, num_classes)
    b = Builder(variant.name)
    net = _Parts(b, variant)
    x, time = b.input("image", image), b.input("time", ())
    net.embed(time)
    x = b.add("conv_in", _conv(variant.width), x)
    skipped = [x]
    last = len(variant.factors) - 1
    for level, factor in enumerate(variant.factors):
        for block in range(variant.blocks):
            x = net.residual(f"down.{level}.block.{block}", x, factor * variant.width)
            x = net.attention(f"down.{level}.attn.{block}", x)
            skipped.append(x)
        if level != last:
            halved = Conv(out_channels=x.channels, kernel_size=3, stride=2, padding=((0, 1), (0, 1)))
            x = b.add(f"down.{level}.downsample", halved, x)
            skipped.append(x)
    x = net.residual("mid.block_1", x, x.channels)
    x = b.add("mid.attn_1", SpatialAttentionBlock(groups=variant.groups, eps=EPS), x)
    x = net.residual("mid.block_2", x, x.channels)
    for level, factor in reversed(list(enumerate(variant.factors))):
        for block in range(variant.blocks + 1):
            name = f"up.{level}.block.{block}"
            x = net.residual(name, b.add(f"{name}.concat", Concat(), x, skipped.pop()), factor * variant.width)
            x = net.attention(f"up.{level}.attn.{block}", x)
        if level:
            x = b.add(f"up.{level}.upsample.nearest", Upsample(scale=2.0), x)
            x = b.add(f"up.{level}.upsample.conv", _conv(x.channels), x)
    x = b.add("act_out", SiLU(), b.add("norm_out", GroupNorm(groups=variant.groups, eps=EPS), x))
    return b.build({"noise": b.add("conv_out", _conv(image[0]), x)})


class _Parts:
    """The blocks of the network, which share the embedding of the time."""

    def __init__(self, b: Builder, variant: _Variant) -> None:
        self._b = b
        self._variant = variant
        self._time: Value | None = None

    def embed(self, time: Value) -> None:
        """Two linear layers on sines and cosines of the time, and the SiLU that every block begins with."""
        b, width = self._b, self._variant.width
        x = b.add("temb.sinusoid", TimestepEmbedding(features=width), time)
        x = b.add("temb.act", SiLU(), b.add("temb.dense.0", Linear(out_features=4 * width), x))
        self._time = b.add("temb.act_out", SiLU(), b.add("temb.dense.1", Linear(out_features=4 * width), x))

    def residual(self, name: str, x: Value, channels: int) -> Value:
        """x + conv(dropout(silu(norm(conv(silu(norm(x))) + time)))), by a 1x1 where the channels change."""
        b, groups = self._b, self._variant.groups
        if self._time is None:
            raise RuntimeError("the time is embedded first")
        with b.scope(name):
            h = b.add("act1", SiLU(), b.add("norm1", GroupNorm(groups=groups, eps=EPS), x))
            h = b.add("conv1", _conv(channels), h)
            embedded = b.add("temb_proj", Linear(out_features=channels), self._time)
            embedded = b.add("temb_map", Unsqueeze(axes=(2, 3)), embedded)
            h = b.add("temb_add", Add(broadcast=True), h, embedded)
            h = b.add("act2", SiLU(), b.add("norm2", GroupNorm(groups=groups, eps=EPS), h))
            h = b.add("conv2", _conv(channels), b.add("dropout", Dropout(p=DROPOUT), h))
            if x.channels != channels:
                x = b.add("nin_shortcut", Conv(out_channels=channels, kernel_size=1), x)
            return b.add("add", Add(), x, h)

    def attention(self, name: str, x: Value) -> Value:
        """Attention over all positions where the maps have the size for it."""
        if x.shape[2] != self._variant.attention_at:
            return x
        return self._b.add(name, SpatialAttentionBlock(groups=self._variant.groups, eps=EPS), x)


def _conv(channels: int) -> Conv:
    return Conv(out_channels=channels, kernel_size=3, padding=1)


def _architecture(variant: _Variant, facts: Facts) -> Architecture:
    return Architecture(
        name=variant.name,
        family="ddpm",
        task="denoising",
        year=2020,
        source="arXiv:2006.11239, appendix B (35.7 M parameters), as the authors' code",
        build=partial(build_ddpm_unet, variant),
        facts=facts,
        num_classes=0,
    )


ARCHITECTURES = (
    _architecture(CIFAR, Facts(parameters=35_746_307, macs=6_053_953_536, input=(3, 32, 32))),
    _architecture(TINY, Facts(parameters=176_849, macs=16_033_792, input=(1, 16, 16))),
)
