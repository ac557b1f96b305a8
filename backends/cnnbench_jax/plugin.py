"""Tells of the JAX backend without importing JAX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.hookspecs import hookimpl
from cnnbench_jax.offered import DEVICES, LAYOUTS, MODES, NATIVE_MODES, PRECISIONS

if TYPE_CHECKING:
    from pathlib import Path

    from cnnbench.execution.contract import Backend, BackendPlugin
    from cnnbench.spec.interchange.model_readers import GivenInputs, ModelGradients, ModelReader, ModelRunner, ReadModel


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


def _load_model(path: Path) -> Any:
    from cnnbench.errors import DataError

    raise DataError("JAX has no files of models", where=str(path))


def _read_model(model: Any, inputs: GivenInputs) -> ReadModel:
    from cnnbench_jax.models import read

    return read(model, inputs)


def _weights_digest(model: Any) -> str:
    from cnnbench_jax.models import weights_digest

    return weights_digest(model)


def _runner(model: Any, mode: str, policy: str, device: str) -> ModelRunner:
    from cnnbench_jax.models import FunctionRunner

    return FunctionRunner(model, mode, policy, device)


def _gradients(model: Any, inputs: Sequence[Any], cotangents: Sequence[Any]) -> ModelGradients | None:
    from cnnbench_jax.gradients import gradients

    return gradients(model, inputs, cotangents)


def _with_weights(model: Any, arrays: Sequence[Any]) -> Any:
    from cnnbench_jax.gradients import with_weights

    return with_weights(model, arrays)


@hookimpl
def cnnbench_model_readers() -> Sequence[ModelReader]:
    """A function with its parameters, ``(apply, params)``."""
    from cnnbench.spec.interchange.model_readers import ModelReader

    calls = (_is_function, _load_model, _read_model, _weights_digest, _runner, _gradients, _with_weights)
    return (ModelReader("JAX", "jax", (), *calls),)
