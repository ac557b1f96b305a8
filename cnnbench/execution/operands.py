"""A batch as the operands of a program: which arrays it must hold, in which order, checked once for all backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from cnnbench.execution.host import ArraySpec, HostArrays, cotangent_name
from cnnbench.execution.layout_change import LayoutChange
from cnnbench.execution.loading import BoundGraph
from cnnbench.execution.operations import Array
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import Loss


class ProgramOperands(NamedTuple):
    """One batch in the order of a program, on the host or, once a backend has placed it, on its device.

    Args:
        inputs: The inputs, in the order of the graph.
        masks: The dropout masks in the layout of the op that takes them, in the order of ``Program.mask_names``.
        targets: The targets of the loss, where there is one that takes any.
        cotangents: One for each output in its order, where gradients are taken without a loss.
    """

    inputs: tuple[Array, ...]
    masks: tuple[Array, ...] = ()
    targets: Array | None = None
    cotangents: tuple[Array, ...] = ()

    def map(self, place: Callable[[Any], Any]) -> ProgramOperands:
        """The operands with ``place`` applied to each array."""
        return ProgramOperands(
            tuple(map(place, self.inputs)),
            tuple(map(place, self.masks)),
            None if self.targets is None else place(self.targets),
            tuple(map(place, self.cotangents)),
        )


@dataclass(frozen=True)
class BatchReader:
    """Reads the batches of one program.

    Args:
        bound: The program's graph.
        loss: Whose targets a batch holds; None: it holds none.
        cotangents: Whether a batch holds ``gradient.<output>`` for each output.
        masks: Whether a training batch holds the dropout masks; False where the framework draws them.
    """

    bound: BoundGraph
    loss: Loss | None = None
    cotangents: bool = False
    masks: bool = True

    def read(self, batch: HostArrays) -> ProgramOperands:
        """The operands on the host: indices as int64, everything else in a floating type; extra arrays are ignored.

        Raises DataError where an array is missing, or has another shape, another batch size or a dtype of another kind.
        """
        graph = self.bound.program.graph
        where, size = graph.name, batch_size(graph, batch)
        shapes = graph.shapes(size)
        inputs = tuple(
            ArraySpec("input", item.name, item.full_shape(size), item.dtype).take(batch, where) for item in graph.inputs
        )
        targets = None
        if self.loss is not None and self.loss.has_targets:
            shape = self.loss.target_shape(shapes[graph.outputs[0][1]])
            spec = ArraySpec("target array", "targets", shape, "int" if self.loss.int_targets else "float")
            targets = spec.take(batch, where)
        cotangents = tuple(
            ArraySpec("cotangent", cotangent_name(name), shapes[value]).take(batch, where)
            for name, value in (graph.outputs if self.cotangents else ())
        )
        return ProgramOperands(inputs, self._read_masks(batch, size), targets, cotangents)

    def _read_masks(self, batch: HostArrays, size: int) -> tuple[Array, ...]:
        program = self.bound.program
        if not self.masks or not program.mask_names:
            return ()
        specs = program.graph.named_masks(size)
        taken = (ArraySpec("dropout mask", spec.name, spec.shape).take(batch, program.graph.name) for spec in specs)
        return tuple(
            mask.transpose(LayoutChange(to="channels_last").permutation(mask.ndim)) if last and mask.ndim > 2 else mask
            for mask, last in zip(taken, self.bound.masks_channels_last, strict=True)
        )


def batch_size(graph: Graph, batch: HostArrays) -> int:
    """The length of the first input that has a batch axis; 1 where there is none.

    Args:
        graph: Whose inputs they are.
        batch: The inputs by name.
    """
    import numpy as np

    for item in graph.inputs:
        if item.batched and item.name in batch:
            return next(iter(np.shape(batch[item.name])), 1)
    return 1


def micro_batches(bound: BoundGraph, operands: ProgramOperands, count: int) -> list[tuple[float, ProgramOperands]]:
    """The parts of a batch whose gradients are averaged, each with its share of the images.

    They are consecutive images; their numbers differ by one at most. A batch of fewer images has a part for each.

    Args:
        bound: The program's graph.
        operands: Of the whole batch, anywhere.
        count: Of parts.
    """
    graph = bound.program.graph
    batched = [item.batched for item in graph.inputs]
    size = next((x.shape[0] for x, has in zip(operands.inputs, batched, strict=True) if has), 1)
    if count == 1 or size < 2:
        return [(1.0, operands)]
    grows = [
        one.shape != two.shape and mask is not None and len(mask.shape) == len(one.shape)  # else a key, not a mask
        for mask, one, two in zip(operands.masks, graph.named_masks(1), graph.named_masks(2), strict=False)
    ]
    parts = min(count, size)
    edges = [size * i // parts for i in range(parts + 1)]

    def cut(arrays: tuple[Array, ...], grow: list[bool], start: int, end: int) -> tuple[Array, ...]:
        pairs = zip(arrays, grow, strict=True)
        return tuple(array[start:end] if has else array for array, has in pairs)

    return [
        (
            (end - start) / size,
            ProgramOperands(
                cut(operands.inputs, batched, start, end),
                cut(operands.masks, grows, start, end),
                None if operands.targets is None else operands.targets[start:end],
            ),
        )
        for start, end in pairwise(edges)
    ]


def overwrite(operands: Any, source: Any) -> bool:
    """Puts the values of ``source`` into the memory of ``operands``, which are alike: arrays in tuples, lists or dicts.

    The program then computes on another input behind the same objects, as where a caller fills its buffers anew.

    Returns:
        Whether that was possible: NumPy's arrays and PyTorch's tensors on the host can be written to, JAX's and
        TensorFlow's cannot.
    """
    pairs = list(_pairs(operands, source))
    views = [(_writable(target), _writable(value)) for target, value in pairs]
    if not views or any(target is None or value is None for target, value in views):
        return False
    for target, value in views:
        target[...] = value
    return True


def _pairs(target: Any, source: Any) -> Iterator[tuple[Any, Any]]:
    if target is None:
        return
    if isinstance(target, dict):
        for key, value in target.items():
            yield from _pairs(value, source[key])
    elif isinstance(target, tuple | list):
        for first, second in zip(target, source, strict=True):
            yield from _pairs(first, second)
    else:
        yield target, source


def _writable(array: Any) -> Any:
    """A host array that shares an array's memory and can be written to, or None."""
    import numpy as np

    if hasattr(array, "copy_"):  # a tensor of PyTorch
        try:
            array = array.numpy()
        except (TypeError, RuntimeError):  # of another device, or of a type that NumPy does not have
            return None
    return array if isinstance(array, np.ndarray) and array.flags.writeable else None
