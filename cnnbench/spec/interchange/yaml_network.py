"""A user's network in YAML as a graph, with errors that name the file, the line and the column."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from cnnbench.errors import CnnbenchError, FieldError, SpecError, did_you_mean
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.interchange.yaml_source import Located, read_yaml, read_yaml_text
from cnnbench.spec.kinds import layer_from_fields, layer_kind

_TOP = ("name", "input", "inputs", "nodes", "outputs")
_INPUT = ("name", "shape", "dtype", "batched")
_NODE = ("name", "kind", "inputs", "weights_of")
_DTYPES: tuple[Literal["float", "int"], ...] = ("float", "int")

_T = TypeVar("_T")
_KeyPath = tuple[str | int, ...]


def load_network(path: Path) -> Graph:
    """The graph that a YAML file describes.

    ``input`` is the shape (C, H, W) of one image, or ``inputs`` lists ``{name, shape}``; ``nodes`` lists
    ``{name, kind, inputs, ...fields}``, the previous node (at first the first input) being the default input, and
    maybe ``weights_of``, an earlier node whose weights the node uses; and ``outputs`` maps output names to values,
    ``logits`` of the last node by default.

    Raises:
        SpecError: Where the file is not strict YAML 1.2 or not a network: with line, column and the nearest name.
    """
    return _Reader(read_yaml(path, error=SpecError)).graph(default_name=path.stem)


def network_from_text(text: str, name: str = "<text>") -> Graph:
    """As ``load_network``, from a text; ``name`` stands for the file in messages."""
    return _Reader(read_yaml_text(text, name, error=SpecError)).graph(default_name="network")


class _Reader:
    """Walks the data of one file and knows where each part of it stands."""

    def __init__(self, source: Located) -> None:
        self.source = source

    def graph(self, *, default_name: str) -> Graph:
        top = self._mapping(self.source.data, (), _TOP)
        builder = Builder(self._text(top.get("name", default_name), ("name",)))
        previous = self._inputs(builder, top)
        nodes = self._list(top.get("nodes"), ("nodes",))
        for index, item in enumerate(nodes):
            previous = self._node(builder, item, ("nodes", index), previous)
        outputs = self._outputs(builder, top, previous)
        return self._located((), lambda: builder.build(outputs))

    def _inputs(self, builder: Builder, top: Mapping[str, Any]) -> Value:
        if ("input" in top) == ("inputs" in top):
            raise self._problem((), "a network has either 'input' or 'inputs'", expected="input: [C, H, W]")
        if "input" in top:
            shape = self._shape(top["input"], ("input",))
            return self._located(("input",), lambda: builder.input("image", shape))
        values = []
        for index, item in enumerate(self._list(top["inputs"], ("inputs",))):
            path: _KeyPath = ("inputs", index)
            fields = self._mapping(item, path, _INPUT, required=("name", "shape"))
            name = self._text(fields["name"], (*path, "name"))
            shape = self._shape(fields["shape"], (*path, "shape"))
            dtype, batched = fields.get("dtype", "float"), fields.get("batched", True)
            if dtype not in _DTYPES:
                raise self._problem(
                    (*path, "dtype"), "dtype is not valid", received=repr(dtype), expected="float or int"
                )
            if not isinstance(batched, bool):
                raise self._problem(
                    (*path, "batched"), "batched is not valid", received=repr(batched), expected="true or false"
                )
            add = partial(builder.input, name, shape, dtype=dtype, batched=batched)
            values.append(self._located(path, add))
        return values[0]

    def _node(self, builder: Builder, item: Any, path: _KeyPath, previous: Value) -> Value:
        if not isinstance(item, dict):
            raise self._problem(path, "a node is not a mapping", received=repr(item), expected="name, kind and fields")
        for key in ("name", "kind"):
            if key not in item:
                raise self._problem(
                    path, f"a node lacks {key!r}", received=", ".join(item), expected="name, kind and fields"
                )
        name = self._text(item["name"], (*path, "name"))
        kind = self._text(item["kind"], (*path, "kind"))
        cls = self._located((*path, "kind"), partial(layer_kind, kind), key=False)
        known = [field.name for field in dataclasses.fields(cls)]
        self._check_keys(item, path, (*_NODE, *known), f"{kind} has no field")
        inputs = [previous.name]
        if "inputs" in item:
            inputs = [
                self._value(builder, value, place).name
                for value, place in self._one_or_more(item["inputs"], (*path, "inputs"))
            ]
        owner = self._text(item["weights_of"], (*path, "weights_of")) if "weights_of" in item else None
        fields = {key: value for key, value in item.items() if key not in _NODE}
        return self._located(
            path,
            lambda: builder.add(name, layer_from_fields(kind, fields), *inputs, weights_of=owner),
            lambda error: (*path, error.field) if isinstance(error, FieldError) and error.field in item else path,
        )

    def _outputs(self, builder: Builder, top: Mapping[str, Any], last: Value) -> dict[str, Value]:
        if "outputs" not in top:
            return {"logits": last}
        path: _KeyPath = ("outputs",)
        given = top["outputs"]
        if isinstance(given, dict):
            return {name: self._value(builder, value, (*path, name)) for name, value in given.items()}
        named = [(self._value(builder, value, place)) for value, place in self._one_or_more(given, path)]
        return {value.name: value for value in named}

    def _value(self, builder: Builder, name: Any, path: _KeyPath) -> Value:
        text = self._text(name, path)
        return self._located(path, lambda: builder.value(text), key=False)

    def _one_or_more(self, given: Any, path: _KeyPath) -> list[tuple[Any, _KeyPath]]:
        if isinstance(given, list) and given:
            return [(item, (*path, index)) for index, item in enumerate(given)]
        if isinstance(given, str):
            return [(given, path)]
        raise self._problem(
            path, f"{path[-1]} is not valid", received=repr(given), expected="a name or a list of names"
        )

    def _shape(self, given: Any, path: _KeyPath) -> tuple[int, ...]:
        sizes = given if isinstance(given, list) else []
        if not sizes or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
            raise self._problem(
                path, "the shape is not valid", received=repr(given), expected="integers of at least 1 as [C, H, W]"
            )
        return tuple(sizes)

    def _list(self, given: Any, path: _KeyPath) -> Sequence[Any]:
        if not isinstance(given, list) or not given:
            raise self._problem(path, f"{path[-1]!r} is not a list with items", received=repr(given), expected="a list")
        return given

    def _text(self, given: Any, path: _KeyPath) -> str:
        if not isinstance(given, str):
            raise self._problem(path, f"{path[-1]} is not a string", received=repr(given), remedy="quote it")
        return given

    def _mapping(
        self, given: Any, path: _KeyPath, known: Sequence[str], *, required: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        if not isinstance(given, dict):
            raise self._problem(path, "not a mapping", received=repr(given), expected=", ".join(known))
        self._check_keys(given, path, known, "unknown key")
        for key in required:
            if key not in given:
                raise self._problem(path, f"the key {key!r} is missing", received=", ".join(given))
        return given

    def _check_keys(self, given: Mapping[str, Any], path: _KeyPath, known: Sequence[str], message: str) -> None:
        for key in given:
            if key not in known:
                raise self._problem((*path, key), f"{message} {key!r}", key=True, remedy=did_you_mean(key, known))

    def _located(
        self,
        path: _KeyPath,
        make: Callable[[], _T],
        culprit: Callable[[CnnbenchError], _KeyPath] | None = None,
        *,
        key: bool = True,
    ) -> _T:
        """What ``make`` returns; its error gets the place of ``path``, or of what ``culprit`` finds."""
        try:
            return make()
        except SpecError as error:
            raise error.at(self.source.where(culprit(error) if culprit else path, key)) from None

    def _problem(self, path: _KeyPath, message: str, *, key: bool = False, **details: Any) -> SpecError:
        return SpecError(message, where=self.source.where(path, key), **details)
