"""Normalisation to mean 0 and variance 1 by each image's own statistics: layer, instance, group, mean-variance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import ONES, SCALES, SHIFTS, ZEROS, Signal, WeightSpec
from cnnbench.spec.layers.axes import resolve_axis, resolve_start_axis
from cnnbench.spec.layers.base import Example, Layer, Shapes, require_int, require_one_of, require_rank
from cnnbench.spec.layers.normalization import affine_weights
from cnnbench.spec.layers.signals import BIASED


def require_eps(eps: float) -> None:
    """Raises SpecError unless ``eps`` is positive."""
    if not eps > 0:
        raise FieldError("eps", received=eps, expected="a positive number")


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Layer, kind="layer_norm"):
    """y = (x - mean) / sqrt(var + eps) * weight + bias over the axes from ``start_axis`` to the last.

    The variance is biased (divided by the number of values) and computed from centred values; eps is inside the root.

    Args:
        start_axis: The first normalised axis in the canonical layout: -1 for tokens (N, T, C), as in a vision
            transformer; 1 for whole images (N, C, H, W), as in the paper.
        eps: 1e-5 in PyTorch, 1e-6 in flax and for ViT, 1e-3 in Keras.
        affine: Whether weight and bias exist. bias: whether the affine map has a bias.

    Shapes:
        any -> the same.

    Weights:
        weight and bias of the normalised shape.

    Source: Ba, Kiros, Hinton, "Layer normalization" (2016), equation 4.
    """

    start_axis: int = -1
    eps: float = 1e-5
    affine: bool = True
    bias: bool = True

    layout_rule = "canonical"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2)
        require_eps(self.eps)
        return replace(self, start_axis=resolve_start_axis(self.start_axis, inputs[0]))

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        shape = inputs[0][self.start_axis :]
        both = (
            WeightSpec("weight", shape, ONES, decay=False, general=SCALES),
            WeightSpec("bias", shape, ZEROS, decay=False, general=SHIFTS),
        )
        return both[: (1 + self.bias) * self.affine]

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(BIASED)


@dataclass(frozen=True, kw_only=True)
class InstanceNorm(Layer, kind="instance_norm"):
    """y = (x - mean) / sqrt(var + eps) * weight + bias per image and channel, in training and inference alike.

    Args:
        eps: Added to the biased variance, inside the root.
        affine: Whether weight and bias exist (PyTorch's default is without).

    Shapes:
        (N, C, *spatial) -> the same.

    Weights:
        weight (C,), bias (C,).

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance normalization" (2016), equation 2.
    """

    eps: float = 1e-5
    affine: bool = False

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=3)
        require_eps(self.eps)
        return self

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return affine_weights(inputs[0][1]) if self.affine else ()

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(BIASED)


@dataclass(frozen=True, kw_only=True)
class GroupNorm(Layer, kind="group_norm"):
    """y = (x - mean) / sqrt(var + eps) * weight + bias per image and group of neighbouring channels.

    Args:
        groups: Group g holds channels g C / groups up to (g + 1) C / groups, exclusive (not every groups-th channel).
            1 normalises whole images with a weight a channel; C is instance normalisation.
        eps: Added to the biased variance, inside the root: 1e-5 in PyTorch, 1e-6 in flax and DDPM, 1e-3 in Keras.
        affine: Whether weight and bias exist.

    Shapes:
        (N, C, *spatial) -> the same.

    Weights:
        weight (C,), bias (C,).

    Source: Wu, He, "Group normalization" (2018), equations 2 and 7.
    """

    groups: int
    eps: float = 1e-5
    affine: bool = True

    example = Example((1, 4, 6, 6), groups=2)
    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2)
        require_int(self.groups, "groups", least=1)
        require_eps(self.eps)
        if inputs[0][1] % self.groups:
            raise FieldError(
                "groups",
                "does not divide the channels",
                received=f"{inputs[0][1]} channels, groups {self.groups}",
                expected="channels that are a multiple of groups",
            )
        return self

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return affine_weights(inputs[0][1]) if self.affine else ()

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return Signal(BIASED)


@dataclass(frozen=True, kw_only=True)
class MeanVarianceNorm(Layer, kind="mean_variance_norm"):
    """y = (x - mean) / (sqrt(var) + eps) over the given axes, without weights.

    Args:
        axes: In the canonical layout, increasing. The default, batch and space, has a mean for each channel;
            (2, 3) is Caffe's MVN, (1, 2, 3) Caffe's with ``across_channels``.
        eps: 1e-9 in ONNX and Caffe.
        eps_place: ``"outside"`` the root, added to the standard deviation (ONNX, Caffe), or ``"inside"``.

    Shapes:
        any -> the same.

    Source: ONNX's MeanVarianceNormalization, whose variance is E[x^2] - E[x]^2 in exact arithmetic; here it is
    computed from centred values, which does not cancel.
    """

    axes: tuple[int, ...] = (0, 2, 3)
    eps: float = 1e-9
    eps_place: Literal["outside", "inside"] = "outside"

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        axes = tuple(sorted(resolve_axis(axis, len(inputs[0])) for axis in self.axes))
        if not axes or len(set(axes)) != len(axes):
            raise FieldError("axes", "are not valid", received=self.axes, expected="one axis or more, each once")
        require_one_of(self.eps_place, "eps_place", ("outside", "inside"))
        require_eps(self.eps)
        return replace(self, axes=axes)
