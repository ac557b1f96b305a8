"""Importer of Einsum: diagonals, sums, transpositions and matrix products."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.onnx_batch import is_open
from cnnbench.spec.interchange.onnx_node import OnnxNode, importer
from cnnbench.spec.interchange.onnx_shape import reshaped
from cnnbench.spec.layers.indexing import Gather
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.reduction import Reduce
from cnnbench.spec.layers.shape import Squeeze, Transpose

_LABELS = r"[A-Za-z]*(?:\.\.\.)?[A-Za-z]*"
_FORM = re.compile(f"{_LABELS}(?:,{_LABELS})*(?:->{_LABELS})?")


class _Term(NamedTuple):
    """A value and a label for each of its axes: a letter, or a number for an axis of an ellipsis."""

    value: Value
    labels: tuple[str, ...]

    def size(self, labels: Collection[str]) -> int:
        """How many elements its axes of some labels have."""
        total = 1
        for label, size in zip(self.labels, self.value.shape, strict=True):
            if label in labels:
                total = total * size
        return total

    def shape(self, labels: Sequence[str]) -> tuple[int, ...]:
        """The sizes of some labels."""
        return tuple(self.value.shape[self.labels.index(label)] for label in labels)


@importer("Einsum")
def einsum(node: OnnxNode) -> Value:
    """Einsum: operands are multiplied from left to right, each label summed as soon as nothing else has it."""
    equation = str(node.attribute("equation", "")).replace(" ", "")
    if not _FORM.fullmatch(equation):
        raise node.reject("the equation is not valid", received=equation, expected="labels such as bhqd,bhkd->bhqk")
    left, arrow, right = equation.partition("->")
    texts = left.split(",")
    if len(texts) != len(node.inputs):
        raise node.reject(
            "the equation does not fit the inputs", received=f"{equation} of {len(node.inputs)}", expected=len(texts)
        )
    terms = [_diagonals(node, _labelled(node, node.value(i), text)) for i, text in enumerate(texts)]
    if arrow:
        wanted = _expanded(right, _ellipsis(terms))
    else:
        counted = [label for label in left if label.isalpha()]
        wanted = (*_ellipsis(terms), *sorted(label for label in set(counted) if counted.count(label) == 1))
    unknown = [label for label in wanted if not any(label in term.labels for term in terms)]
    if unknown or len(set(wanted)) != len(wanted):
        raise node.reject("the equation is not valid", received=equation, expected="labels of the operands, each once")
    total = terms[0]
    for i, term in enumerate(terms[1:], 1):
        later = {*wanted, *(label for other in terms[i + 1 :] for label in other.labels)}
        total = _product(node, total, term, later)
    return _arranged(node, _summed(node, total, wanted), wanted).value


def _labelled(node: OnnxNode, x: Value, text: str) -> _Term:
    """A value with the labels of its part of the equation; an ellipsis stands for the axes that are left."""
    free = len(x.shape) - len(text.replace("...", ""))
    if free < 0 or (free and "..." not in text):
        raise node.reject("the equation does not fit an input", received=f"{text!r} for {x.shape}")
    numbers = tuple(str(i) for i in range(-free, 0))  # counted from the last, as broadcasting aligns them
    return _Term(x, _expanded(text, numbers))


def _expanded(text: str, ellipsis: Sequence[str]) -> tuple[str, ...]:
    """The labels of a part of the equation, one for each axis."""
    before, dots, after = text.partition("...")
    return (*before, *(ellipsis if dots else ()), *after)


def _ellipsis(terms: Sequence[_Term]) -> tuple[str, ...]:
    """The labels of the longest ellipsis."""
    found = {label for term in terms for label in term.labels if not label.isalpha()}
    return tuple(sorted(found, key=int))


def _diagonals(node: OnnxNode, term: _Term) -> _Term:
    """Of axes that have one label, the elements whose positions on them are equal."""
    for label in dict.fromkeys(term.labels):
        while term.labels.count(label) > 1:
            first = term.labels.index(label)
            second = term.labels.index(label, first + 1)
            others = [axis for axis in range(len(term.labels)) if axis not in (first, second)]
            x = node.add(Transpose(permutation=(*others, first, second)), term.value, part="diagonal_last")
            size = x.shape[-1]
            if is_open(size) or size != x.shape[-2]:
                raise node.reject("a diagonal is not square", received=x.shape[-2:], expected="two equal, fixed sizes")
            flat = reshaped(node, x, (*x.shape[:-2], size * size), "squares")
            taken = Gather(indices=tuple(i * (size + 1) for i in range(size)), axis=-1)
            labels = (*(term.labels[axis] for axis in others), label)
            term = _Term(node.add(taken, flat, part="diagonal"), labels)
    return term


def _summed(node: OnnxNode, term: _Term, kept: Collection[str]) -> _Term:
    """The sum over the axes whose labels are not kept."""
    axes = tuple(axis for axis, label in enumerate(term.labels) if label not in kept)
    if not axes:
        return term
    value = node.add(Reduce(function="sum", axes=axes, keepdims=False), term.value, part="sum")
    return _Term(value, tuple(label for label in term.labels if label in kept))


def _arranged(node: OnnxNode, term: _Term, labels: Sequence[str]) -> _Term:
    """The axes in the order of ``labels``."""
    order = tuple(term.labels.index(label) for label in labels)
    if order == tuple(range(len(order))):
        return term
    return _Term(node.add(Transpose(permutation=order), term.value, part="arranged"), tuple(labels))


def _product(node: OnnxNode, a: _Term, b: _Term, later: Collection[str]) -> _Term:
    """The product of two terms, summed over the labels of both that nothing else has.

    Args:
        node: Where the layers belong.
        a: The left one.
        b: The right one.
        later: The labels that the result or another operand has.
    """
    a, b = _summed(node, a, {*b.labels, *later}), _summed(node, b, {*a.labels, *later})
    if any(map(is_open, b.shape([label for label in b.labels if label not in a.labels]))):
        a, b = b, a  # what only the second has becomes one axis, whose size must be fixed
    shared = [label for label in a.labels if label in b.labels]
    batch = [label for label in shared if label in later]
    inner = [label for label in shared if label not in later]
    rows = [label for label in a.labels if label not in b.labels]
    columns = [label for label in b.labels if label not in a.labels]
    size, sizes = a.size(inner), b.shape(columns)
    left = _arranged(node, a, (*batch, *rows, *inner))
    right = _arranged(node, b, (*batch, *inner, *columns))
    x = _reshaped(node, left.value, (*left.shape((*batch, *rows)), *(() if rows else (1,)), size), "left")
    ones = (1,) * (len(rows) - 1)
    y = _reshaped(node, right.value, (*right.shape(batch), *ones, size, b.size(columns)), "right")
    product = node.add(MatMul(), x, y, part="product")
    if not rows:
        product = node.add(Squeeze(axes=(len(batch),)), product, part="vector")
    target = (*product.shape[:-1], *sizes)
    return _Term(_reshaped(node, product, target, "columns"), (*batch, *rows, *columns))


def _reshaped(node: OnnxNode, x: Value, target: tuple[int, ...], part: str) -> Value:
    """``x`` in another shape, where it is another one."""
    return x if target == x.shape else reshaped(node, x, target, part)
