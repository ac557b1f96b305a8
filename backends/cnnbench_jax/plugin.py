"""Tells of the JAX backend without importing JAX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.hookspecs import hookimpl
from cnnbench_jax.offered import DEVICES, LAYOUTS, MODES, NATIVE_MODES, PRECISIONS

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, BackendPlugin
    from cnnbench.spec.interchange.model_readers import ModelCode, ModelReader


def _load() -> Backend:
    from cnnbench_jax.backend import JaxBackend

    return JaxBackend()


@hookimpl
def cnnbench_backends() -> Sequence[BackendPlugin]:
    """JAX under ``jit``."""
    from cnnbench.execution.contract import BackendPlugin

    return [
        BackendPlugin(
            name="jax",
            requires=("jax", "jaxlib", "optax"),
            load=_load,
            modes=MODES,
            precisions=dict.fromkeys((*MODES, *NATIVE_MODES), PRECISIONS),
            devices=DEVICES,
            layouts=LAYOUTS,
            colour="#7b3fb5",
            distribution="jax",
            native_modes=NATIVE_MODES,
        )
    ]


def _is_function(model: Any) -> bool:
    """Whether it is (apply, parameters): a function and a tree of arrays, or ``{}``."""
    jax = sys.modules.get("jax")  # without JAX nothing can be a function of it
    if jax is None or not isinstance(model, tuple) or len(model) != 2 or not callable(model[0]):
        return False
    leaves = jax.tree_util.tree_leaves(model[1])
    if not leaves:
        return isinstance(model[1], dict)
    return all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves)


def _code() -> ModelCode:
    from cnnbench_jax import models

    return models


@hookimpl
def cnnbench_model_readers() -> Sequence[ModelReader]:
    """A function with its parameters, ``(apply, params)``."""
    from cnnbench.spec.interchange.model_readers import ModelReader

    return (ModelReader("JAX", "jax", (), _is_function, _code),)
