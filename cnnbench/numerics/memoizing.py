"""A subject that keeps the result of its latest pass, and the program that is timed, from one check to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbench.numerics.session import OpensGradientSessions, OpensSessions, Session
from cnnbench.numerics.steps_done import RecordedSession
from cnnbench.numerics.subject import Subject

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.gaps import Gap
    from cnnbench.execution.host import HostArrays, HostResult
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss


class MemoizingSubject:
    """A subject that keeps the result of its latest forward pass, for checks that begin with the same pass.

    For example, the end-to-end check runs the timed program, and the determinism check after it compares that result
    with one more run instead of two. The program itself is kept too, where a check to come asks for it.

    Args:
        subject: Whose results they are.
        kept: The graph and the options of the program that is kept after its pass, for the next who opens it.
    """

    def __init__(self, subject: Subject, kept: tuple[Graph, ProgramOptions] | None = None) -> None:
        self.subject = subject
        self.gradient = subject.gradient
        self.steps = subject.steps
        self._kept = kept
        self._session: RecordedSession | None = None
        self._passed = False
        self._latest: tuple[object, ...] = ()
        self._result: HostResult | None = None

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        """A pass that is run in any case, and whose result is kept."""
        session = None if self._passed else self.lend(graph, options)
        if session is not None:
            self._passed = True
            session.load(arrays)
            session.upload("pass", batch)
            self._result = session.run("pass").result
        else:
            self._result = self.subject.forward(graph, arrays, batch, options)
        self._latest = (graph, arrays, batch, options)
        return self._result

    def lend(self, graph: Graph, options: ProgramOptions) -> RecordedSession | None:
        """The program that is kept, or None where it is another one; the caller may use it and does not close it."""
        if self._kept != (graph, options) or not isinstance(self.subject, OpensSessions):
            return None
        if self._session is None:
            self._session = RecordedSession(self.subject, graph, options)
        return self._session

    def open(self, graph: Graph, options: ProgramOptions) -> RecordedSession:
        """The program that is kept, which is the caller's from now on, or a new one."""
        if self._session is not None and self._kept == (graph, options):
            session, self._session, self._kept = self._session, None, None
            return session
        if not isinstance(self.subject, OpensSessions):
            raise TypeError("the subject keeps no program")
        return RecordedSession(self.subject, graph, options)

    def open_gradient(self, graph: Graph, options: ProgramOptions, loss: Loss | None) -> Session:
        """A new gradient program, the caller's.

        Args:
            graph: What is compiled.
            options: How.
            loss: Of the main output; None: gradients of the outputs are given.
        """
        if not isinstance(self.subject, OpensGradientSessions):
            raise TypeError("the subject keeps no program")
        return self.subject.open_gradient(graph, options, loss)

    def close(self) -> None:
        """Frees the program that is kept."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def latest(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult | None:
        """The kept result where it is of these very objects, else None.

        Args:
            graph: That was run.
            arrays: Its weights and running statistics.
            batch: Its inputs.
            options: Of the program; equal ones are the same.
        """
        asked = (graph, arrays, batch, options)
        same = len(self._latest) == 4 and all(a is b for a, b in zip(self._latest[:3], asked[:3], strict=True))
        return self._result if same and self._latest[3] == options else None


def special_gaps(subject: object) -> tuple[Gap, ...]:
    """What a subject declares of NaN, infinities and denormals, where it says so."""
    inner = subject.subject if isinstance(subject, MemoizingSubject) else subject
    return tuple(getattr(inner, "gaps", ()))


def opens_sessions(subject: object) -> bool:
    """Whether a subject's programs can be kept."""
    return isinstance(subject.subject if isinstance(subject, MemoizingSubject) else subject, OpensSessions)


def opens_gradients(subject: object) -> bool:
    """Whether a subject's gradient programs can be kept."""
    inner = subject.subject if isinstance(subject, MemoizingSubject) else subject
    return isinstance(inner, OpensGradientSessions)
