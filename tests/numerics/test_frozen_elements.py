"""An element of a weight that no step moves is found, however small its part of the envelope is."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.checks.frozen_elements import LEAST, ROUNDOFFS, FrozenElements
from cnnbench.numerics.faults import Fault, faulty_subject
from cnnbench.numerics.faults.engine.programs import ProgramChange, changed_programs
from cnnbench.numerics.faults.grammar.networks import network_case

U = 2.0**-24


def course(moves, start=1.0, steps=LEAST):
    """A weight of six elements, all of which move by as many roundoffs in each step."""
    begin = np.full((2, 3), start, np.float32)
    return begin, [begin.astype(np.float64) - moves * U * (i + 1) for i in range(steps)]


def seen(begin, exact, got, names=("w",)):
    follows = FrozenElements(U, {"w": begin})
    return [follows.see({"w": now}, {"w": right}, names) for now, right in zip(got, exact, strict=True)]


def rounded(exact, begin, place=None):
    found = [right.astype(np.float32) for right in exact]
    for now in found:
        if place is not None:
            now[place] = begin[place]
    return found


def test_an_element_that_stays_is_named_once_enough_steps_were_seen():
    begin, exact = course(2 * ROUNDOFFS)
    assert seen(begin, exact, rounded(exact, begin, (1, 2))) == [None] * (LEAST - 1) + [("w", (1, 2))]
    assert seen(begin, exact, rounded(exact, begin)) == [None] * LEAST


def test_arrays_whose_envelope_is_too_wide_to_compare_them_are_followed_too():
    begin, exact = course(2 * ROUNDOFFS)
    assert seen(begin, exact, rounded(exact, begin, (0, 0)), names=())[-1] == ("w", (0, 0))


def test_an_element_that_moves_in_one_of_the_steps_is_not_frozen():
    begin, exact = course(2 * ROUNDOFFS)
    for moved in range(LEAST):
        got = rounded(exact, begin, (0, 1))
        got[moved] = exact[moved].astype(np.float32)
        assert seen(begin, exact, got) == [None] * LEAST


@pytest.mark.parametrize("moves", [0.25, ROUNDOFFS / 2])
def test_small_moves_say_nothing(moves):
    begin, exact = course(moves)
    assert seen(begin, exact, rounded(exact, begin, (0, 1))) == [None] * LEAST


def test_zeros_that_the_reference_moves_by_its_own_rounding_say_nothing():
    begin, exact = course(1e-10, start=0.0)
    still = [begin] * LEAST
    assert seen(begin, exact, still, names=()) == [None] * LEAST
    assert seen(begin, exact, still)[-1] == ("w", (0, 0))


@pytest.mark.slow
@pytest.mark.parametrize("place", [28, None])
def test_a_step_program_that_leaves_one_element_of_a_scale_alone_is_located(place):
    """The envelope of this scale is wider than the way that it goes in all of the first steps."""
    name = "layer3.2.bn1.weight"

    def trained(before, after, moment):
        weights = {key: np.array(array) for key, array in after.weights.items()}
        if name in weights and place is not None:
            weights[name][place] = before.weights[name][place]
        return after._replace(weights=weights)

    fault = Fault(
        "test.frozen",
        "trained",
        "an element stays",
        lambda options, seed: network_case("resnet20", options, seed),
        programs=changed_programs(ProgramChange(trained=trained), ("compile_step",)),
    )
    case = fault.case(ProgramOptions("reference", precision("float32")), 0)
    (outcome,) = run_checks(["training"], faulty_subject(load_backend("numpy"), fault), case)
    if place is None:
        assert outcome.status == "passed", outcome.message
    else:
        assert (outcome.status, outcome.node) == ("failed", "layer3.2.bn1"), outcome.message
        assert f"{name}[{place}] is as it was" in outcome.message
