"""Which choices a subject makes in a whole network, and whether they are right but for rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.numerics.choices import Choosing, nearest_choice
from cnnbench.numerics.comparison import first_problem
from cnnbench.numerics.envelope import inference, own_choices
from cnnbench.numerics.forced_choices import ForcedChoices
from cnnbench.numerics.oracle import Oracle, node_call
from cnnbench.numerics.reference import reference
from cnnbench.numerics.subject import Subject

Array = NDArray[Any]


@dataclass(frozen=True)
class MadeChoices:
    """The choices of a subject's program.

    Args:
        choices: By value, as ``forward_envelope`` takes them; those of the reference where the subject's are wrong.
        ties: How many are others than the reference's, where rounding decides.
        node: The first node whose choice is wrong. text: what is wrong with it.
    """

    choices: Mapping[str, Array]
    ties: int = 0
    node: str | None = None
    text: str = ""


def made_choices(subject: Subject, oracle: Oracle) -> MadeChoices | None:
    """The choices that a subject makes with the options of the timed program; None for a network without any.

    Each choice is asked whether it is right on the exact values that it has under the choices before it. Two values
    whose distance is within twice their envelope may be chosen either way, and all that follows is compared with what
    the reference makes of the same choice.
    """
    case, forced = oracle.case, ForcedChoices(oracle.case)
    if not forced.nodes:
        return None
    own = own_choices(oracle)
    options = replace(case.options, training=False)
    outputs = subject.forward(forced.with_choices, case.stored, case.inputs, options).outputs
    got = {value: outputs[name] for name, value in forced.with_choices.outputs if value in own and name in outputs}
    wrong = first_problem(got, own, case.policy)
    if wrong is not None:
        node = next(node.name for node in forced.nodes if wrong.name in forced.positions(node).values())
        return MadeChoices(own, node=node, text=f"{wrong.name}: {wrong.text}")
    if all(np.array_equal(got[value], own[value]) for value in own):
        return MadeChoices(own)
    made = {value: np.asarray(got[value], np.int64) for value in own}
    return _judged(oracle, forced, made)


def _judged(oracle: Oracle, forced: ForcedChoices, made: Mapping[str, Array]) -> MadeChoices:
    """Each node's choice, on what it reads where all nodes choose as they did."""
    case, own, ties = oracle.case, own_choices(oracle), 0
    try:
        found = inference(oracle, made)
    except (IndexError, ValueError):  # the reference cannot read at positions that are not there
        value = next(value for value in own if not np.array_equal(made[value], own[value]))
        maker = next(node.name for node in forced.nodes if value in forced.positions(node).values())
        return MadeChoices(own, node=maker, text=f"{value} or a later choice holds positions that are not there")
    for node in forced.nodes:
        operands = tuple(found.operands[value] for value in node.inputs)
        call = node_call(case.lowered, node, case.stored, operands, None)
        slack = tuple(found.around.factor * found.around.size[value] for value in node.inputs)
        outputs, positions = reference().forward(call).outputs, forced.positions(node)
        right = {i: outputs[i] for i in positions}
        given = {i: made[value] for i, value in positions.items()}
        chosen = nearest_choice(Choosing(node.layer, call.inputs, slack, case.policy), right, given)
        for i, value in positions.items():
            wrong = np.argwhere(chosen.positions[i] != given[i])
            if len(wrong):
                at = tuple(wrong[0].tolist())
                text = f"{value}{list(at)} is {given[i][at]}, expected {right[i][at]}; rounding cannot decide it"
                return MadeChoices(own, node=node.name, text=text)
        ties += chosen.ties
    return MadeChoices(made, ties)
