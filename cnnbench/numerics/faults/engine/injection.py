"""Puts a fault into a loaded backend, and takes it out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import Backend
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault, LayerChange, OperationChange
from cnnbench.numerics.faults.engine.programs import COMPILERS, Compilers
from cnnbench.numerics.faults.engine.registry import fault
from cnnbench.numerics.faults.engine.switching import switching
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.composites import Composite
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import Layer
from cnnbench.spec.passes import lower

if TYPE_CHECKING:
    from cnnbench.spec.graph import Graph


@contextmanager
def inject(backend: Backend, name: str | Fault) -> Iterator[Fault]:
    """Within it, programs that ``backend`` compiles have the fault.

    Raises:
        SuiteError: An unknown name.
        UnavailableError: A kind that the backend neither has nor lowers with another layer.
    """
    found = fault(name) if isinstance(name, str) else name
    with _compiling_by(backend, faulty_compilers(backend, found)):
        yield found


def faulty_compilers(backend: Backend, found: Fault) -> Compilers:
    """Compilers of faulty programs, and the ``synchronize`` that knows their results; the backend stays as it is.

    Raises:
        UnavailableError: A kind that the backend neither has nor lowers with another layer.
    """
    right = {name: getattr(backend, name) for name in (*COMPILERS, "synchronize")}
    if found.when is not None:
        return switching(right, faulty_compilers(backend, replace(found, when=None)), found.when)
    if found.programs is not None:
        wrong = found.programs(backend)
    elif found.operation is None:
        wrong = _other_terms(backend, found)
    elif found.kind in backend.operations:
        wrong = _with_other_op(backend, found, found.operation)
    else:
        wrong = _with_other_parts(backend, found)
    return {**right, **wrong}


def faulty_backend(backend: Backend, name: str | Fault) -> Backend:
    """The backend with a fault: each program that it compiles has it, and the given one stays right.

    Raises:
        SuiteError, UnavailableError: As ``inject``.
    """
    found = fault(name) if isinstance(name, str) else name
    other = copy(backend)
    for attribute, function in faulty_compilers(backend, found).items():
        setattr(other, attribute, function)
    return other


def _with_other_op(backend: Backend, found: Fault, change: OperationChange) -> Compilers:
    """Programs are bound to another op of the fault's kind."""
    right = backend.operations
    other = right.replace(found.kind, change(right[found.kind], right))

    def with_other(compiler: Any) -> Any:
        def compile_other(*arguments: Any, **keywords: Any) -> Any:
            backend.operations = other
            try:
                return compiler(*arguments, **keywords)
            finally:
                backend.operations = right

        return compile_other

    return {name: with_other(getattr(backend, name)) for name in COMPILERS}


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


def _with_other_parts(backend: Backend, found: Fault) -> Compilers:
    """Programs are compiled for a graph in which nodes of a composite kind are other layers."""
    reason = not_injectable(backend, found)
    if reason is not None:
        raise UnavailableError(reason, where=f"fault {found.name}")
    own = tuple(backend.operations)

    def with_other_graph(compiler: Any) -> Any:
        def compile_other(graph: Graph, *arguments: Any, **keywords: Any) -> Any:
            kept = lower(graph, native=(found.kind, *own))
            return compiler(changed_graph(kept, found), *arguments, **keywords)

        return compile_other

    return {name: with_other_graph(getattr(backend, name)) for name in COMPILERS}


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
    before = dict(vars(backend))
    for name, compiler in compilers.items():
        setattr(backend, name, compiler)
    try:
        yield
    finally:
        for name in compilers:
            if name in before:
                setattr(backend, name, before[name])
            else:
                delattr(backend, name)


def faulty_subject(backend: Backend, name: str | Fault) -> InProcessSubject:
    """The backend with a fault, as a subject: each of its programs has it, and the backend itself stays right."""
    return InProcessSubject(faulty_backend(backend, name))


def examined(case: Case, found: Fault) -> Case:
    """The case with a faulty composite as one node, and every other kind as its parts."""
    return replace(case, whole=frozenset({found.kind}) if is_composite(found.kind) else frozenset())
