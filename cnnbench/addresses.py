"""Addresses and texts as they may be shown and kept: without the user, the password and the tokens in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"
TRACKING = "MLFLOW_TRACKING_URI"
SHORTEST = 8  # of a variable's secret: a shorter one may be a word that means something else
SHORTEST_OF_ADDRESS = 4

_ADDRESS = re.compile(r"://(?:(?!://)[^\s\"'<>`\\])+")
_SECRET_NAME = r"[\w.-]*(?:token|secret|passw|pwd|key|sig|auth|credential|session)[\w.-]*"  # noqa: S105 - a pattern
_QUERY = re.compile(rf"(?<=[?&;])({_SECRET_NAME})=[^&;#]*", re.IGNORECASE)
_FRAGMENT = re.compile(r"(?<=[#?&])((?:access_|id_|refresh_)?token)=[^&;#]*", re.IGNORECASE)
_SECRET_WORDS = frozenset({"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASS"})


def without_secrets(text: str, *addresses: str) -> str:
    """A text without the secrets of the addresses in it, and without those that this process was given.

    User and password of an address are cut out; the value of a parameter whose name speaks of a secret becomes
    ``***``, and so does, wherever it stands, the value of an environment variable called ``..._PASSWORD``,
    ``..._TOKEN`` or ``..._SECRET`` and the password of the tracking address.

    Args:
        text: What is to be shown or kept.
        addresses: Further ones, whose passwords stand in the text perhaps without the rest of their address.
    """
    if "://" in text:
        text = _ADDRESS.sub(lambda found: "://" + _cleaned(found[0][3:]), text)
    for secret in _secrets(addresses):
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def shown_address(address: str) -> str:
    """An address without user, password, query and fragment."""
    scheme, colon, rest = address.partition("://")
    if not colon:
        return address
    return f"{scheme}://{re.split('[?#]', _cleaned(rest), maxsplit=1)[0]}"


def _cleaned(rest: str) -> str:
    """What follows ``://``, without its user and with its secret parameters hidden."""
    start = len(rest) - len(_without_user(rest))
    place, hash_, fragment = rest[start:].partition("#")
    place = _QUERY.sub(rf"\1={HIDDEN}", place)
    return place + _FRAGMENT.sub(rf"\1={HIDDEN}", hash_ + fragment)


def _without_user(rest: str) -> str:
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in host:
        return host.rpartition("@")[2] + rest[len(host) :]
    port = host.partition(":")[2]
    if port and not port.isdigit() and not host.startswith("["):  # a password with a slash that should be %2F
        return rest.rpartition("@")[2]
    return rest


def _secrets(addresses: tuple[str, ...]) -> Iterator[str]:
    """Every secret that is known by its value, the longest first."""
    found: set[str] = set()
    for name, value in os.environ.items():
        named = _SECRET_WORDS.intersection(name.upper().split("_")) or name.upper().endswith("API_KEY")
        if named and len(value) >= SHORTEST and not value.startswith("/"):
            found.add(value)
    for address in (*addresses, os.environ.get(TRACKING, "")):
        found.update(secret for secret in _secrets_of(address) if len(secret) >= SHORTEST_OF_ADDRESS)
    yield from sorted(found, key=len, reverse=True)


def _secrets_of(address: str) -> Iterator[str]:
    """The password, or the user where there is none, and the values of secret parameters; as written and decoded."""
    rest = address.partition("://")[2]
    host = _without_user(rest)
    user = rest[: len(rest) - len(host)].removesuffix("@")
    raw = [user.partition(":")[2] or user, *(found[0].partition("=")[2] for found in _QUERY.finditer(host))]
    for value in raw:
        yield value
        yield unquote(value)
