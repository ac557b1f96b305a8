"""What every message between parent and worker has in common, and the lines in which messages travel.

A request is the line ``{"number": 7, "method": "sample", "parameters": {...}}``. It is answered by any number of lines
``{"number": 7, "event": {...}}`` and then by ``{"number": 7, "result": {...}}`` or ``{"number": 7, "error": {...}}``.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from cnnbench.errors import CnnbenchError, UnavailableError
from cnnbench.harness.worker.errors import OutOfMemoryError, PluginFailedError, ProtocolError, RequestFailedError
from cnnbench.harness.worker.plain_text import plain_text
from cnnbench.spec.frozen import Frozen

LONGEST_LINE_BYTES = 64 * 2**20
SHOWN_CHARACTERS = 120

Text = Annotated[str, BeforeValidator(lambda value: plain_text(value) if isinstance(value, str) else value)]
"""Text that frameworks and users' code wrote; characters that are unfit for files and terminals are replaced."""
AnyFloat = Annotated[float, Field(allow_inf_nan=True)]
"""A number that may be infinite or not a number, such as a loss."""


class Message(Frozen):
    """A frozen value of exactly its declared fields and types; its numbers are finite unless it says otherwise."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, ser_json_inf_nan="constants")


ReplyT = TypeVar("ReplyT", bound=Message)


class Request(Message, Generic[ReplyT]):
    """What the parent asks of a worker.

    Class attributes:
        method: Its name in the line.
        reply: The type of the answer, taken from the base class: ``class SampleRequest(Request[SampleReply])``.
    """

    method: ClassVar[str] = ""
    reply: ClassVar[type[Message]] = Message

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for base in cls.__bases__:
            arguments = getattr(base, "__pydantic_generic_metadata__", {}).get("args", ())
            if arguments:
                cls.reply = arguments[0]


class ReportedError(Message):
    """An exception in the worker.

    Args:
        kind: The exception's class.
        message: What it says.
        out_of_memory: Whether memory was lacking.
        unavailable: Whether the backend cannot do it here, which is no failure.
        culprit: Whose code raised it, where that is a plugin's.
    """

    kind: Text
    message: Text
    out_of_memory: bool
    unavailable: bool
    culprit: Text | None = None

    def as_error(self, method: str) -> CnnbenchError:
        """The error to raise for it in the parent. Args: method: of the request that it answers."""
        if self.unavailable:
            return UnavailableError(self.message)
        if self.culprit is not None and not self.out_of_memory:
            return PluginFailedError(f"during {method!r}: {self.culprit}")
        kind = OutOfMemoryError if self.out_of_memory else RequestFailedError
        return kind(f"{self.kind} during {method!r}: {self.message}")


Content = TypeVar("Content")


class _RequestLine(Message, Generic[Content]):
    number: int
    method: str
    parameters: Content


class _ResultLine(Message, Generic[Content]):
    number: int
    result: Content


class _EventLine(Message, Generic[Content]):
    number: int
    event: Content


class _ErrorLine(Message):
    number: int
    error: ReportedError


_LINES: dict[str, Any] = {"parameters": _RequestLine, "result": _ResultLine, "event": _EventLine}


class Head(NamedTuple):
    """What a line says before its content is read: its number, and its keys with their unchecked values."""

    number: int
    data: dict[str, Any]


def encode(number: int, key: str, message: Message, method: str | None = None) -> bytes:
    """A line.

    Args:
        number: Of the request.
        key: ``parameters``, ``result``, ``event`` or ``error``.
        message: The content.
        method: Of a request.

    Raises:
        ProtocolError: It is longer than ``LONGEST_LINE_BYTES``.
    """
    named = f'"method":{json.dumps(method)},' if method is not None else ""
    line = f'{{"number":{number},{named}"{key}":{message.model_dump_json()}}}\n'.encode()
    if len(line) > LONGEST_LINE_BYTES:
        raise ProtocolError(
            f"a message is too long: {type(message).__name__}",
            received=f"{len(line)} bytes",
            expected=f"at most {LONGEST_LINE_BYTES}",
        )
    return line


def read_head(line: bytes, what: str) -> Head:
    """The number of a line and its unchecked content.

    Args:
        line: As it came.
        what: What it should be, for messages: ``the reply to 'sample'``.

    Raises:
        ProtocolError: It is no JSON object with a number.
    """
    try:
        data = from_json(line)
    except ValueError as error:
        raise ProtocolError(f"{what} is not JSON", received=_shown(line), expected=str(error)) from None
    if not isinstance(data, dict):
        raise ProtocolError(f"{what} is not valid", received=_shown(line), expected="an object")
    number = data.get("number")
    if not isinstance(number, int) or isinstance(number, bool):
        raise ProtocolError(f"{what} has no number", received=repr(number), expected="an integer")
    return Head(number, data)


def read_content(line: bytes, key: str, content: Any, what: str) -> Any:
    """The validated content of a line.

    Args:
        line: As it came.
        key: Where the content is: ``parameters``, ``result`` or ``event``.
        content: Its type.
        what: What it should be, for messages.

    Raises:
        ProtocolError: It is not valid; the message names the field.
    """
    return getattr(_validated(line, _line_of(key, content), what), key)


def read_error(line: bytes, what: str) -> ReportedError:
    """The exception in a line. Raises ProtocolError where it is not valid."""
    return _validated(line, _ErrorLine, what).error


@cache
def _line_of(key: str, content: Any) -> type[Message]:
    kind: type[Message] = _LINES[key][content]
    return kind


LineT = TypeVar("LineT", bound=Message)


def _validated(line: bytes, kind: type[LineT], what: str) -> LineT:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise ProtocolError(
            f"{what} is not valid",
            where=".".join(map(str, first["loc"])),
            received=_shown(first["input"]),
            expected=first["msg"],
        ) from None


def _shown(value: Any) -> str:
    text = plain_text(repr(value))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
