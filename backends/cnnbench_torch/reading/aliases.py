"""Which tensors of an exported program share their memory: what is written into one is seen in the others."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

_VIEWS = {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose"} | {
    *("t", "swapaxes", "movedim", "numpy_T", "mT", "slice", "narrow", "select", "split", "split_with_sizes", "chunk"),
    *("unbind", "tensor_split", "diagonal", "unfold", "expand", "expand_as", "as_strided", "alias", "detach", "real"),
    *("contiguous", "to", "type_as", "float", "view_as", "dropout", "feature_dropout", "alpha_dropout"),
}


class SharedMemory(NamedTuple):
    """What operations in place change.

    Args:
        names: Of each such operation, all nodes that stand for the tensor that it writes into, its own result included.
        lost: Those whose effect a graph of values loses, as a view of the tensor, made before, is read later.
    """

    names: Mapping[Any, Sequence[Any]]
    lost: frozenset[Any]


def shared_memory(nodes: Iterable[Any]) -> SharedMemory:
    """What the operations in place of an exported program change.

    Args:
        nodes: Of the program, in order.
    """
    tensors: dict[Any, Any] = {}  # the first node that stands for the same tensor
    memory: dict[Any, Any] = {}  # of a tensor, the one that it is a view of
    placed: dict[Any, int] = {}
    last: dict[Any, int] = {}
    writes: list[tuple[int, Any]] = []
    for place, node in enumerate(nodes):
        placed[node] = place
        source = next((item for item in node.args if hasattr(item, "op")), None)
        if writes_in_place(node) and source is not None:
            tensors[node] = tensors[source]
            writes.append((place, node))
        elif source is not None and _is_whole(node, source):
            tensors[node] = tensors[source]
        else:
            tensors[node] = node
            memory[node] = memory[tensors[source]] if source is not None and _is_view(node) else node
        for item in node.all_input_nodes:
            last[tensors[item]] = place
    lost = set()
    for place, node in writes:
        own = tensors[node]
        others = [item for item, owner in memory.items() if owner is memory[own] and item is not own]
        if any(placed[item] < place < last.get(item, -1) for item in others):
            lost.add(node)
    names = {node: [item for item, tensor in tensors.items() if tensor is tensors[node]] for _, node in writes}
    return SharedMemory(names, frozenset(lost))


def writes_in_place(node: Any) -> bool:
    """Whether an operation writes into its first operand."""
    op = _name(node)
    return node.op == "call_function" and op.endswith("_") and not op.endswith("__") and bool(node.args)


def _is_view(node: Any) -> bool:
    return node.target is operator.getitem or (node.op == "call_function" and _name(node) in _VIEWS)


def _is_whole(node: Any, source: Any) -> bool:
    """Whether it is a range of a tensor that leaves nothing out."""
    shapes = [getattr(item.meta.get("val"), "shape", None) for item in (node, source)]
    reads_all = node.op == "call_function" and _name(node) in ("slice", "narrow", "alias", "detach")
    return reads_all and shapes[0] is not None and shapes[0] == shapes[1]


def _name(node: Any) -> str:
    return str(node.target).removeprefix("aten.").partition(".")[0]
