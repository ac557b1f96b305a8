"""``-k``: words joined by ``and``, ``or``, ``not`` and parentheses, matched against a cell's id as pytest does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from cnnbench.errors import SuiteError

_TOKEN = re.compile(r"\s*(?:(\(|\))|([^\s()]+))")

Predicate = Callable[[str], bool]
_Reader = Callable[[list[str], str], tuple[Predicate, list[str]]]


def compile_expression(text: str) -> Predicate:
    """A predicate on cell ids: a word matches where it is a part of the id, whatever the case.

    >>> compile_expression("torch and not b8")("resnet18-torch-eager-b1")
    True

    Raises:
        SuiteError: The expression does not parse.
    """
    tokens = [match.group(1) or match.group(2) for match in _TOKEN.finditer(text.strip())]
    if not tokens:
        raise SuiteError("the expression is empty", where="-k")
    try:
        predicate, rest = _either(tokens, text)
        predicate("")
    except RecursionError:
        expected = "fewer parentheses and 'not' within each other"
        raise SuiteError("the expression is nested too deeply", where="-k", expected=expected) from None
    if rest:
        raise _malformed(text, rest[0])
    return predicate


def _malformed(text: str, token: str | None) -> SuiteError:
    return SuiteError(
        f"the expression cannot be understood at {token!r}" if token else "the expression ends too early",
        where="-k",
        received=text,
        expected="words joined by and, or, not and parentheses, such as 'resnet50 and not (jax or b8)'",
    )


def _either(tokens: list[str], text: str) -> tuple[Predicate, list[str]]:
    return _joined("or", any, _both, tokens, text)


def _both(tokens: list[str], text: str) -> tuple[Predicate, list[str]]:
    return _joined("and", all, _one, tokens, text)


def _joined(
    word: str, combine: Callable[[Iterable[bool]], bool], read: _Reader, tokens: list[str], text: str
) -> tuple[Predicate, list[str]]:
    """As many parts as ``word`` joins, side by side: thousands of them nest no calls."""
    first, tokens = read(tokens, text)
    parts = [first]
    while tokens and tokens[0].lower() == word:
        part, tokens = read(tokens[1:], text)
        parts.append(part)
    return (lambda identifier: combine(part(identifier) for part in parts)) if parts[1:] else first, tokens


def _one(tokens: list[str], text: str) -> tuple[Predicate, list[str]]:
    if not tokens:
        raise _malformed(text, None)
    token, rest = tokens[0], tokens[1:]
    if token.lower() == "not":
        inner, rest = _one(rest, text)
        return (lambda identifier: not inner(identifier)), rest
    if token == "(":  # noqa: S105 - a parenthesis, not a password
        inner, rest = _either(rest, text)
        if not rest or rest[0] != ")":
            raise _malformed(text, rest[0] if rest else None)
        return inner, rest[1:]
    if token == ")" or token.lower() in ("and", "or"):  # noqa: S105
        raise _malformed(text, token)
    word = token.lower()
    return (lambda identifier: word in identifier.lower()), rest
