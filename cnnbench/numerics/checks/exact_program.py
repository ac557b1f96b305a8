"""The second half of the exact check: the program as it is timed, on weights and inputs that keep every value exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.budgets import Budget, Setting, forward_budget
from cnnbench.numerics.case import LARGE_PARAMETERS
from cnnbench.numerics.checks.located import ROUNDS, with_node
from cnnbench.numerics.checks.verdict import in_one_line
from cnnbench.numerics.comparison import Comparison, Place, compare
from cnnbench.numerics.integer_design import InexactError
from cnnbench.numerics.integer_network import DRAWS, IntegerNetwork, integer_network, kept_network
from cnnbench.numerics.location import BisectedProgram, WrongNodes
from cnnbench.numerics.memoizing import MemoizingSubject
from cnnbench.numerics.oracle import Oracle, node_call
from cnnbench.numerics.outcome import PROGRAM, CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.reference import reference
from cnnbench.numerics.session import OpensSessions
from cnnbench.numerics.steps_done import RecordedSession, StepsDone
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import producers
from cnnbench.spec.layers import BatchNorm
from cnnbench.spec.passes import lower

Array = NDArray[Any]
NAME = "exact"
LEAST = 2.0**-126
# Kinds that may round although their results are exact: what they give is then left to their own budgets.
ROUNDING = ("activation", "rectifier", "smooth", "pooling", "normalization")


def check_program(subject: Subject, oracle: Oracle, rounding: frozenset[str] = frozenset()) -> CheckOutcome:
    """The outputs of the timed program on the two integer networks of ``DRAWS``, bit for bit.

    Where a node is found that does nothing wrong but round, the nodes of its kind are left out, and the rest is held.

    Args:
        subject: Whose program it is.
        oracle: Of the case.
        rounding: The kinds that are left out, since this program rounds them.
    """
    case = oracle.case
    options = _options(oracle)
    details: dict[str, Any] = {"algorithm": "direct"} if case.policy.winograd else {}
    if case.num_parameters > LARGE_PARAMETERS and not case.thorough:
        text = f"not applicable: so many weights are drawn only where the checks are thorough ({case.num_parameters})"
        return CheckOutcome(name=NAME, status="skipped", message=text, details=details)
    with _runner(subject, oracle, options) as (run, recording):
        for draw in DRAWS:
            try:
                network = kept_network(oracle, draw, rounding)
            except InexactError as error:
                text = f"not applicable: {in_one_line(error)}"
                return CheckOutcome(name=NAME, status="skipped", message=text, details=details)
            failure = _compared(network, run(network), case.policy)
            details["cut"] = list(network.cut)
            if failure is not None:
                outcome = _failed(subject, oracle, (draw, rounding), (failure, recording()))
                break
        else:
            return _passed(details, rounding, "with direct sums" if case.policy.winograd else "")
    kind = outcome.details.get(ROUNDS)
    return outcome if kind is None or kind in rounding else check_program(subject, oracle, rounding | {kind})


def _passed(details: dict[str, Any], rounding: frozenset[str], how: str) -> CheckOutcome:
    details[PROGRAM] = not details["cut"]
    what = "the program's outputs" if not details["cut"] else f"all values between {len(details['cut'])} inexact nodes"
    but = f"; here {' and '.join(sorted(rounding))} rounds where others are exact" if rounding else ""
    text = f"{what} are equal bit for bit on integers{f' {how}' if how else ''}{but}"
    return CheckOutcome(name=NAME, status="passed", message=text, details=details)


def _options(oracle: Oracle) -> Any:
    """Of the timed program at inference, with direct sums: those of Winograd round, and later layers would again."""
    options = oracle.case.options
    return replace(options, training=False, precision=options.precision.direct)


def prefetch_program(oracle: Oracle) -> None:
    """Has the oracle make the integer networks."""
    with suppress(InexactError):
        for draw in DRAWS:
            kept_network(oracle, draw)


@contextmanager
def _runner(subject: Subject, oracle: Oracle, options: Any) -> Iterator[tuple[Any, Callable[[], StepsDone | None]]]:
    """A function that runs an integer network; one program serves both where they are the timed one, and is kept.

    With it, what says all that was done to that program.
    """
    graph = oracle.case.graph
    lent = subject.lend(graph, options) if isinstance(subject, MemoizingSubject) else None
    inner = subject.subject if isinstance(subject, MemoizingSubject) else subject
    own: list[RecordedSession] = []

    def run(network: IntegerNetwork) -> Mapping[str, Array]:
        if network.graph is not graph or not isinstance(inner, OpensSessions):
            return inner.forward(network.graph, network.arrays, network.batch, options).outputs
        if lent is None and not own:
            own.append(RecordedSession(inner, graph, options))
        session = lent or own[0]
        session.load(network.arrays)
        session.upload("integers", network.batch)
        outputs: Mapping[str, Array] = session.run("integers").result.outputs
        return outputs

    def recording() -> StepsDone | None:
        found = next(iter(own), lent)
        return found.recording if found is not None and found.recording.name == "integers" else None

    try:
        yield run, recording
    finally:
        for session in own:
            session.close()


def _compared(network: IntegerNetwork, got: Mapping[str, Array], policy: Any) -> Comparison | None:
    """The first output that is wrong."""
    makers = producers(network.graph)
    values = dict(network.graph.outputs)
    for name, exact in network.exact.items():
        node = makers[values[name]]
        kind = network.graph.node(node).layer.kind
        admitted = np.maximum(network.admitted[name], LEAST)
        found = compare(
            Place(node, kind, Quantity.output(0), "exact"), got.get(name), exact, Budget(admitted, admitted), policy
        )
        if found.problem is not None or not found.use.sharp_used <= 1:
            return found
    return None


def _failed(
    subject: Subject,
    oracle: Oracle,
    network: tuple[str, frozenset[str]],
    found: tuple[Comparison, StepsDone | None],
) -> CheckOutcome:
    """The failed outcome with the node that the program goes wrong at; failed, too, where that cannot be found."""
    failure, recording = found
    use = failure.use
    said = failure.text or f"at {list(use.worst_index)} got {use.got!r}, expected exactly {use.expected!r}"
    text = f"the whole program on {network[0]} integers, output of {use.node}: {said}"
    details: dict[str, Any] = {PROGRAM: True} | ({"problem": failure.problem} if failure.problem else {})
    outcome = CheckOutcome(name=NAME, status="failed", node=None, message=text, details=details)

    def programs() -> Iterator[BisectedProgram]:
        program = _program(oracle, *network)
        yield program
        if recording is not None:
            yield replace(program, recording=recording)

    return with_node(outcome, subject, oracle, programs, only_rounds=_only_rounds)


def _program(oracle: Oracle, draw: str, rounding: frozenset[str]) -> BisectedProgram:
    network = integer_network(oracle.case, draw, rounding)
    graph = network.graph if network.cut else lower(oracle.case.graph)

    def truth(value: str) -> tuple[Array, Budget]:
        if value in network.batch:
            return network.batch[value], Budget(np.asarray(LEAST), np.asarray(LEAST))
        admitted = np.maximum(network.errors.get(value, np.zeros(())), LEAST)
        return network.values[value], Budget(admitted, admitted)

    options = _options(oracle)
    return BisectedProgram(graph, network.arrays, network.batch, options, truth, "exact")


def _only_rounds(program: BisectedProgram, found: WrongNodes) -> bool:
    """Whether one node that computes more than sums and products is off by no more than its own budget.

    Alone, or only where it is fused with nodes before it: TensorFlow's fused convolution and batch norm takes an
    approximate reciprocal root, and its batch norm alone an exact one.
    """
    if len(found.nodes) > 1 or found.is_of_input or found.failure.problem is not None:
        return False
    graph, batch = found.part
    node = graph.node(found.nodes[0])
    if node.layer.family not in ROUNDING and not isinstance(node.layer, BatchNorm):
        return False
    operands = tuple(np.asarray(batch[v] if v in batch else program.truth(v)[0]) for v in node.inputs)
    call = node_call(graph, node, program.arrays, operands, None)
    setting = Setting(call, reference().forward(call), program.options.precision, reference())
    use = found.failure.use
    if use.got is None or use.expected is None:
        return False
    sharp = np.broadcast_to(forward_budget(setting).outputs[0].sharp, call.inputs[0].shape)
    return bool(abs(use.got - use.expected) <= sharp[use.worst_index])
