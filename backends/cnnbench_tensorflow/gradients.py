"""Gradients of a user's Keras model by TensorFlow's tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnbench.spec.interchange.model_readers import ModelGradients
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.native import KerasRunner, loaded, made_in


def gradients(model: Any, inputs: Sequence[np.ndarray], cotangents: Sequence[np.ndarray]) -> ModelGradients | None:
    """As ``ModelCode.gradients``.

    Args:
        model: The model, or the path of its file.
        inputs: In the model's order.
        cotangents: One for each output.
    """
    runner = KerasRunner(model, "eager", "float64", "cpu")
    batch = [runner.place(array) for array in inputs]
    floats = [item for item in batch if item.dtype.is_floating]
    with tf.GradientTape() as tape:
        for item in floats:
            tape.watch(item)
        outputs = zip(tf.nest.flatten(runner.run(batch)), cotangents, strict=True)
        terms = [tf.reduce_sum(item * cotangent) for item, cotangent in outputs if item.dtype.is_floating]
        total = tf.add_n(terms)
    trained = [variable.value for variable in runner.model.trainable_weights]
    every = tape.gradient(total, [*floats, *trained], unconnected_gradients="zero")
    of_inputs = iter(every[: len(floats)])
    names = [variable.path for variable in runner.model.trainable_weights]
    of_weights = dict(zip(names, every[len(floats) :], strict=True))
    return ModelGradients(
        tuple(_dense(next(of_inputs)) if item.dtype.is_floating else None for item in batch),
        tuple(
            _dense(of_weights[variable.path]) if variable.path in of_weights else np.zeros(tuple(variable.shape))
            for variable in runner.model.weights
        ),
    )


def _dense(gradient: Any) -> np.ndarray:
    return np.asarray(tf.convert_to_tensor(gradient), np.float64)


def with_weights(model: Any, arrays: Sequence[np.ndarray]) -> Any:
    """A copy of the model with other weights and running statistics.

    Args:
        model: The model, or the path of its file.
        arrays: One for each of ``model.weights``.
    """
    return made_in(loaded(model), "float32", arrays)
