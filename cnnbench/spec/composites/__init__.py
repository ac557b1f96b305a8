"""The layer kinds that primitives make up, one family a module; importing this package registers all of them.

Modules are discovered: a new family needs no entry here. The base class and some kinds are importable from here.
"""

from importlib import import_module
from pkgutil import iter_modules

from cnnbench.spec.composites.attention import MultiHeadAttention
from cnnbench.spec.composites.base import Composite
from cnnbench.spec.composites.conv import DepthwiseSeparableConv
from cnnbench.spec.composites.feature_attention import SqueezeExcitation
from cnnbench.spec.composites.pooling import TrainableSubsample
from cnnbench.spec.composites.resize import Upsample

__all__ = [
    "Composite",
    "DepthwiseSeparableConv",
    "MultiHeadAttention",
    "SqueezeExcitation",
    "TrainableSubsample",
    "Upsample",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
