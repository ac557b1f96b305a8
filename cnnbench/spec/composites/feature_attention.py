"""Attention over feature maps: squeeze-and-excitation of channels, self-attention of positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.graph import Builder, Value
from cnnbench.spec.layers.activation import ReLU, Sigmoid, Softmax
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.base import Example, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.conv import Conv
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.merge import Add, Multiply
from cnnbench.spec.layers.pooling import GlobalAvgPool
from cnnbench.spec.layers.rectifier import HardSigmoid, HardSwish, ReLU6
from cnnbench.spec.layers.shape import Reshape
from cnnbench.spec.layers.smooth import GELU, SiLU
from cnnbench.spec.layers.standardization import GroupNorm

ACTIVATIONS = {"relu": ReLU, "relu6": ReLU6, "silu": SiLU, "hard_swish": HardSwish, "gelu": GELU}
GATES = {"sigmoid": Sigmoid, "hard_sigmoid": HardSigmoid}


@dataclass(frozen=True, kw_only=True)
class SqueezeExcitation(Composite, kind="squeeze_excitation"):
    """x times gate(fc2(activation(fc1(mean of x over all positions)))): each channel weighted by what the image holds.

    Args:
        squeeze_channels: S, of the hidden layer. What it is a fraction of differs: of the block's input channels in
            EfficientNet, of the expanded ones in MobileNetV3, so it is given as a number.
        activation: Of the hidden layer: ``relu`` (SENet, MobileNetV3), ``silu`` (EfficientNet), ``relu6``,
            ``hard_swish``, ``gelu``.
        gate: ``sigmoid`` (SENet, EfficientNet) or ``hard_sigmoid``, relu6(x + 3) / 6 (MobileNetV3).
        scale: Of the gate: 1, or 2 in NFNets, so that the variance stays.
        bias: Whether fc1 and fc2 have biases.

    Shapes:
        (N, C, *spatial) -> the same.

    Weights:
        fc1.weight (S, C, 1, ...), fc1.bias (S,), fc2.weight (C, S, 1, ...), fc2.bias (C,): 1x1 convolutions, with
        torchvision's names.

    Source: Hu, Shen, Sun, "Squeeze-and-excitation networks" (2017), equations 2 to 4.
    """

    squeeze_channels: int
    activation: Literal["relu", "relu6", "silu", "hard_swish", "gelu"] = "relu"
    gate: Literal["sigmoid", "hard_sigmoid"] = "sigmoid"
    scale: float = 1.0
    bias: bool = True

    example = Example((1, 4, 6, 6), squeeze_channels=2)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        require_int(self.squeeze_channels, "squeeze_channels", least=1)
        require_one_of(self.activation, "activation", tuple(ACTIVATIONS))
        require_one_of(self.gate, "gate", tuple(GATES))
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = inputs[0]
        y = builder.add("avgpool", GlobalAvgPool(keep_spatial=True), x)
        y = builder.add("fc1", Conv(out_channels=self.squeeze_channels, kernel_size=1, bias=self.bias), y)
        y = builder.add("activation", ACTIVATIONS[self.activation](), y)
        y = builder.add("fc2", Conv(out_channels=x.channels, kernel_size=1, bias=self.bias), y)
        y = builder.add("scale_activation", GATES[self.gate](), y)
        if self.scale != 1:
            y = builder.add("scale", Affine(scale=self.scale), y)
        return builder.add("multiply", Multiply(), x, y)


@dataclass(frozen=True, kw_only=True)
class SpatialAttentionBlock(Composite, kind="spatial_attention_block"):
    """x + proj_out(attention of q, k, v), which are 1x1 convolutions of the group-normalised x, over all positions.

    Args:
        groups: Of the group normalisation; 32 in DDPM.
        eps: Of the same: 1e-6 in DDPM (TensorFlow's default then), 1e-5 in PyTorch.

    Shapes:
        (N, C, *spatial) -> the same. One head of all C features: logits are scaled by C^-1/2.

    Weights:
        norm.weight (C,), norm.bias (C,); q, k, v and proj_out: weight (C, C, 1, ...), bias (C,). DDPM starts
        proj_out at 0, so that a block starts as the identity; here it starts as ``Conv``.

    Source: Ho, Jain, Abbeel, "Denoising diffusion probabilistic models" (2020), appendix B, and the authors' code.
    """

    groups: int = 32
    eps: float = 1e-6

    example = Example((1, 4, 6, 6), groups=2)

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3, most=5)
        if require_int(self.groups, "groups", least=1) and inputs[0][1] % self.groups:
            raise FieldError(
                "groups",
                "does not divide the channels",
                received=f"{inputs[0][1]} channels, groups {self.groups}",
                expected="channels that are a multiple of groups",
            )
        return self

    def expand(self, builder: Builder, *inputs: Value) -> Value:
        x = inputs[0]
        channels, *spatial = x.shape[1:]
        one = Conv(out_channels=channels, kernel_size=1)
        y = builder.add("norm", GroupNorm(groups=self.groups, eps=self.eps), x)
        flat = Reshape(shape=(channels, -1))
        q, k, v = (builder.add(f"{name}_flat", flat, builder.add(name, one, y)) for name in "qkv")
        q = builder.add("scale", Affine(scale=channels**-0.5), q)
        logits = builder.add("logits", MatMul(transpose_a=True), q, k)
        weights = builder.add("softmax", Softmax(axis=-1), logits)
        y = builder.add("weighted", MatMul(transpose_b=True), v, weights)
        y = builder.add("image", Reshape(shape=(channels, *spatial)), y)
        return builder.add("residual", Add(), x, builder.add("proj_out", one, y))
