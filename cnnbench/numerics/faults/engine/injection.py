"""Puts a fault into a loaded backend, and takes it out again."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import Backend
from cnnbench.execution.gaps import Gap
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Compilers, Fault, LayerChange
from cnnbench.numerics.faults.engine.registry import fault
from cnnbench.numerics.subject import InProcessSubject, Subject, TrainedStep, Updates
from cnnbench.spec.composites import Composite
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import Layer
from cnnbench.spec.passes import lower

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.execution.host import HostArrays, HostGradients, HostResult
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss


@contextmanager
def inject(backend: Backend, name: str | Fault) -> Iterator[Fault]:
    """Within it, programs that ``backend`` compiles have the fault.

    Raises:
        SuiteError: An unknown name.
        UnavailableError: A kind that the backend neither has nor lowers with another layer.
    """
    found = fault(name) if isinstance(name, str) else name
    if found.programs is not None:
        change = _compiling_by(backend, found.programs(backend))
    elif found.operation is None:
        change = _compiling_by(backend, _other_terms(backend, found))
    elif found.kind in backend.operations:
        change = _other_op(backend, found)
    else:
        change = _other_parts(backend, found)
    with change:
        yield found


@contextmanager
def _other_op(backend: Backend, found: Fault) -> Iterator[None]:
    right = backend.operations
    if found.operation is None:
        raise TypeError(f"the fault {found.name} changes no op")
    backend.operations = right.replace(found.kind, found.operation(right[found.kind], right))
    try:
        yield
    finally:
        backend.operations = right


def not_injectable(backend: Backend, found: Fault) -> str | None:
    """Why a fault cannot be put into a backend, or None."""
    if found.operation is None or found.kind in backend.operations:
        return None
    if not is_composite(found.kind):
        return f"{backend.name} has no op for {found.kind}"
    if not isinstance(found.operation, LayerChange):
        return f"{backend.name} makes {found.kind} of its parts, and this fault changes an op of its own"
    return None


def is_composite(kind: str) -> bool:
    """Whether a fault's kind is a composite layer kind."""
    return issubclass(layer_kinds().get(kind, Layer), Composite)


@contextmanager
def _other_parts(backend: Any, found: Fault) -> Iterator[None]:
    """Programs are compiled for a graph in which nodes of a composite kind are other layers."""
    reason = not_injectable(backend, found)
    if reason is not None:
        raise UnavailableError(reason, where=f"fault {found.name}")
    compilers = {name: getattr(backend, name) for name in ("compile_forward", "compile_gradient", "compile_step")}
    own = tuple(backend.operations)

    def with_other_graph(compiler: Any) -> Any:
        def compile_other(graph: Graph, *arguments: Any, **keywords: Any) -> Any:
            kept = lower(graph, native=(found.kind, *own))
            return compiler(changed_graph(kept, found), *arguments, **keywords)

        return compile_other

    with _compiling_by(backend, {name: with_other_graph(compiler) for name, compiler in compilers.items()}):
        yield


def changed_graph(graph: Graph, found: Fault) -> Graph:
    """The graph with each layer of the fault's kind exchanged, where the fault exchanges layers."""
    change = found.operation
    if not isinstance(change, LayerChange):
        return graph
    nodes = tuple(
        replace(node, layer=change.change(node.layer).resolve(graph.input_shapes(node)))
        if node.layer.kind == found.kind
        else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def _other_terms(backend: Backend, found: Fault) -> Compilers:
    """Programs are compiled for another loss or another update rule than was asked for."""
    gradient, step = backend.compile_gradient, backend.compile_step

    def compile_gradient(graph: Any, options: Any, loss: Any = None) -> Any:
        return gradient(graph, options, found.loss(loss) if found.loss and loss is not None else loss)

    def compile_step(graph: Any, options: Any, loss: Any, optimizer: Any) -> Any:
        changed = found.optimizer(optimizer) if found.optimizer else optimizer
        return step(graph, options, found.loss(loss) if found.loss else loss, changed)

    return {"compile_gradient": compile_gradient, "compile_step": compile_step}


@contextmanager
def _compiling_by(backend: Any, compilers: Compilers) -> Iterator[None]:
    for name, compiler in compilers.items():
        setattr(backend, name, compiler)
    try:
        yield
    finally:
        for name in compilers:
            delattr(backend, name)


def faulty_subject(backend: Backend, name: str | Fault) -> Subject:
    """The backend with a fault, as a subject: each of its programs has it, and the backend itself stays right."""
    return _Faulty(backend, fault(name) if isinstance(name, str) else name)


def examined(case: Case, found: Fault) -> Case:
    """The case with a faulty composite as one node, and every other kind as its parts."""
    return replace(case, whole=frozenset({found.kind}) if is_composite(found.kind) else frozenset())


@dataclass(frozen=True)
class _Faulty:
    backend: Backend
    fault: Fault

    @property
    def gaps(self) -> tuple[Gap, ...]:
        return self.backend.operations.gaps

    def forward(self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions) -> HostResult:
        with inject(self.backend, self.fault):
            return InProcessSubject(self.backend).forward(graph, arrays, batch, options)

    def gradient(
        self, graph: Graph, arrays: HostArrays, batch: HostArrays, options: ProgramOptions, loss: Loss | None = None
    ) -> HostGradients:
        with inject(self.backend, self.fault):
            return InProcessSubject(self.backend).gradient(graph, arrays, batch, options, loss)

    def steps(
        self,
        graph: Graph,
        arrays: HostArrays,
        batches: Sequence[HostArrays],
        options: ProgramOptions,
        updates: Updates,
    ) -> Generator[TrainedStep, None, None]:
        with inject(self.backend, self.fault):
            yield from InProcessSubject(self.backend).steps(graph, arrays, batches, options, updates)
