"""Normalisation: batch normalisation, and the affine map per channel that it becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from cnnbench.errors import FieldError
from cnnbench.spec.layers.arrays import ONES, SCALES, SHIFTS, VARIANCES, ZEROS, Signal, WeightSpec
from cnnbench.spec.layers.base import Layer, Shapes, require_one_of, require_rank
from cnnbench.spec.layers.signals import normalized_by_statistics


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Layer, kind="batch_norm"):
    """Batch normalisation over the batch and all spatial axes, per channel.

    Inference: y = (x - running_mean) / sqrt(running_var + eps) * weight + bias.
    Training: the same with the batch's mean and *biased* variance; the running statistics become
    running <- (1 - momentum) running + momentum batch.

    Args:
        eps: Added to the variance inside the root.
        momentum: The weight of the *new* batch (PyTorch's convention; Keras and flax call 1 - momentum so).
        running_variance: Whether the batch variance that enters the running one is ``"unbiased"`` (times
            n / (n - 1), PyTorch and TensorFlow's fused op) or ``"biased"`` (Keras' layer, flax).
        affine: Whether weight and bias exist.

    Shapes:
        (N, C, *spatial) -> the same.

    Weights:
        weight (C,), bias (C,). State: running_mean (C,), running_var (C,).

    Source: Ioffe, Szegedy, "Batch normalization" (2015), algorithms 1 and 2.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    running_variance: Literal["unbiased", "biased"] = "unbiased"
    affine: bool = True

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2, most=5)
        require_one_of(self.running_variance, "running_variance", ("unbiased", "biased"))
        if not self.eps > 0:
            raise FieldError("eps", received=self.eps, expected="a positive number")
        if not 0 <= self.momentum <= 1:
            raise FieldError("momentum", received=self.momentum, expected="a number from 0 to 1")
        return self

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return affine_weights(inputs[0][1]) if self.affine else ()

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return normalized_by_statistics(inputs[0])

    def state(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        shape = (inputs[0][1],)
        return (
            WeightSpec("running_mean", shape, ZEROS, trainable=False, decay=False, general=SHIFTS),
            WeightSpec("running_var", shape, ONES, trainable=False, decay=False, general=VARIANCES),
        )


@dataclass(frozen=True, kw_only=True)
class FrozenBatchNorm(Layer, kind="frozen_batch_norm"):
    """y = (x - running_mean) / sqrt(running_var + eps) * weight + bias with nothing trained and nothing updated.

    Detectors, whose batches are too small for statistics of their own, train on a trained backbone with these.

    Args:
        eps: Inside the root: 1e-5 in torchvision since 0.10 and in Detectron2, 0 in earlier torchvision.

    Shapes:
        (N, C, *spatial) -> the same.

    Weights:
        weight, bias, running_mean, running_var (C,), all fixed: they count as buffers.

    Source: torchvision's FrozenBatchNorm2d.
    """

    eps: float = 1e-5

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2)
        if not self.eps >= 0:
            raise FieldError("eps", received=self.eps, expected="a number of at least 0")
        return self

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        arrays = {
            "weight": (ONES, SCALES),
            "bias": (ZEROS, SHIFTS),
            "running_mean": (ZEROS, SHIFTS),
            "running_var": (ONES, VARIANCES),
        }
        return tuple(
            WeightSpec(name, (inputs[0][1],), start, trainable=False, decay=False, general=general)
            for name, (start, general) in arrays.items()
        )

    def signal(self, inputs: tuple[Signal, ...]) -> Signal:
        return normalized_by_statistics(inputs[0])


@dataclass(frozen=True, kw_only=True)
class ChannelAffine(Layer, kind="channel_affine"):
    """y = x * weight + bias, per channel.

    Shapes:
        (N, C, *spatial) -> the same.

    Weights:
        weight (C,), bias (C,).
    """

    layout_rule = "spatial"

    def resolve(self, inputs: Shapes) -> Self:
        require_rank(inputs[0], self.kind, least=2, most=5)
        return self

    def weights(self, inputs: Shapes) -> tuple[WeightSpec, ...]:
        return affine_weights(inputs[0][1])


def affine_weights(channels: int) -> tuple[WeightSpec, ...]:
    """The weight (ones) and bias (zeros) of an affine map per channel, exempt from decay of kernels."""
    return (
        WeightSpec("weight", (channels,), ONES, decay=False, general=SCALES),
        WeightSpec("bias", (channels,), ZEROS, decay=False, general=SHIFTS),
    )
