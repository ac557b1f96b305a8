"""Exchanges that start and end a worker: who it is, what is installed there, its backend."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from cnnbench.execution.gaps import Gap
from cnnbench.harness.worker.protocol.messages import Message, Request, Text
from cnnbench.harness.worker.protocol.values import ProcessSettingsValue

PROTOCOL = 15
"""The version; any change of a message makes another."""


class Done(Message):
    """That it is done, and nothing else."""


class HelloReply(Message):
    """Who answers, and in which protocol. These fields are those of every protocol."""

    protocol: int
    cnnbench: str
    pid: int
    python: str
    executable: str


class HelloRequest(Request[HelloReply]):
    """The first request. Args: protocol: that of the parent."""

    method: ClassVar[str] = "hello"
    protocol: int


class GitCheckout(Message):
    """The commit that a folder is at. Args: modified: whether files differ from it."""

    commit: str
    branch: str | None
    modified: bool


class EnvironmentReply(Message):
    """A Python interpreter with what is installed there, as it says itself.

    Args:
        executable: The interpreter as it names itself.
        location: The folder that it imports cnnbench from. git: that folder's commit, where it is a checkout.
        packages: Versions of the packages that matter. plugins: distributions that offer something to cnnbench.
        distributions: Versions of all of them.
        backends: Why each backend that it knows cannot be used, or None.
    """

    python: str
    implementation: str
    executable: str
    cnnbench: str
    location: str
    git: GitCheckout | None
    packages: dict[str, str]
    plugins: dict[str, str]
    distributions: dict[str, str]
    backends: dict[str, Text | None]


class EnvironmentRequest(Request[EnvironmentReply]):
    """What is installed there."""

    method: ClassVar[str] = "environment"


class SpecialGap(Message):
    """What a backend declares of the NaN, infinities and denormals that reach a kind; fields as ``Gap`` has them."""

    kind: str
    reason: Text
    precisions: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    special_values: Literal["always", "fused"]

    def gap(self) -> Gap:
        """The same as the check reads it."""
        return Gap(self.kind, self.reason, self.precisions, self.modes, special_values=self.special_values)


class LoadReply(Message):
    """A loaded backend: how long its import took, and what it says of itself.

    Args:
        kinds: The layer kinds that it has ops for.
        special_gaps: What it declares of NaN, infinities and denormals, as ``Gap``'s fields.
        left_out: Plugins that went wrong in the worker, with the reason.
    """

    import_s: float
    described: dict[str, Text]
    versions: dict[str, str]
    kinds: tuple[str, ...]
    special_gaps: tuple[SpecialGap, ...] = ()
    left_out: dict[str, Text] = Field(default_factory=dict)


class LoadRequest(Request[LoadReply]):
    """Imports and configures a backend."""

    method: ClassVar[str] = "load"
    backend: str
    settings: ProcessSettingsValue


class ExitRequest(Request[Done]):
    """Ends the worker."""

    method: ClassVar[str] = "exit"
