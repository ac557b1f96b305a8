"""Older versions of ONNX's operators, put into the form of version 21 where that says the same in other words.

Operators whose versions differ in what they compute are told apart by their importers (``OnnxNode.version``).
``onnx.version_converter`` is not used: it loses meaning (the coordinates of Resize below opset 11, among others).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnbench.errors import SpecError
from cnnbench.spec.interchange.onnx_file import opset_of
from cnnbench.spec.interchange.onnx_state import Importing
from cnnbench.spec.interchange.onnx_tensor import Array
from cnnbench.spec.interchange.onnx_versions import version_at

TARGET = 21  # the operator set whose forms are made
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")

# Attributes that became inputs: the first version with inputs, and the position of each.
_INPUTS: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "Clip": (11, {"min": 1, "max": 2}),
    "Dropout": (12, {"ratio": 1}),
    "Pad": (11, {"pads": 1, "paddings": 1, "value": 2}),
    "ReduceSum": (13, {"axes": 1}),
    "Reshape": (5, {"shape": 1}),
    "Slice": (10, {"starts": 1, "ends": 2, "axes": 3}),
    "Split": (13, {"split": 1}),
    "Squeeze": (13, {"axes": 1}),
    "TopK": (10, {"k": 1}),
    "Unsqueeze": (13, {"axes": 1}),
    "Upsample": (9, {"scales": 1}),
    **{f"Reduce{name}": (18, {"axes": 1}) for name in _REDUCTIONS},
}


class OlderNode:
    """A node of an older version while it is put into another form.

    Args:
        proto: A copy of the ``onnx.NodeProto``, which is changed.
        importing: The import that it belongs to.
        version: The version of its operator.
    """

    def __init__(self, proto: Any, importing: Importing, version: int) -> None:
        from onnx import helper

        self.proto = proto
        self.importing = importing
        self.version = version
        self.attributes: dict[str, Any] = {item.name: helper.get_attribute_value(item) for item in proto.attribute}
        self.before: list[Any] = []
        self.after: list[Any] = []

    def give(self, position: int, array: Array, what: str) -> None:
        """Makes an array the input of a position. Args: what: a name for it."""
        while len(self.proto.input) <= position:
            self.proto.input.append("")
        self.proto.input[position] = self.importing.constant(f"{self.proto.output[0]}.{what}", array)

    def fresh(self, what: str) -> str:
        """A name for a tensor between the nodes of the new form."""
        return f"{self.proto.output[0]}.{what} "

    def static(self, position: int, what: str) -> Array:
        """An input that must be known."""
        tensor = self.importing.tensor(self.proto.input[position])
        if tensor is None or tensor.array is None:
            raise SpecError(f"{what} is not known when the model is imported", received=self.proto.input[position])
        return tensor.array

    def forms(self) -> list[Any]:
        """The nodes of the new form, in order."""
        from onnx import helper

        del self.proto.attribute[:]
        self.proto.attribute.extend(helper.make_attribute(*item) for item in self.attributes.items())
        return [*self.before, self.proto, *self.after]


Rule = Callable[[OlderNode], None]
_RULES: dict[str, list[tuple[int, Rule]]] = {}


def modern_forms(proto: Any, importing: Importing) -> list[Any] | None:
    """The nodes of version 21 that say what a node of an older version says; None where it may stay as it is.

    Args:
        proto: A node of ONNX's own domain.
        importing: The import that it belongs to.
    """
    version = version_at(proto.op_type, "", opset_of(proto, importing.file))
    if version is None:
        return None
    below, positions = _INPUTS.get(proto.op_type, (0, {}))
    rules = [rule for limit, rule in _RULES.get(proto.op_type, ()) if version < limit]
    if version >= below and not rules:
        return None
    copy = type(proto)()
    copy.CopyFrom(proto)
    node = OlderNode(copy, importing, version)
    for rule in rules:
        rule(node)
    if version < below:
        for name, position in positions.items():
            if name in node.attributes:
                value = np.asarray(node.attributes.pop(name))
                node.give(position, value.astype(np.float32 if value.dtype.kind == "f" else np.int64), name)
    return node.forms()


def _older(*operators: str, below: int) -> Callable[[Rule], Rule]:
    """A decorator: how operators of versions below one are put into the newer form."""

    def decorate(rule: Rule) -> Rule:
        for operator in operators:
            _RULES.setdefault(operator, []).append((below, rule))
        return rule

    return decorate


@_older("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less", below=7)
def _broadcast(node: OlderNode) -> None:
    """The second operand lay along the axes of the first from ``axis`` on; without ``axis``, along the last ones."""
    axis = node.attributes.pop("axis", None)
    if not node.attributes.pop("broadcast", 0) or axis is None:
        return
    first, second = (len(node.importing.shape(name)) for name in node.proto.input)
    missing = first - (axis + first if axis < 0 else axis) - second
    if missing < 0:
        raise SpecError("the operands do not fit", received=f"axis {axis}, ranks {first} and {second}")
    _unsqueeze(node, 1, tuple(range(second, second + missing)))


def _unsqueeze(node: OlderNode, position: int, axes: tuple[int, ...]) -> None:
    from onnx import helper

    if not axes:
        return
    raised = node.fresh("raised")
    names = [node.proto.input[position], node.importing.constant(raised, np.asarray(axes))]
    node.before.append(helper.make_node("Unsqueeze", names, [raised]))
    node.proto.input[position] = raised


@_older("Softmax", "LogSoftmax", "Hardmax", below=13)
def _over_a_matrix(node: OlderNode) -> None:
    """The axes from ``axis`` on were one: the value was a matrix. One of them at most may be other than 1 as it is."""
    from onnx import helper

    shape = node.importing.shape(node.proto.input[0])
    axis = node.attributes.get("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    counting = [i for i in range(axis, len(shape)) if shape[i] != 1]
    if axis < len(shape) and len(counting) < 2:
        node.attributes["axis"] = counting[0] if counting else axis
        return
    names = {what: node.fresh(what) for what in ("shape", "flat", "result")}
    node.before.append(helper.make_node("Shape", [node.proto.input[0]], [names["shape"]]))
    node.before.append(helper.make_node("Flatten", [node.proto.input[0]], [names["flat"]], axis=axis))
    node.after.append(helper.make_node("Reshape", [names["result"], names["shape"]], [node.proto.output[0]]))
    node.proto.input[0], node.proto.output[0] = names["flat"], names["result"]
    node.attributes["axis"] = 1


@_older("Cast", below=6)
def _named_type(node: OlderNode) -> None:
    from onnx import TensorProto

    node.attributes["to"] = TensorProto.DataType.Value(node.attributes["to"].decode().upper())


@_older("Concat", below=4)
def _first_axis(node: OlderNode) -> None:
    node.attributes.setdefault("axis", 1)


@_older("Dropout", below=10)
def _mask_of_floats(node: OlderNode) -> None:
    """The mask was of the data's type. Below 7, ``is_test`` said whether values are left out."""
    from onnx import TensorProto, helper

    if node.version < 7 and not node.attributes.pop("is_test", 0):
        node.give(2, np.asarray(True), "training")
    if len(node.proto.output) > 1 and node.proto.output[1]:
        mask = node.fresh("mask")
        node.after.append(helper.make_node("Cast", [mask], [node.proto.output[1]], to=TensorProto.FLOAT))
        node.proto.output[1] = mask


@_older("RoiAlign", below=16)
def _corner_coordinates(node: OlderNode) -> None:
    node.attributes["coordinate_transformation_mode"] = "output_half_pixel"


@_older("Selu", below=6)
def _shorter_constants(node: OlderNode) -> None:
    node.attributes.setdefault("alpha", 1.6732)
    node.attributes.setdefault("gamma", 1.0507)


@_older("Tile", below=6)
def _along_one_axis(node: OlderNode) -> None:
    tiles, axis = (int(node.static(i, what).reshape(())) for i, what in ((1, "the number of tiles"), (2, "the axis")))
    repeats = np.ones(len(node.importing.shape(node.proto.input[0])), np.int64)
    repeats[axis] = tiles
    del node.proto.input[1:]
    node.give(1, repeats, "repeats")


@_older("Upsample", below=7)
def _of_images(node: OlderNode) -> None:
    height, width = (node.attributes.pop(name) for name in ("height_scale", "width_scale"))
    node.attributes["scales"] = [1.0, 1.0, height, width]
    if node.attributes.get("mode") == b"bilinear":
        node.attributes["mode"] = b"linear"
