"""Runs a user's own Keras model as it is, on TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cnnbench.errors import UnavailableError
from cnnbench.execution.precision import precision
from cnnbench_tensorflow.framework import tf
from cnnbench_tensorflow.programs import hosted


class KerasRunner:
    """A Keras model as TensorFlow runs it: ``eager``, as a ``tf.function`` in ``graph``, compiled by XLA in ``xla``.

    Args:
        model: The model, or the path of its file. It is made anew where it has another precision.
        mode: ``eager``, ``graph`` or ``xla``.
        policy: The name of the precision policy.
        device: Left to the backend, which shows TensorFlow one device.

    Attributes:
        model: The live model, in the precision that was asked for.

    Raises:
        UnavailableError: Keras runs on another framework here.
    """

    def __init__(self, model: Any, mode: str, policy: str, device: str) -> None:
        import keras

        if keras.backend.backend() != "tensorflow":
            raise UnavailableError(
                "Keras runs on another framework", received=keras.backend.backend(), remedy="KERAS_BACKEND=tensorflow"
            )
        self._floatx = precision(policy).storage
        with _floats(self._floatx):
            live = loaded(model)
            self.model = live if _computes_in(live, self._floatx) else made_in(live, self._floatx, live.get_weights())
        self._call = self._called
        if mode != "eager":
            self._call = tf.function(self._called, jit_compile=mode == "xla", autograph=False)

    def _called(self, *operands: Any, training: bool = False) -> Any:
        return self.model(list(operands) if len(operands) > 1 else operands[0], training=training)

    def train(self, operands: Sequence[Any]) -> Any:
        """One forward pass in training mode, as Python runs it."""
        with _floats(self._floatx):
            return self._called(*operands, training=True)

    def place(self, array: np.ndarray) -> Any:
        """As ``ModelRunner.place``."""
        return tf.constant(
            np.array(array, np.int64 if array.dtype.kind == "i" else tf.as_dtype(self._floatx).as_numpy_dtype)
        )

    def run(self, operands: Sequence[Any]) -> Any:
        """As ``ModelRunner.run``."""
        with _floats(self._floatx):
            return self._call(*operands)

    def read(self, results: Any) -> list[np.ndarray]:
        """As ``ModelRunner.read``."""
        is_dict = isinstance(results, dict)
        outputs = list(results.values()) if is_dict else results if isinstance(results, list | tuple) else [results]
        return hosted(outputs)


@contextmanager
def _floats(dtype: str) -> Iterator[None]:
    """Within it Keras makes its floats of this type; users' models that are made elsewhere do not."""
    import keras

    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)


def _computes_in(model: Any, dtype: str) -> bool:
    parts = [model, *model.layers]
    return all(part.dtype_policy.name == dtype for part in parts)


def loaded(model: Any) -> Any:
    """A live model, of a file where ``model`` is its path."""
    import keras

    return keras.models.load_model(model, compile=False) if isinstance(model, Path) else model


def made_in(model: Any, dtype: str, weights: Sequence[Any]) -> Any:
    """The same model with its layers' policy in another precision, and with other weights.

    Args:
        model: It is left as it is.
        dtype: The precision.
        weights: In the order of ``model.get_weights()``.
    """
    import keras

    text = json.loads(model.to_json())
    copy = keras.models.model_from_json(json.dumps(_policies(text, dtype)))
    if len(copy.weights) != len(weights):  # no configuration tells of a layer that stands in several models
        copy = _copied(model, dtype, {})
    copy.set_weights([np.asarray(item, np.float64) for item in weights])
    for layer in copy._flatten_layers():
        _take_statistics(layer, dtype)
    return copy


def _take_statistics(layer: Any, dtype: str) -> None:
    """Lets layers that prepare images compute with the numbers that they have.

    Keras takes those of a Normalization from its variables when it loads a file, not when they are set; and what the
    configuration states it rounds to float32, whatever the layer's precision.
    """
    kind = type(layer).__name__
    if kind == "Normalization" and layer.input_mean is None:
        layer.finalize_state()
    elif kind == "Normalization" and layer.built:
        for name, given in (("mean", layer.input_mean), ("variance", layer.input_variance)):
            wide, shape = np.asarray(given, np.float64), tuple(getattr(layer, name).shape)
            wide = wide.reshape(shape) if wide.size == np.prod(shape) else np.broadcast_to(wide, shape)
            setattr(layer, name, tf.constant(wide, dtype))
    elif kind == "Rescaling":
        layer.scale, layer.offset = (np.asarray(item, np.float64) for item in (layer.scale, layer.offset))


def _copied(layer: Any, dtype: str, made: dict[int, Any]) -> Any:
    """A layer or model in another precision, each of its layers copied once wherever it stands."""
    import keras

    if id(layer) not in made:
        if isinstance(layer, keras.Model):
            made[id(layer)] = keras.models.clone_model(layer, clone_function=lambda part: _copied(part, dtype, made))
        else:
            text = json.dumps(_policies(keras.layers.serialize(layer), dtype))
            made[id(layer)] = keras.layers.deserialize(json.loads(text))
    return made[id(layer)]


def _policies(content: Any, dtype: str) -> Any:
    if isinstance(content, dict):
        return {
            key: dtype if key == "dtype" and _is_policy(item) else _policies(item, dtype)
            for key, item in content.items()
        }
    return [_policies(item, dtype) for item in content] if isinstance(content, list) else content


def _is_policy(item: Any) -> bool:
    return item == "float32" or (isinstance(item, dict) and item.get("class_name") == "DTypePolicy")
