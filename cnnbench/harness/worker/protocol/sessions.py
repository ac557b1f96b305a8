"""Exchanges about a program that is kept in the worker: opened for a check, or the one that is timed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from cnnbench.harness.worker.protocol.messages import AnyFloat, Message, Request
from cnnbench.harness.worker.protocol.setup import Done
from cnnbench.harness.worker.protocol.values import GraphValue, LossValue, OptionsValue


class OpenSessionRequest(Request[Done]):
    """Compiles a forward program and keeps it under a name."""

    method: ClassVar[str] = "open_session"
    session: str
    graph: GraphValue
    options: OptionsValue


class OpenGradientRequest(Request[Done]):
    """Compiles a gradient program and keeps it under a name. Args: loss: None where gradients of outputs are given."""

    method: ClassVar[str] = "open_gradient"
    session: str
    graph: GraphValue
    options: OptionsValue
    loss: LossValue | None


class LoadArraysRequest(Request[Done]):
    """Puts weights and running statistics into a kept program. Args: arrays: their file."""

    method: ClassVar[str] = "load_arrays"
    session: str
    arrays: Path


class UploadRequest(Request[Done]):
    """Keeps inputs as operands under a name. Args: batch: their file."""

    method: ClassVar[str] = "upload"
    session: str
    name: str
    batch: Path


class CallsReply(Message):
    """What calls gave, as ``Calls``; the last one's arrays are in the file that was asked for."""

    digests: tuple[str, ...]
    deviation: dict[str, AnyFloat]


class CallsRequest(Request[CallsReply]):
    """Calls a kept program on named operands. Args: output: file for ``outputs/<name>`` and ``state/<name>``."""

    method: ClassVar[str] = "calls"
    session: str
    name: str
    calls: int = Field(ge=1)
    output: Path


class AnswerReply(Message):
    """Whether it could be done."""

    done: bool


class OverwriteRequest(Request[AnswerReply]):
    """Puts the values of the operands ``source`` into the memory of the operands ``name``."""

    method: ClassVar[str] = "overwrite"
    session: str
    name: str
    source: str


class HeldRequest(Request[AnswerReply]):
    """Reads a kept program's arrays back. Args: output: file for them."""

    method: ClassVar[str] = "held"
    session: str
    output: Path


class CloseSessionRequest(Request[Done]):
    """Frees a program that was opened."""

    method: ClassVar[str] = "close_session"
    session: str
