"""The primitive layer kinds, one family a module; importing this package registers all of them.

Modules are discovered: a new family needs no entry here. The kinds that most networks use are importable from here.
"""

from importlib import import_module
from pkgutil import iter_modules

from cnnbench.spec.layers import windows
from cnnbench.spec.layers.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from cnnbench.spec.layers.arrays import Initializer, MaskSpec, Shape, Signal, WeightSpec
from cnnbench.spec.layers.base import Dtype, Dtypes, Example, Layer, LayoutRule, Shapes, Window
from cnnbench.spec.layers.conv import Conv, PartialConv
from cnnbench.spec.layers.linear import Linear, RadialBasis
from cnnbench.spec.layers.magnitude import FilterResponseNorm, LocalResponseNorm, RMSNorm
from cnnbench.spec.layers.merge import Add, Concat
from cnnbench.spec.layers.normalization import BatchNorm, ChannelAffine, FrozenBatchNorm
from cnnbench.spec.layers.padding import Pad
from cnnbench.spec.layers.pooling import AdaptiveAvgPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool, Subsample
from cnnbench.spec.layers.rectifier import HardSigmoid, HardSwish, LeakyReLU, PReLU, ReLU6
from cnnbench.spec.layers.regularization import Dropout, StochasticDepth
from cnnbench.spec.layers.shape import Flatten
from cnnbench.spec.layers.smooth import ELU, GELU, SELU, SiLU, Softplus
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm, LayerNorm

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "AdaptiveAvgPool",
    "Add",
    "AvgPool",
    "BatchNorm",
    "ChannelAffine",
    "Concat",
    "Conv",
    "Dropout",
    "Dtype",
    "Dtypes",
    "Example",
    "FilterResponseNorm",
    "Flatten",
    "FrozenBatchNorm",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "Initializer",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LayoutRule",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaskSpec",
    "MaxPool",
    "PReLU",
    "Pad",
    "PartialConv",
    "RMSNorm",
    "RadialBasis",
    "ReLU",
    "ReLU6",
    "Shape",
    "Shapes",
    "SiLU",
    "Sigmoid",
    "Signal",
    "Softmax",
    "Softplus",
    "StochasticDepth",
    "Subsample",
    "Tanh",
    "WeightSpec",
    "Window",
    "windows",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
