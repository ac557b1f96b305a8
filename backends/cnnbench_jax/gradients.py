"""Gradients of a user's JAX function by ``jax.vjp``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnbench.spec.interchange.model_readers import ModelGradients


def gradients(
    model: tuple[Any, Any], inputs: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]
) -> ModelGradients | None:
    """As ``ModelCode.gradients``: of the floating leaves of the parameters.

    Args:
        model: (apply, parameters).
        inputs: In the function's order.
        cotangents: One for each output.
    """
    function, parameters = model
    leaves, tree = jax.tree_util.tree_flatten(parameters)
    trained, floats = _floats(leaves), _floats(inputs)

    def loss(some: list[Any], images: list[Any]) -> Any:
        tree_now = jax.tree_util.tree_unflatten(tree, _put(leaves, trained, some))
        outputs = jax.tree_util.tree_leaves(function(tree_now, *_put(inputs, floats, images)))
        return sum((jnp.sum(output * g) for output, g in zip(outputs, cotangents, strict=True)), jnp.zeros(()))

    with jax.enable_x64(True):
        wide = [[jnp.asarray(items[i], jnp.float64) for i in at] for items, at in ((leaves, trained), (inputs, floats))]
        of_weights, of_inputs = jax.grad(loss, argnums=(0, 1))(*wide)
        found = dict(zip(floats, map(np.asarray, of_inputs), strict=True))
        return ModelGradients(tuple(found.get(i) for i in range(len(inputs))), tuple(map(np.asarray, of_weights)))


def training_pass(model: tuple[Any, Any], inputs: Sequence[np.ndarray], seed: int) -> None:
    """As ``ModelCode.training_pass``: a function of parameters and images is its inference.

    Args:
        model: (apply, parameters).
        inputs: In the function's order.
        seed: Of what it would draw.
    """


def weights(model: tuple[Any, Any]) -> list[np.ndarray]:
    """As ``ModelCode.weights``: the floating leaves of the parameters."""
    leaves = jax.tree_util.tree_leaves(model[1])
    return [np.asarray(leaves[i]) for i in _floats(leaves)]


def with_weights(model: tuple[Any, Any], arrays: Sequence[np.ndarray]) -> tuple[Any, Any]:
    """The function with other parameters.

    Args:
        model: (apply, parameters).
        arrays: One for each floating leaf of the parameters.
    """
    function, parameters = model
    leaves, tree = jax.tree_util.tree_flatten(parameters)
    at = _floats(leaves)
    typed = [np.asarray(array, leaves[i].dtype) for i, array in zip(at, arrays, strict=True)]
    return function, jax.tree_util.tree_unflatten(tree, _put(leaves, at, typed))


def _floats(items: Sequence[Any]) -> list[int]:
    return [i for i, item in enumerate(items) if jnp.issubdtype(item.dtype, jnp.floating)]


def _put(items: Sequence[Any], at: list[int], others: Sequence[Any]) -> list[Any]:
    """The items with others at some places."""
    found = list(items)
    for i, other in zip(at, others, strict=True):
        found[i] = other
    return found
