"""Tells of the JAX backend without importing JAX."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnbench.hookspecs import hookimpl
from cnnbench_jax.offered import DEVICES, LAYOUTS, MODES, PRECISIONS

if TYPE_CHECKING:
    from pathlib import Path

    from cnnbench.execution.contract import Backend, BackendPlugin
    from cnnbench.spec.interchange.model_readers import GivenInputs, ModelReader, ReadModel


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
            precisions=dict.fromkeys(MODES, PRECISIONS),
            devices=DEVICES,
            layouts=LAYOUTS,
            colour="#7b3fb5",
            distribution="jax",
        )
    ]


def _is_function(model: Any) -> bool:
    """Whether it is (apply, parameters): a function and a tree of arrays."""
    jax = sys.modules.get("jax")  # without JAX nothing can be a function of it
    if jax is None or not isinstance(model, tuple) or len(model) != 2 or not callable(model[0]):
        return False
    leaves = jax.tree_util.tree_leaves(model[1])
    return bool(leaves) and all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves)


def _load_model(path: Path) -> Any:
    from cnnbench.errors import DataError

    raise DataError("JAX has no files of models", where=str(path))


def _read_model(model: Any, inputs: GivenInputs) -> ReadModel:
    from cnnbench_jax.models import read

    return read(model, inputs)


def _run_model(model: Any, batch: Mapping[str, Any], mode: str, read_model: ReadModel) -> dict[str, Any]:
    from cnnbench_jax.models import run

    return run(model, batch, mode, read_model)


@hookimpl
def cnnbench_model_readers() -> Sequence[ModelReader]:
    """A function with its parameters, ``(apply, params)``."""
    from cnnbench.spec.interchange.model_readers import ModelReader

    return (ModelReader("JAX", "jax", (), _is_function, _load_model, _read_model, _run_model),)
