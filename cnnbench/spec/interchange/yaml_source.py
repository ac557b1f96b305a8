"""Strict YAML 1.2 as plain data that knows where each key and value stands; suites and networks are read with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cnnbench.errors import CnnbenchError, SuiteError
from cnnbench.spec.interchange.yaml_scalars import Scalar, resolve_scalar

LARGEST_BYTES = 2**20
LARGEST_DEPTH = 50
MOST_NODES = 100_000  # aliases counted as what they stand for
MOST_ALIASES = 1_000

KeyPath = Sequence[str | int]


class Position(NamedTuple):
    """A place in a text, both counted from 1."""

    line: int
    column: int


@dataclass(eq=False)
class _Item:
    """A value with its place; a mapping has ``keys`` beside ``children``, a list has children only."""

    position: Position
    scalar: Scalar = None
    keys: dict[str, Position] | None = None
    children: dict[str | int, _Item] = field(default_factory=dict)
    is_list: bool = False
    size: int = 1
    height: int = 1


@dataclass(frozen=True)
class Located:
    """Plain data that was read from YAML, and the place of every part of it.

    Args:
        data: Mappings as dicts with string keys, sequences as lists, scalars by the YAML 1.2 core schema.
        name: The file's name, for messages.
    """

    data: Any
    name: str
    _root: _Item = field(repr=False)

    def position(self, path: KeyPath, key: bool = True) -> Position:
        """Where the part at ``path`` (keys and list indices from the top) stands.

        Args:
            path: For example ``("matrix", "backends", 0)``. Where a part of it is not in the text, the nearest
                enclosing part that is counts.
            key: The place of a mapping's key; else that of its value.
        """
        item, place = self._root, self._root.position
        for part in path:
            child = item.children.get(part)
            if child is None:
                break
            place = item.keys[str(part)] if key and item.keys is not None else child.position
            item = child
        return place

    def where(self, path: KeyPath = (), key: bool = True) -> str:
        """``file:line:column`` of ``position(path, key)``."""
        return f"{self.name}:{self.position(path, key).line}:{self.position(path, key).column}"


def read_yaml(path: Path, *, error: type[CnnbenchError] = SuiteError) -> Located:
    """The one document in a YAML file.

    Args:
        path: A UTF-8 file of at most 1 MiB.
        error: The class of what is raised.

    Raises:
        error: No such file, not UTF-8, not YAML 1.2, a key used twice or not a string, a tag, or too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise error(f"the file cannot be read: {reason}", where=str(path)) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"the file is not UTF-8 text: {problem.reason} at byte {problem.start}", where=str(path)) from None
    return read_yaml_text(text, str(path), error=error)


def read_yaml_text(text: str, name: str = "<text>", *, error: type[CnnbenchError] = SuiteError) -> Located:
    """As ``read_yaml``. Args: text: the document; name: what messages call it; error: the class of what is raised."""
    if len(text) > LARGEST_BYTES:
        raise error("the text is too large", where=name, expected=f"at most {LARGEST_BYTES} bytes")
    root = _Reader(name, error).read(text)
    return Located(_plain(root), name, root)


def _plain(item: _Item) -> Any:
    """Fresh data for an item, so that what an alias stands for is not shared."""
    if item.keys is not None:
        return {key: _plain(child) for key, child in item.children.items()}
    if item.is_list:
        return [_plain(child) for child in item.children.values()]
    return item.scalar


class _Reader:
    """Builds items from parser events; keeps the limits before anything grows."""

    def __init__(self, name: str, error: type[CnnbenchError]) -> None:
        self.name = name
        self.error = error
        self.anchors: dict[str, _Item] = {}
        self.nodes = 0
        self.aliases = 0

    def read(self, text: str) -> _Item:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        events = YAML(typ="safe", pure=True).parse(text)
        try:
            return self._document(events)
        except MarkedYAMLError as problem:
            mark = problem.problem_mark or problem.context_mark
            where = f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else self.name
            reason = " ".join(filter(None, (problem.context, problem.problem)))
            raise self.error(f"not valid YAML: {reason}", where=where) from None
        except YAMLError as problem:
            reason = str(problem).splitlines()[0]
            raise self.error(f"not valid YAML: {reason}", where=self.name) from None

    def _document(self, events: Iterator[Any]) -> _Item:
        from ruamel.yaml.events import DocumentStartEvent, StreamEndEvent

        next(events)
        start = next(events)
        if isinstance(start, StreamEndEvent):
            raise self.error("the file is empty", where=self.name)
        if start.version is not None and tuple(start.version) != (1, 2):
            version = ".".join(map(str, start.version))
            raise self._problem(start, "the YAML version is not supported", received=version, expected="1.2")
        root = self._item(next(events), events, 1)
        next(events)
        end = next(events)
        if isinstance(end, DocumentStartEvent):
            raise self._problem(end, "there is a second document", expected="one document in a file")
        return root

    def _item(self, event: Any, events: Iterator[Any], depth: int) -> _Item:
        from ruamel.yaml.events import AliasEvent, MappingStartEvent, SequenceStartEvent

        if isinstance(event, AliasEvent):
            return self._alias(event, depth)
        if depth > LARGEST_DEPTH:
            raise self._problem(event, f"nested deeper than {LARGEST_DEPTH} levels")
        self._count(event, 1)
        if isinstance(event, MappingStartEvent):
            item = self._mapping(event, events, depth)
        elif isinstance(event, SequenceStartEvent):
            item = self._sequence(event, events, depth)
        else:
            item = _Item(_position(event), self._scalar(event))
        if event.anchor is not None:
            self.anchors[event.anchor] = item
        item.size += sum(child.size for child in item.children.values())
        item.height += max((child.height for child in item.children.values()), default=0)
        return item

    def _mapping(self, event: Any, events: Iterator[Any], depth: int) -> _Item:
        from ruamel.yaml.events import MappingEndEvent

        self._check_tag(event, "map")
        keys: dict[str, Position] = {}
        item = _Item(_position(event), keys=keys)
        for following in events:
            if isinstance(following, MappingEndEvent):
                break
            key = self._key(following)
            if key in keys:
                first = keys[key]
                raise self._problem(
                    following, f"the key {key!r} is used twice", received=f"first at line {first.line}", expected="once"
                )
            keys[key] = _position(following)
            item.children[key] = self._item(next(events), events, depth + 1)
        return item

    def _sequence(self, event: Any, events: Iterator[Any], depth: int) -> _Item:
        from ruamel.yaml.events import SequenceEndEvent

        self._check_tag(event, "seq")
        item = _Item(_position(event), is_list=True)
        for index, following in enumerate(events):
            if isinstance(following, SequenceEndEvent):
                break
            item.children[index] = self._item(following, events, depth + 1)
        return item

    def _alias(self, event: Any, depth: int) -> _Item:
        target = self.anchors.get(event.anchor)
        if target is None:
            raise self._problem(event, f"the alias *{event.anchor} has no complete anchor before it")
        self.aliases += 1
        if self.aliases > MOST_ALIASES:
            raise self._problem(event, f"more than {MOST_ALIASES} aliases")
        if depth + target.height - 1 > LARGEST_DEPTH:
            raise self._problem(event, f"nested deeper than {LARGEST_DEPTH} levels")
        self._count(event, target.size)
        return target

    def _key(self, event: Any) -> str:
        from ruamel.yaml.events import ScalarEvent

        if not isinstance(event, ScalarEvent):
            raise self._problem(event, "a key is not plain text", expected="a string")
        if event.value == "<<" and event.style is None:
            raise self._problem(event, "merge keys (<<) are not YAML 1.2", remedy="repeat the keys, or use an alias")
        key = self._scalar(event)
        if not isinstance(key, str):
            raise self._problem(event, "a key is not a string", received=event.value, remedy="quote it")
        return key

    def _scalar(self, event: Any) -> Scalar:
        text: str = event.value
        self._check_tag(event, "str")
        if event.style is not None or event.tag is not None:
            return text
        try:
            return resolve_scalar(text)
        except ValueError as problem:
            raise self._problem(event, str(problem)) from None

    def _check_tag(self, event: Any, expected: str) -> None:
        if event.tag not in (None, "!", f"tag:yaml.org,2002:{expected}"):
            raise self._problem(event, "the tag is not known", received=event.tag, remedy="leave it out")

    def _count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            raise self._problem(event, f"more than {MOST_NODES} values, with aliases replaced by what they stand for")

    def _problem(self, event: Any, message: str, **details: Any) -> CnnbenchError:
        line, column = _position(event)
        return self.error(message, where=f"{self.name}:{line}:{column}", **details)


def _position(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)
