"""A forward pass of a user's Keras model in training mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnbench.spec.interchange.model_readers import TrainingPass
from cnnbench_tensorflow.native import KerasRunner, loaded, made_in


def training_pass(model: Any, inputs: Sequence[np.ndarray], seed: int) -> TrainingPass:
    """As ``ModelCode.training_pass``.

    Args:
        model: The model, or the path of its file.
        inputs: In the model's order.
        seed: Of what it draws.
    """
    import keras

    keras.utils.set_random_seed(seed)
    live = loaded(model)
    runner = KerasRunner(made_in(live, "float64", live.get_weights()), "eager", "float64", "cpu")
    for layer in runner.model._flatten_layers():
        if "Dropout" in type(layer).__name__ and hasattr(layer, "rate"):
            layer.rate = 0.0
        if isinstance(layer, keras.layers.MultiHeadAttention):
            layer._dropout = 0.0
    found = runner.train([runner.place(array) for array in inputs])
    return TrainingPass(tuple(np.asarray(item, np.float64) for item in runner.read(found)), runner.model)
