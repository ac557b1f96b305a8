"""Live models of any framework, in the caller's own process: read as networks, and run as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError
from cnnbench.face.foreign_arrays import host_array, several
from cnnbench.face.networks import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.spec.graph import Graph
    from cnnbench.spec.interchange.model_readers import ModelReader, ReadModel

    Array = NDArray[Any]


def reader_of_model(model: Any) -> ModelReader | None:
    """The reader of a module of PyTorch, a Keras model or a JAX function with parameters; None for anything else."""
    from cnnbench.registry import model_readers
    from cnnbench.spec.interchange.model_readers import reader_of

    return None if isinstance(model, str | Model) else reader_of(model, model_readers())


def read_live(model: Any, inputs: Any) -> tuple[ModelReader, ReadModel]:
    """A live model as a network.

    Args:
        model: Of a framework.
        inputs: What it is called on, with channels first: an array, several, or arrays by name.

    Raises:
        SpecError: No reader knows it; parts of it are not read.
    """
    from cnnbench.spec.interchange.model_readers import GivenInputs

    reader = reader_of_model(model)
    if reader is None:
        raise SpecError(
            "this is no model that is read", received=f"{type(model).__module__}.{type(model).__qualname__}"
        )
    arrays = [host_array(item) for item in (inputs.values() if isinstance(inputs, Mapping) else several(inputs))]
    integers = tuple(array.dtype.kind in "iu" for array in arrays)
    if len(arrays) == 1 and arrays[0].ndim > 2:
        return reader, reader.code().read(model, GivenInputs(integers=integers, image=arrays[0].shape[1:]))
    return reader, reader.code().read(model, GivenInputs(tuple(array.shape[1:] for array in arrays), integers))


def network_of(model: Any, inputs: Any) -> tuple[Graph, Mapping[str, Array]]:
    """The graph of a live model and its arrays. Raises SpecError as ``read_live``.

    Args:
        model: As in ``read_live``.
        inputs: As in ``read_live``.
    """
    _, read = read_live(model, inputs)
    return read.graph, read.arrays


def model_outputs(model: Any, batch: Mapping[str, Array], how: Mapping[str, Any]) -> list[Array] | None:
    """What a live model, or a ``Model``, gives for a batch on the host's processors; None for anything else.

    Args:
        model: It runs at inference: eagerly, a ``Model`` on NumPy.
        batch: The inputs in their order, with channels first.
        how: ``precision``; float32 where there is none.

    Raises:
        SpecError: As ``read_live``.
    """
    precision = how.get("precision") or "float32"
    arrays = list(batch.values())
    if isinstance(model, Model):
        from cnnbench.face.prediction import predict

        named = {item.name: array for item, array in zip(model.graph.inputs, arrays, strict=True)}
        return list(predict(model, named, backend="numpy", precision=precision).outputs.values())
    if reader_of_model(model) is None:
        return None
    from cnnbench.execution.own_forward import own_outputs

    reader, read = read_live(model, arrays)
    named = {item.name: array for item, array in zip(read.graph.inputs, arrays, strict=True)}
    return list(own_outputs(reader.code().runner(model, "eager", precision, "cpu"), read, named).values())
