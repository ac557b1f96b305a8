"""The silent defects of released frameworks that cnnbench's checks find when a framework's own call is used plainly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import jax_defects
import onnxruntime_defects
import tensorflow_defects
import torch_defects
from known_defect import Defect

SEEN: Mapping[str, str] = {"torch": "2.13.0", "jax": "0.10.2", "tensorflow": "2.21.0", "onnxruntime": "1.32.0"}


@cache
def defects() -> dict[str, Defect]:
    """Every defect by name."""
    found = {}
    for item in (
        *torch_defects.DEFECTS,
        *jax_defects.DEFECTS,
        *tensorflow_defects.DEFECTS,
        *onnxruntime_defects.DEFECTS,
    ):
        framework = item.framework or item.backend
        found[item.name] = replace(item, framework=framework, seen=item.seen or SEEN[framework])
    return found
