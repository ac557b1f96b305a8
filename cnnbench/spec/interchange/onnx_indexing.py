"""Importers of operators that take part of a value: slice, split, gather."""

from __future__ import annotations

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import NUM, is_open, multiple_of_batch
from cnnbench.spec.interchange.onnx_node import OnnxNode, Result, importer
from cnnbench.spec.interchange.onnx_places import nd_places, of_one_image, tables_of
from cnnbench.spec.interchange.onnx_shape import positive, reshaped
from cnnbench.spec.layers.indexing import Gather, GatherIndices, Slice, Split


@importer("Slice")
def slice_(node: OnnxNode) -> Value:
    """Slice, with Python's rules; ends beyond either side are clamped."""
    x = node.value(0)
    starts, ends = node.ints(1, "starts"), node.ints(2, "ends")
    axes = node.ints(3, "axes") if node.has(3) else tuple(range(len(starts)))
    steps = node.ints(4, "steps") if node.has(4) else (1,) * len(starts)
    rows = list(zip(axes, starts, ends, steps, strict=True))
    stops = tuple(_stop(node, x.shape[axis], end, step) for axis, _, end, step in rows)
    if any(map(is_open, starts)):
        raise node.reject("where a slice starts depends on the batch size", received=starts, expected="fixed numbers")
    return node.add(Slice(starts=starts, ends=stops, steps=steps, axes=axes), x)


def _stop(node: OnnxNode, size: int, end: int, step: int) -> int | None:
    """Where a slice of an axis ends; None: not before the axis does."""
    if not is_open(end):
        return None if step < 0 and end < -size else end
    if step > 0 and end >= size:
        return None
    rest = end - size  # from the axis' end, which moves with the batch as the slice's does
    if step < 0 or is_open(rest):
        raise node.reject("where a slice ends depends on the batch size", received=f"{end} of {size}")
    return rest


@importer("Split")
def split(node: OnnxNode) -> list[Result]:
    """Split: by sizes, or into equal parts of which the last may be smaller."""
    x = node.value(0)
    axis = positive(node.attribute("axis", 0), len(x.shape))
    if node.has(1):
        sizes = node.ints(1, "the sizes")
    else:
        count = node.attribute("num_outputs", len(node.outputs))
        size = -(-x.shape[axis] // count)
        sizes = tuple(min(size, x.shape[axis] - i * size) for i in range(count))
    if 0 in sizes:
        stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return [
            node.add(Slice(starts=(stop - size,), ends=(stop,), axes=(axis,)), x, part=f"part{i}")
            for i, (size, stop) in enumerate(zip(sizes, stops, strict=True))
        ]
    return list(node.add_all(Split(sizes=sizes, axis=axis), x))


@importer("Gather")
def gather(node: OnnxNode) -> Value:
    """Gather: positions that the model fixes, or that are computed or fed. Negative ones must be known."""
    x, axis = node.value(0), node.attribute("axis", 0)
    known = node.tensor(1)
    if known is not None and known.by_batch is not None and known.kind == "i" and positive(axis, len(x.shape)) == 0:
        return _of_every_image(node, x)
    fixed = node.constant(1)
    if fixed is None and node.knowable(1) and (node.static(1, "the indices") < 0).any():
        fixed = node.static(1, "the indices")
    if fixed is None:
        indices = node.value(1)
        return node.add(GatherIndices(axis=axis), x, indices)
    rank = positive(axis, len(x.shape))
    rows = Gather(indices=tuple(int(i) for i in fixed.reshape(-1)), axis=axis)
    if fixed.ndim == 1:
        return node.add(rows, x)
    taken = node.add(rows, x, part="rows")
    return reshaped(node, taken, (*x.shape[:rank], *fixed.shape, *x.shape[rank + 1 :]))


def _of_every_image(node: OnnxNode, x: Value) -> Value:
    """At positions that depend on the batch size: those of each image in an axis that runs over all images' values."""
    images = multiple_of_batch(x.shape[0])
    if images is None or any(map(is_open, x.shape[1:])):
        return node.add(GatherIndices(axis=0), x, node.value(1))
    table = of_one_image(node, tables_of(node, x, 1, lambda indices, shape: nd_places(indices[..., None], shape, 0)))
    target = (*node.shape(1), *x.shape[1:])
    places = tuple(map(int, table.reshape(-1)))
    if places == tuple(range(images)):
        return reshaped(node, x, target)
    rows = reshaped(node, x, (NUM, images, *x.shape[1:]), "rows")
    return reshaped(node, node.add(Gather(indices=places, axis=1), rows, part="taken"), target)
