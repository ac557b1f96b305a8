"""Whether a fault can show in a network at all: says so before anything is checked, and where it would."""

from __future__ import annotations

import math

from cnnbench.errors import SuiteError
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault, LayerChange
from cnnbench.numerics.faults.engine.injection import changed_graph, is_composite
from cnnbench.spec.architectures import Architecture
from cnnbench.spec.graph import Graph
from cnnbench.spec.passes import lower

SMALL = 5_000_000  # parameters of networks that are looked through for a kind


def require_reach(case: Case, found: Fault) -> None:
    """Raises SuiteError where the case has nothing that the fault would change, with a network that has."""
    where = f"{case.graph.name}, fault {found.name}"
    if found.programs is not None:
        if found.kind == "sharing" and not case.graph.sharing:
            raise _unchanged(found, where, "a network in which no nodes share weights")
        return
    if found.operation is None:
        if found.loss is not None and found.loss(case.loss) == case.loss:
            raise _unchanged(found, where, f"loss {case.loss}")
        rule = case.training.optimizer
        if found.optimizer is not None and found.optimizer(rule) == rule:
            raise _unchanged(found, where, f"optimizer {rule}")
        return
    graph = lower(case.graph, native=(found.kind,))
    kinds = {node.layer.kind for node in graph.nodes}
    if found.kind not in kinds:
        raise SuiteError(
            f"the fault changes {found.kind}, and the network has no node of that kind",
            where=where,
            received=f"nodes of {', '.join(sorted(kinds))}",
            expected=f"a {found.kind}",
            remedy=_another_network(found.kind),
        )
    if changed_graph(graph, found).nodes == graph.nodes and _exchanges_layers(found):
        raise _unchanged(found, where, f"every {found.kind} of this network")


def _exchanges_layers(found: Fault) -> bool:
    return isinstance(found.operation, LayerChange)


def _unchanged(found: Fault, where: str, what: str) -> SuiteError:
    return SuiteError(
        "the fault changes nothing here",
        where=where,
        received=what,
        expected=f"one on which this differs: {found.description}",
        remedy="'cnnbench list faults --kill BACKEND' runs every fault in a configuration of its own",
    )


def _another_network(kind: str) -> str:
    """Names the smallest registered network that has the kind, where there is one."""
    from cnnbench.registry import architectures

    known = sorted(architectures().values(), key=_declared)
    for item in known:
        if _declared(item) <= SMALL and kind in _kinds(item.build(item.facts.input, item.num_classes), kind):
            return f"{item.name} has one"
    return "'cnnbench list faults --kill BACKEND' runs every fault in a configuration of its own"


def _kinds(graph: Graph, kind: str) -> set[str]:
    return {node.layer.kind for node in lower(graph, native=(kind,) if is_composite(kind) else ()).nodes}


def _declared(item: Architecture) -> float:
    return math.inf if item.facts.parameters is None else item.facts.parameters
