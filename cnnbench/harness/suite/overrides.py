"""``--set path=value``: changes plain data before it is validated."""

from __future__ import annotations

from typing import Any, NamedTuple

from cnnbench.errors import SuiteError
from cnnbench.spec.interchange.yaml_source import read_yaml_text


class Override(NamedTuple):
    """One change.

    Args:
        text: As it was given. path: keys and list indices from the top. value: plain data.
    """

    text: str
    path: tuple[str, ...]
    value: Any

    def reaches(self, path: tuple[str | int, ...]) -> bool:
        """Whether this change wrote what stands at ``path``; list indices that it left out match any."""
        left = list(path)
        for part in self.path:
            while left and isinstance(left[0], int) and str(left[0]) != part:
                left.pop(0)
            if not left or str(left.pop(0)) != part:
                return False
        return True


def parse(text: str) -> Override:
    """The change that ``path=value`` asks for; the value is YAML (``[1, 8]``, ``null``, ``0.1``, ``{kind: sgd}``).

    Raises:
        SuiteError: No ``=``, an empty path, or a value that is not YAML.
    """
    path, equals, value = text.partition("=")
    parts = tuple(path.strip().split("."))
    if not equals or not all(parts):
        raise SuiteError(
            "the override cannot be understood",
            where=f"--set {text}",
            expected="path=value, such as measure.latency.rounds=3",
        )
    if not value.strip():
        return Override(text, parts, "")
    return Override(text, parts, read_yaml_text(value, f"--set {text}").data)


def apply(data: Any, override: Override) -> Any:
    """The data with the change made; mappings that do not exist yet are made.

    In a list, a number picks one item, and any other part of the path applies to every item.

    Raises:
        SuiteError: The path leads through a plain value, or to a list's item that is not there.
    """
    return _set(data, override.path, override)


def _set(data: Any, path: tuple[str, ...], override: Override) -> Any:
    if not path:
        return override.value
    part, rest = path[0], path[1:]
    if isinstance(data, list):
        if not part.isdecimal():
            return [_set(item, path, override) for item in data]
        if int(part) >= len(data):
            raise SuiteError(f"the list has {len(data)} items only", where=f"--set {override.text}", received=part)
        return [_set(item, rest, override) if i == int(part) else item for i, item in enumerate(data)]
    if isinstance(data, dict) or data is None:
        known = dict(data or {})
        return known | {part: _set(known.get(part), rest, override)}
    raise SuiteError(f"{part!r} is looked for in a plain value", where=f"--set {override.text}", received=repr(data))
