"""A case that is cut at its discrete choices: gradients and trainings are compared where no choice can flip."""

from __future__ import annotations

from dataclasses import replace

from cnnbench.numerics.envelope import own_choices
from cnnbench.numerics.forced_choices import ForcedChoices
from cnnbench.numerics.oracle import Oracle
from cnnbench.spec.graph import Graph


def cut_at_choices(oracle: Oracle) -> Oracle:
    """The case whose choices are inputs, at inference the reference's; itself where it does not choose.

    For example, a detector crops the six best boxes, and the scores of two boxes lie within rounding of each other. A
    program that takes the other box has other gradients, and from the next training step on other weights. Both are
    right, and no envelope is wide enough for both. So subject and reference are given the boxes that were taken. No
    gradient passes through a choice; whether it is right is asked by ``local`` and ``end_to_end``.
    """
    case, forced = oracle.case, ForcedChoices(oracle.case)
    if not forced.nodes:
        return oracle
    given = forced.given
    outputs = tuple((name, value) for name, value in given.outputs if name not in forced.operand_outputs)
    graph = Graph(given.name, given.inputs, given.nodes, outputs)
    return Oracle(replace(case, graph=graph, batch=forced.batch(own_choices(oracle))), oracle.cache)
