"""The inputs of an ONNX model: which of them have a batch axis, in which shape and dtype each is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.interchange.onnx_batch import NUM
from cnnbench.spec.interchange.onnx_file import OnnxFile
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.layers import Shape

_MOVERS = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Split", "Concat")


class ModelInputs:
    """The inputs of a model that no initialiser gives.

    Where the batch is to stay open, the first axis of an input is the batch if the model leaves its size open, or
    states for it the size that it states for the first axis of the first input of two axes or more.

    Args:
        file: The model.
        given: Data of inputs by name.
        batched: Whether the batch is to stay open; else every input has the shape that the model states.
        image: (C, *spatial) of the first input; () for what the model says.
    """

    def __init__(self, file: OnnxFile, given: Mapping[str, Array], *, batched: bool, image: Shape) -> None:
        graph = file.model.graph
        fixed = {item.name for item in graph.initializer} | {item.values.name for item in graph.sparse_initializer}
        self.given = given
        self.items: dict[str, Any] = {item.name: item for item in graph.input if item.name not in fixed}
        self._file = file
        self._batched = batched
        self._image = image

    @cached_property
    def main(self) -> str:
        """The input of images: the first of two axes or more; else the first of all, "" where there is none."""
        ranked = [name for name in self.items if len(self._declared(name)) > 1]
        return next(iter([*ranked, *self.items]), "")

    @property
    def stated_batch(self) -> int | None:
        """The batch size that the model itself fixes; None where it leaves it open."""
        return next(iter(self._declared(self.main)), None) if self.main else None

    def is_batched(self, name: str) -> bool:
        """Whether the first axis of an input is the open batch."""
        sizes = self._declared(name)
        if not self._batched or not sizes:
            return False
        return sizes[0] is None or (len(sizes) > 1 and sizes[0] == self.stated_batch)

    def dtype(self, name: str) -> np.dtype[Any]:
        """The dtype that the model declares."""
        return numpy_dtype(self.items[name].type.tensor_type.elem_type)

    def is_int(self, name: str) -> bool:
        """Whether an input holds integers, and the model does not turn them into floats before it computes."""
        return self.dtype(name).kind in "iu" and not self._becomes_float(name)

    def shape(self, name: str) -> Shape:
        """The shape of an input, the batch included.

        Raises:
            SpecError: Sizes that are open, or an image that is not the model's.
        """
        if name in self.given:
            return tuple(self.given[name].shape)
        sizes = self._declared(name)
        if self._image and name == self.main:
            sizes = self._with_image(sizes)
        if self.is_batched(name):
            sizes = [NUM, *sizes[1:]]
        if any(size is None for size in sizes) or not self.items[name].type.tensor_type.HasField("shape"):
            declared = self.items[name].type.tensor_type.shape.dim
            raise SpecError(
                f"the shape of input {name!r} is open",
                received=[item.dim_value or item.dim_param or "?" for item in declared],
                remedy="state the image shape (--image CxHxW), or export the model with fixed sizes",
            )
        return tuple(size for size in sizes if size is not None)

    def _declared(self, name: str) -> list[int | None]:
        dims = self.items[name].type.tensor_type.shape.dim
        return [item.dim_value if item.HasField("dim_value") else None for item in dims]

    def _with_image(self, sizes: list[int | None]) -> list[int | None]:
        own = sizes[1:]
        fits = len(own) == len(self._image) and all(s in (None, i) for s, i in zip(own, self._image, strict=True))
        if not fits:
            raise SpecError("the model states its own image shape", received=self._image, expected=own)
        return [*sizes[:1], *self._image]

    def _becomes_float(self, name: str) -> bool:
        """Whether a cast to floats reads the input, or what operators that only move values make of it."""
        from onnx import helper

        reached = {name}
        for node in self._file.model.graph.node:
            if not reached.intersection(node.input[:1] if node.op_type != "Concat" else node.input):
                continue
            if node.op_type in _MOVERS:
                reached.update(node.output)
            elif node.op_type == "Cast":
                to = next((helper.get_attribute_value(item) for item in node.attribute if item.name == "to"), b"FLOAT")
                if to == b"FLOAT" or (isinstance(to, int) and numpy_dtype(to).kind in "fV"):
                    return True
        return False


def numpy_dtype(element: int) -> np.dtype[Any]:
    """NumPy's dtype of a ``TensorProto`` element type; ``V`` is the kind of those that NumPy lacks."""
    from onnx import helper

    dtype: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(element)
    return dtype


def dense(sparse: Any) -> Array:
    """The array of a ``SparseTensorProto``, whose indices are positions in the flat array or rows of coordinates."""
    from onnx import numpy_helper

    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    array = np.zeros(tuple(sparse.dims), values.dtype)
    flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), array.shape)
    array.reshape(-1)[flat] = values
    return array


def initializers(graph: Any) -> Iterable[tuple[str, Array]]:
    """The names and arrays of a graph's initialisers, sparse ones too."""
    for item in graph.initializer:
        yield item.name, _read(item)
    for sparse in graph.sparse_initializer:
        yield sparse.values.name, dense(sparse)


def _read(tensor: Any) -> Array:
    """The array of an initialiser. Raises SpecError with its name where it holds other values than it says."""
    from onnx import numpy_helper

    try:
        if any(size < 0 for size in tensor.dims):
            raise ValueError("a negative size")
        array: Array = numpy_helper.to_array(tensor)
    except Exception as error:  # NumPy's and the package's, of many kinds
        raise SpecError(
            f"the initialiser {tensor.name!r} cannot be read",
            received=f"{type(error).__name__}: {error}"[:300],
            expected=f"values of shape {tuple(tensor.dims)}",
        ) from None
    return array


def names_read(graph: Any) -> set[str]:
    """The names that a graph's nodes read, those of subgraphs too, and those of its outputs."""
    names = {item.name for item in graph.output}
    for node in graph.node:
        names.update(item for item in node.input if item)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                names |= names_read(attribute.g)
    return names
