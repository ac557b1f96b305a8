"""From a whole program that gave wrong values to the node at which it goes wrong: by prefixes of it, done again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.budgets import Budget
from cnnbench.numerics.checks.verdict import describe, evidence, in_one_line
from cnnbench.numerics.divergence import ReproducerSource, Reproduction
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.location import BisectedProgram, WrongNodes, locate
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import NOT_APPLICABLE, CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.reference import reference, reference_options
from cnnbench.numerics.special_values import classes, poisoned_batch
from cnnbench.numerics.steps_done import StepsDone
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.teacher_forcing import output_names, producers
from cnnbench.spec.graph import Graph

Array = NDArray[Any]
LOCATED_AT = 0.25  # of the envelope: right programs use less, so that the first wrong value is seen where it arises
ROUNDED = 8.0
FORM = "a share of the envelope"
ROUNDS = "rounds"  # the detail of an outcome without a verdict: the kind of the node that only rounds
Programs = Callable[[], Iterable[BisectedProgram]]
Excuse = Callable[[BisectedProgram, WrongNodes], bool]


def with_node(
    outcome: CheckOutcome,
    subject: Subject,
    oracle: Oracle,
    programs: Programs,
    but: str = "",
    only_rounds: Excuse | None = None,
) -> CheckOutcome:
    """A failed outcome with the nodes at which the program goes wrong; it stays a failure where they are not found.

    Args:
        outcome: Failed, by what the whole program gave.
        subject: Whose program it is.
        oracle: Of the case.
        programs: What is bisected: the first that is wrong when it is compiled anew.
        but: What is said before the place.
        only_rounds: Whether a node is found that does nothing wrong but round: the check then says nothing.
    """
    head = f"{outcome.message}{but}"
    try:
        found, program = None, None
        for program in programs():
            found = locate(subject, program)
            if found is not None:
                break
    except Exception as error:
        said = f"{head}; the node at which the program goes wrong could not be looked for: {in_one_line(error)}"
        return outcome.model_copy(update={"message": said})
    if found is None or program is None:
        return outcome.model_copy(update={"message": f"{head}; the prefixes of the program are right"})
    if only_rounds is not None and only_rounds(program, found):
        said = f"{NOT_APPLICABLE}{found.nodes[0]} rounds where others are exact: {describe(found.failure)}"
        kind = found.part[0].node(found.nodes[0]).layer.kind
        return outcome.model_copy(update={"status": "skipped", "message": said, "details": {ROUNDS: kind}})
    said = f"{head}; the program goes wrong at {found.text}: {describe(found.failure)}"
    return outcome.model_copy(update={"message": said, **_shown(outcome, oracle, program, found)})


def _shown(outcome: CheckOutcome, oracle: Oracle, program: BisectedProgram, found: WrongNodes) -> dict[str, Any]:
    """The node, with the report and the file that reproduces the failure; one pass does not show a recorded one."""
    more: dict[str, Any] = {}
    if not found.is_of_input:
        folder = oracle.case.folder if program.recording is None else None
        more = evidence(found.failure, _source_of(outcome.name, program, found, folder))
    more["nodes"] = list(found.nodes)
    reproducer = more.pop("reproducer", None)
    return {"node": found.nodes[0], "reproducer": reproducer, "details": {**outcome.details, **more}}


def _source_of(check: str, program: BisectedProgram, found: WrongNodes, folder: Any) -> ReproducerSource:
    """What makes the report of a located failure and the file that reproduces it.

    Args:
        check: The check's name.
        program: That was bisected.
        found: Where it goes wrong.
        folder: Where the file goes; None for nowhere.
    """
    graph, batch = found.part
    wanted = {spec.name for spec in (*graph.named_weights(), *graph.named_state())}

    def reproduction(name: str, quantity: Quantity) -> Reproduction:
        value = output_names(graph, graph.node(name))[quantity.index]
        result = next(shown for shown, made in graph.outputs if made == value)
        exact, budget = program.truth(value)
        return Reproduction(
            graph=graph,
            arrays={key: array for key, array in program.arrays.items() if key in wanted},
            batch=batch,
            options=program.options,
            gradient=False,
            result=result,
            exact=exact,
            budget=Budget(*(np.broadcast_to(b, exact.shape) for b in budget)),
        )

    notes = (f"  located   {found.text} ({found.compiles} programs were compiled)",)
    return ReproducerSource(check, program.graph, program.images, reproduction, folder, notes)


def timed_program(oracle: Oracle) -> BisectedProgram:
    """The timed program; each value within it may be off by a quarter of what the outputs may, relative to its size."""
    case, graph = oracle.case, oracle.case.lowered
    admitted = _admitted(oracle)
    makers = producers(graph)

    def truth(value: str) -> tuple[Array, Budget]:
        if value in case.inputs:
            return case.inputs[value], admitted(case.inputs[value])
        node = graph.node(makers[value])
        right = np.asarray(oracle.outputs(node.name).values[output_names(graph, node).index(value)])
        return right, admitted(right)

    options = replace(case.options, training=False)
    return BisectedProgram(graph, case.stored, case.inputs, options, truth, FORM)


def recorded_program(oracle: Oracle, recording: StepsDone) -> BisectedProgram:
    """The timed program with all that was done to it."""
    case = oracle.case
    options = replace(case.options, training=False)
    truth = _truth(oracle, case.lowered, recording.arrays, recording.batch)
    return BisectedProgram(case.lowered, recording.arrays, recording.batch, options, truth, FORM, recording)


def training_program(oracle: Oracle) -> BisectedProgram:
    """The forward pass of training, whose gradients were wrong although those of each layer are right.

    Batch norm over few values enlarges rounding. So each value may be off by twice as much as at inference, or by some
    times what the reference in float32 is; in another precision by as much more as that rounds more.
    """
    case = oracle.case
    batch = {name: array for name, array in case.training_batch().items() if name != "targets"}
    options = replace(case.options, training=True, fold_batch_norm=False)
    exact = _truth(oracle, case.lowered, case.stored, batch, reference_options(training=True))
    rounded = _truth(oracle, case.lowered, case.stored, batch, reference_options(training=True, name="float32"))
    scale = ROUNDED * max(1.0, case.policy.storage_roundoff / 2.0**-24)

    def truth(value: str) -> tuple[Array, Budget]:
        right, budget = exact(value)
        gap = np.abs(rounded(value)[0] - np.asarray(right, np.float64)).max(initial=0.0)
        most = np.maximum(2 * budget.sharp, scale * gap)
        return right, Budget(most, most)

    return BisectedProgram(case.lowered, case.stored, batch, options, truth, FORM)


def poisoned_program(oracle: Oracle) -> BisectedProgram:
    """The timed program on a batch whose first image holds a NaN; of that image, which values are finite."""
    case = oracle.case
    batch = poisoned_batch(case) or case.inputs

    def seen(got: Array, exact: Array) -> Array:
        right = classes(got) == classes(exact)
        if exact.dtype.kind == "f" and exact.shape[:1] == (case.size,):
            right[1:] &= ~np.isfinite(exact[1:])
        return np.where(right, exact, got).astype(got.dtype)

    options = replace(case.options, training=False)
    truth = _truth(oracle, case.lowered, case.stored, batch)
    return BisectedProgram(case.lowered, case.stored, batch, options, truth, FORM, seen=seen)


def _truth(
    oracle: Oracle,
    graph: Graph,
    arrays: Mapping[str, Array],
    batch: Mapping[str, Array],
    options: ProgramOptions | None = None,
) -> Any:
    """The values of a network on other arrays or inputs than the case's, by the reference."""
    admitted = _admitted(oracle)

    @cache
    def values() -> Mapping[str, Array]:
        every = tuple((value, value) for node in graph.nodes for value in output_names(graph, node))
        with np.errstate(all="ignore"):
            whole = replace(graph, outputs=every)
            return reference().subject.forward(whole, arrays, batch, options or reference_options()).outputs

    def truth(value: str) -> tuple[Array, Budget]:
        right = np.asarray(batch[value] if value in batch else values()[value])
        return right, admitted(right)

    return truth


def _admitted(oracle: Oracle) -> Callable[[Array], Budget]:
    """What the values of a node may be off: a share of what the outputs may, relative to the largest of them."""
    exact, envelope = forward_envelope(oracle)
    sizes = {name: float(np.abs(value).max(initial=0.0)) for name, value in exact.items()}
    share = max(envelope.factor * envelope.size[name] / max(size, 2.0**-100) for name, size in sizes.items())

    def admitted(right: Array) -> Budget:
        largest = float(np.abs(right).max(initial=0.0, where=np.isfinite(right)))
        most = np.asarray(max(LOCATED_AT * share * largest, 2.0**-126))
        return Budget(most, most)

    return admitted
