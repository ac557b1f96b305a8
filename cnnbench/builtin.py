"""The core's own plugin: what it ships for each hook, registered like any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from cnnbench.spec.interchange.weight_files import WeightReader


@hookimpl
def cnnbench_weight_readers() -> Sequence[WeightReader]:
    """Safetensors; PyTorch's and Keras' files belong to their backends' plugins."""
    from cnnbench.spec.interchange.weight_files import SAFETENSORS

    return (SAFETENSORS,)
