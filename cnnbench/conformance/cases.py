"""Shared cases: every layer kind in the configurations on which frameworks are known to disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import (
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    ChannelAffine,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Layer,
    Linear,
    LogSoftmax,
    MaxPool,
    Pad,
    PartialConv,
    RadialBasis,
    ReLU,
    Shape,
    Sigmoid,
    Softmax,
    Subsample,
    Tanh,
    TrainableSubsample,
)

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.numerics.case import Case


@dataclass(frozen=True)
class LayerCase:
    """One layer on its own.

    Args:
        layer: The layer.
        images: The shape (C, *spatial) of each input.
        batch: Images.
        shift, scale: Mean and standard deviation of the inputs; a large mean tests normalisation's conditioning.
    """

    layer: Layer
    images: tuple[Shape, ...]
    batch: int = 2
    shift: float = 0.0
    scale: float = 1.0

    def graph(self) -> Graph:
        """A graph of the layer as node ``layer``."""
        builder = Builder(self.layer.kind)
        inputs = [builder.input(f"input{i}", image) for i, image in enumerate(self.images)]
        return builder.build(builder.add("layer", self.layer, *inputs))

    def case(self, options: ProgramOptions, seed: int = 0) -> Case:
        """Seeded arrays and inputs: running statistics away from their start, no weight at 0 or 1."""
        import numpy as np

        from cnnbench.numerics.case import Case
        from cnnbench.spec.streams import stream

        graph = self.graph()
        arrays = {}
        for spec in (*graph.named_weights(), *graph.named_state()):
            draw = stream(seed, "conformance weights", spec.name)
            if spec.name.endswith("running_var"):
                array = draw.uniform(0.5, 1.5, spec.shape) * self.scale**2
            elif spec.name.endswith("running_mean"):
                array = self.shift + self.scale * draw.normal(size=spec.shape)
            elif spec.initializer.distribution == "signs":
                array = np.where(draw.random(spec.shape) < 0.5, -1.0, 1.0)
            else:
                array = draw.normal(size=spec.shape)
            arrays[spec.name] = array.astype(np.float32)
        batch = {
            item.name: (
                self.shift
                + self.scale * stream(seed, "conformance inputs", item.name).normal(size=item.full_shape(self.batch))
            ).astype(np.float32)
            for item in graph.inputs
        }
        return Case(graph, arrays, batch, options, seed=seed)


_SQUARE = ((3, 9, 9),)
_EVEN = ((4, 8, 10),)


def layer_cases() -> dict[str, LayerCase]:
    """Every case by name: ``<kind>/<what is special about it>``."""
    return {**_convolutions(), **_pools(), **_others()}


def _convolutions() -> dict[str, LayerCase]:
    def conv(images: tuple[Shape, ...] = _EVEN, **fields: object) -> LayerCase:
        return LayerCase(Conv(**{"out_channels": 6, "kernel_size": 3, **fields}), images)  # type: ignore[arg-type]

    return {
        "conv/plain": conv(padding=1),
        "conv/1d": conv(((4, 11),), stride=2, padding=1),
        "conv/3d": conv(((2, 5, 6, 4),), padding=1),
        "conv/pointwise": conv(kernel_size=1, bias=False),
        "conv/stride_even": conv(stride=2, padding="same"),
        "conv/stride_odd": conv(_SQUARE, stride=2, padding="same"),
        "conv/same_lower": conv(stride=2, padding="same_lower"),
        "conv/asymmetric": conv(padding=((0, 2), (1, 0))),
        "conv/strides_differ": conv(stride=(2, 3), padding=1),
        "conv/dilated": conv(dilation=2, padding=2),
        "conv/dilations_differ": conv(dilation=(1, 2)),
        "conv/kernel_differs": conv(kernel_size=(3, 5), padding=(1, 2)),
        "conv/grouped": conv(groups=2, padding=1),
        "conv/depthwise": conv(out_channels=4, groups=4, padding=1),
        "conv/depth_multiplier": conv(out_channels=8, groups=4, stride=2, padding=1),
        "conv/large_kernel": conv(((3, 16, 16),), kernel_size=7, stride=2, padding=3),
        "conv/many_channels": conv(((64, 6, 6),), out_channels=16, padding=1),
        "partial_conv/table": LayerCase(
            PartialConv(connections=((0,), (0, 2), (1, 2, 3), (0, 1, 2, 3)), kernel_size=3), ((4, 7, 7),)
        ),
    }


def _pools() -> dict[str, LayerCase]:
    return {
        "max_pool/plain": LayerCase(MaxPool(kernel_size=2), _EVEN),
        "max_pool/overlapping": LayerCase(MaxPool(kernel_size=3, stride=2, padding=1), _EVEN),
        "max_pool/asymmetric": LayerCase(MaxPool(kernel_size=3, stride=2, padding="same"), _EVEN),
        "max_pool/negative": LayerCase(MaxPool(kernel_size=3, stride=2, padding=1), _EVEN, shift=-9.0),
        "max_pool/ceil_mode": LayerCase(MaxPool(kernel_size=3, stride=2, ceil_mode=True), _EVEN),
        "avg_pool/plain": LayerCase(AvgPool(kernel_size=2), _EVEN),
        "avg_pool/padding_counts": LayerCase(AvgPool(kernel_size=3, stride=2, padding=1), _EVEN),
        "avg_pool/padding_does_not": LayerCase(
            AvgPool(kernel_size=3, stride=2, padding=1, count_include_pad=False), _EVEN
        ),
        "avg_pool/ceil_mode": LayerCase(AvgPool(kernel_size=3, stride=2, ceil_mode=True), _EVEN),
        "avg_pool/sum": LayerCase(AvgPool(kernel_size=2, divisor=1), _EVEN),
        "global_avg_pool/flat": LayerCase(GlobalAvgPool(), _EVEN),
        "global_avg_pool/kept": LayerCase(GlobalAvgPool(keep_spatial=True), _EVEN),
        "global_max_pool/flat": LayerCase(GlobalMaxPool(), _EVEN),
        "adaptive_avg_pool/uneven": LayerCase(AdaptiveAvgPool(output_size=(3, 4)), _SQUARE),
        "subsample/stride": LayerCase(Subsample(stride=2), _SQUARE),
        "trainable_subsample/plain": LayerCase(TrainableSubsample(), _EVEN),
    }


def _others() -> dict[str, LayerCase]:
    row = ((10,),)
    return {
        "linear/plain": LayerCase(Linear(out_features=7), row, batch=4),
        "linear/no_bias": LayerCase(Linear(out_features=7, bias=False), ((300,),)),
        "radial_basis/distance": LayerCase(RadialBasis(out_features=5), row),
        "radial_basis/trained_logit": LayerCase(RadialBasis(out_features=5, output="logit", trainable=True), row),
        "batch_norm/plain": LayerCase(BatchNorm(), _EVEN),
        "batch_norm/flat": LayerCase(BatchNorm(), row, batch=8),
        "batch_norm/biased": LayerCase(BatchNorm(running_variance="biased", momentum=0.01, eps=1e-3), _EVEN),
        "batch_norm/no_affine": LayerCase(BatchNorm(affine=False), _EVEN),
        "batch_norm/large_mean": LayerCase(BatchNorm(), _EVEN, shift=300.0),
        "batch_norm/small_variance": LayerCase(BatchNorm(), _EVEN, scale=0.01),
        "channel_affine/plain": LayerCase(ChannelAffine(), _EVEN),
        "relu/plain": LayerCase(ReLU(), _EVEN),
        "tanh/plain": LayerCase(Tanh(), _EVEN, scale=3.0),
        "tanh/scaled": LayerCase(Tanh(input_scale=2 / 3, output_scale=1.7159), _EVEN),
        "sigmoid/plain": LayerCase(Sigmoid(), _EVEN, scale=4.0),
        "softmax/channels": LayerCase(Softmax(), _EVEN, scale=4.0),
        "softmax/last": LayerCase(Softmax(axis=-1), _EVEN),
        "log_softmax/row": LayerCase(LogSoftmax(), ((50,),), scale=6.0),
        "add/three": LayerCase(Add(), _EVEN * 3),
        "concat/channels": LayerCase(Concat(), ((2, 5, 5), (3, 5, 5))),
        "concat/last": LayerCase(Concat(axis=-1), ((3, 5, 2), (3, 5, 4))),
        "pad/constant": LayerCase(Pad(padding=((0, 1), (1, 0), (2, 3)), value=0.5), _EVEN),
        "flatten/plain": LayerCase(Flatten(), _EVEN),
        "flatten/later": LayerCase(Flatten(start_axis=2), _EVEN),
        "dropout/plain": LayerCase(Dropout(p=0.3), _EVEN),
    }
