"""One program for several calls, each with its own weights and operands: compiled once where a subject keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from cnnbench.numerics.memoizing import opens_gradients, opens_sessions
from cnnbench.numerics.session import OpensGradientSessions, OpensSessions, Session, as_gradients
from cnnbench.numerics.subject import Subject

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.host import HostGradients, HostResult
    from cnnbench.spec.graph import Graph

Arrays = Mapping[str, NDArray[Any]]


@contextmanager
def forward_program(
    subject: Subject, graph: Graph, options: ProgramOptions
) -> Iterator[Callable[[Arrays, Arrays], HostResult]]:
    """A function (arrays, batch) -> result of a forward pass.

    Args:
        subject: Where it runs; one that keeps no program compiles for each call.
        graph: What is compiled.
        options: How.
    """
    if not (opens_sessions(subject) and isinstance(subject, OpensSessions)):
        yield lambda arrays, batch: subject.forward(graph, arrays, batch, options)
        return
    with closing(subject.open(graph, options)) as session:
        yield lambda arrays, batch: _called(session, arrays, batch)


@contextmanager
def gradient_program(
    subject: Subject, graph: Graph, options: ProgramOptions
) -> Iterator[Callable[[Arrays, Arrays], HostGradients]]:
    """A function (arrays, batch) -> gradients, for given cotangents.

    Args:
        subject: Where it runs; one that keeps no program compiles for each call.
        graph: What is compiled.
        options: How.
    """
    if not (opens_gradients(subject) and isinstance(subject, OpensGradientSessions)):
        yield lambda arrays, batch: subject.gradient(graph, arrays, batch, options)
        return
    with closing(subject.open_gradient(graph, options, None)) as session:
        yield lambda arrays, batch: as_gradients(_called(session, arrays, batch))


def _called(session: Session, arrays: Arrays, batch: Arrays) -> HostResult:
    session.load(arrays)
    session.upload("call", batch)
    return session.run("call").result
