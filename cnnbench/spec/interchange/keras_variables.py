"""The variables of Keras' layers: which each class has, how it is laid out, and what it is called here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnbench.spec.weights import Array

SCALE_OR_SHIFT = "scale_or_shift"
_CONVOLUTION = re.compile(r"(conv|convolution)[123]d(transpose)?")
_ROLES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "pointwise_kernel": "pointwise.weight",
    "embeddings": "weight",
    "alpha": "weight",
    "W": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "b": "bias",
    "moving_mean": "running_mean",
    "running_mean": "running_mean",
    "moving_variance": "running_var",
    "running_std": "running_var",  # what Keras 1 called the variance
    "recurrent_kernel": "weight_hh",
}
_SEPARABLE = {"depthwise_kernel": "depthwise.weight", "bias": "pointwise.bias"}
_RECURRENT = {"kernel": "weight_ih"}
_STATISTICS = {"mean": "running_mean", "variance": "running_var"}
_CELLS = ("lstm", "gru", "simplernn", "cudnnlstm", "cudnngru")


def plain(cls: str) -> str:
    """A class in one spelling: ``Conv2DTranspose``, ``conv2d_transpose`` -> ``conv2dtranspose``."""
    return cls.lower().replace("_", "")


def variables(cls: str, config: Mapping[str, Any] | None, ranks: Sequence[int]) -> tuple[str, ...]:
    """The names of a layer's variables in the order in which Keras 3 keeps them, which is without names.

    ``SCALE_OR_SHIFT`` is one of the two, where only a configuration would tell which. Of a class that is not known, a
    matrix or more with a vector are a kernel and a bias, four vectors are a batch norm's, and others are numbered.

    Args:
        cls: The layer's class.
        config: Its configuration, None where the file has none.
        ranks: Of the variables, how many axes each has.
    """
    names = _named(plain(cls), config, len(ranks))
    if not names and ranks and ranks[0] > 1 and list(ranks[1:]) in ([], [1]):
        names = ("kernel", "bias")[: len(ranks)]
    elif not names and list(ranks) == [1, 1, 1, 1]:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
    return names if len(names) == len(ranks) else tuple(f"variable_{i}" for i in range(len(ranks)))


def _named(cls: str, config: Mapping[str, Any] | None, count: int) -> tuple[str, ...]:
    bias = ("bias",)
    if cls.startswith("separableconv"):
        return ("depthwise_kernel", "pointwise_kernel", *bias)[:count]
    if cls.removesuffix("cell") in _CELLS:
        return ("kernel", "recurrent_kernel", *bias)[:count]
    if cls == "embedding":
        return ("embeddings",)
    if cls == "prelu":
        return ("alpha",)
    if cls == "layerscale":
        return ("gamma",)
    if cls == "normalization":
        return ("mean", "variance", "count")[:count]
    moving = {"batchnormalization": ("moving_mean", "moving_variance")}.get(cls)
    if moving is not None or cls in ("layernormalization", "groupnormalization"):
        return (*_scale_and_center(config, count - len(moving or ())), *(moving or ()))
    if cls in ("seedgenerator", "dropout", "spatialdropout2d", "gaussiannoise", "gaussiandropout", "randomflip"):
        return ("seed_generator_state",)[:count]
    if cls == "dense" or cls.startswith("depthwiseconv") or _CONVOLUTION.fullmatch(cls):
        return ("kernel", *bias)[:count]
    return ()


def _scale_and_center(config: Mapping[str, Any] | None, count: int) -> tuple[str, ...]:
    if config is not None:
        return tuple(name for name, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True))
    return (SCALE_OR_SHIFT,) if count == 1 else ("gamma", "beta")[:count]


def role(cls: str, name: str) -> str:
    """What a variable of Keras is called here, behind its layer's name.

    Args:
        cls: The layer's class, ``""`` where it is not known.
        name: The variable's.
    """
    known = plain(cls)
    if known.startswith("separable") and name in _SEPARABLE:
        return _SEPARABLE[name]
    if known.removesuffix("cell") in _CELLS and name in _RECURRENT:
        return _RECURRENT[name]
    if known == "normalization" and name in _STATISTICS:
        return _STATISTICS[name]
    return _ROLES.get(name, name)


def canonical(array: Array, cls: str, name: str, layer: str) -> Array:
    """A variable in the layouts here: OIHW, depthwise (C M, 1, h, w), [out, in], gates by rows.

    Kernels are (*k, I, O), those of depthwise convolutions (*k, C, M), those of transposed ones (*k, O, I), which is
    (I, O, *k) here; whatever ``data_format`` is.

    Args:
        array: The variable.
        cls: Its layer's class, ``""`` where it is not known: then its name and shape have to tell.
        name: The variable's name.
        layer: The layer's name, which tells a depthwise convolution in old files.
    """
    import numpy as np

    known = plain(cls)
    if name not in ("kernel", "W", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel"):
        return array
    if array.ndim == 2:
        return np.ascontiguousarray(array.T)
    recognised = bool(_named(known, None, 2))
    if array.ndim not in (3, 4, 5) or known == "einsumdense" or (recognised and not _has_windows(known)):
        return array
    depthwise = name == "depthwise_kernel" or known.startswith("depthwise")
    if not recognised and array.ndim == 4 and name != "pointwise_kernel":
        by_name = re.search(r"(^|_)(dw|depthwise|dwconv)(_|$)", layer) is not None
        depthwise = depthwise or (array.shape[3] == 1 and by_name)
    window: Sequence[int] = range(array.ndim - 2)
    if depthwise:
        *sizes, channels, multiplier = array.shape
        moved = array.transpose(array.ndim - 2, array.ndim - 1, *window).reshape(channels * multiplier, 1, *sizes)
    else:
        moved = array.transpose(array.ndim - 1, array.ndim - 2, *window)
    return np.ascontiguousarray(moved)


def _has_windows(cls: str) -> bool:
    return cls.startswith(("separableconv", "depthwiseconv")) or _CONVOLUTION.fullmatch(cls) is not None
