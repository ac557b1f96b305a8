"""``-k``: words joined by ``and``, ``or``, ``not`` and parentheses, matched against a cell's id as pytest does."""

from __future__ import annotations

import re
from collections.abc import Callable

from cnnbench.errors import SuiteError

_TOKEN = re.compile(r"\s*(?:(\(|\))|([^\s()]+))")

Predicate = Callable[[str], bool]


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
    predicate, rest = _either(tokens, text)
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
    left, tokens = _both(tokens, text)
    while tokens and tokens[0].lower() == "or":
        right, tokens = _both(tokens[1:], text)
        left = _join(left, right, any)
    return left, tokens


def _both(tokens: list[str], text: str) -> tuple[Predicate, list[str]]:
    left, tokens = _one(tokens, text)
    while tokens and tokens[0].lower() == "and":
        right, tokens = _one(tokens[1:], text)
        left = _join(left, right, all)
    return left, tokens


def _join(left: Predicate, right: Predicate, combine: Callable[[tuple[bool, bool]], bool]) -> Predicate:
    return lambda identifier: combine((left(identifier), right(identifier)))


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
