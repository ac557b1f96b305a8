"""What backends' checks ask alike is made once, held in bounded memory, and out of a subject's reach."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics import hard_case as hard_operands
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import exact, run_checks
from cnnbench.numerics.common_answers import COMMON, CommonAnswers, num_bytes
from cnnbench.numerics.hard_case import hard_case
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Conv, Flatten, Linear, ReLU
from cnnbench.spec.weights import general_position

NAMES = ("local", "exact", "gradient")


def case_of(seed: int = 0) -> Case:
    builder = Builder("two")
    x = builder.input("x", (3, 8, 8))
    x = builder.add("conv", Conv(out_channels=4, kernel_size=3, padding=1), x)
    x = builder.add("linear", Linear(out_features=5), builder.add("flat", Flatten(), builder.add("relu", ReLU(), x)))
    graph = builder.build(x)
    options = ProgramOptions("reference", precision("float32"))
    return Case(graph, general_position(graph, seed), draw_inputs(graph, seed, 2), options, seed=seed)


def array_of(num: int) -> np.ndarray:
    return np.zeros(num, np.uint8)


def test_answers_are_held_within_a_context_only_and_by_what_they_are_made_from():
    made, answers = [], CommonAnswers()

    def ask(case: Case, question: str) -> object:
        return answers.get(case, question, lambda: made.append(question))

    ask(case_of(), "a"), ask(case_of(), "a")
    assert made == ["a", "a"]
    with answers.kept():
        for question in "bbc":
            ask(case_of(), question)
        ask(case_of(seed=1), "b")
        with answers.kept():
            ask(case_of(), "b")
        ask(case_of(), "b")
    ask(case_of(), "b")
    assert made == ["a", "a", "b", "c", "b", "b"]


def test_memory_is_bounded_and_a_new_network_makes_room():
    made, answers = [], CommonAnswers(most_bytes=100)

    def ask(case: Case, question: str, size: int) -> None:
        found = answers.get(case, question, lambda: (made.append(question), array_of(size))[1])
        assert found.nbytes == size

    first, second = case_of(), case_of(seed=1)
    with answers.kept():
        ask(first, "a", 60), ask(first, "b", 60), ask(first, "a", 60), ask(first, "b", 60)
        assert made == ["a", "b", "b"]  # b had no room
        ask(second, "c", 60), ask(second, "c", 60), ask(first, "a", 60)
        assert made == ["a", "b", "b", "c", "a"]  # c made room for itself, and a again


def test_the_bytes_of_arrays_are_counted_wherever_they_stand():
    assert num_bytes({"a": (array_of(3), [array_of(4)]), "b": None}) == 7
    with COMMON.kept():
        call = exact._calls(case_of(), ["conv"])[0]["conv"]
    assert num_bytes(call) >= call.call.inputs[0].nbytes + call.values.outputs[0].nbytes


class Writing(InProcessSubject):
    """Writes to every array that it was given, after its pass."""

    def forward(self, graph, arrays, batch, options):
        found = super().forward(graph, arrays, batch, options)
        for array in (*arrays.values(), *batch.values()):
            if array.flags.writeable and array.dtype.kind == "f":
                array += 1
        return found


def test_checks_of_two_backends_make_their_operands_once_and_say_the_same(monkeypatch):
    counts = {"integers": 0, "hard": 0}
    for module, name, what in ((exact, "_calls", "integers"), (hard_operands, "_operands", "hard")):
        own = getattr(module, name)

        def counted(*given, own=own, what=what):
            counts[what] += 1
            return own(*given)

        monkeypatch.setattr(module, name, counted)
    subject = InProcessSubject(load_backend("numpy"))
    alone = run_checks(NAMES, subject, case_of())
    before = dict(counts)
    with COMMON.kept():
        found = [run_checks(NAMES, item, case_of()) for item in (subject, Writing(load_backend("numpy")), subject)]
    assert before["integers"] == 1
    assert counts == {"integers": before["integers"] + 1, "hard": before["hard"] + 1}
    assert found[0] == found[2] == alone
    assert [outcome.status for outcome in alone] == ["passed"] * 3


def test_hard_operands_are_handed_out_as_copies():
    case = case_of()
    with COMMON.kept():
        first, second = hard_case(case), hard_case(case)
        assert first is not None
        assert second is not None
        for name, array in first.batch.items():
            assert not np.shares_memory(array, second.batch[name])
            np.testing.assert_array_equal(array, second.batch[name])
    assert hard_case(case_of(seed=1)).key("local") != first.key("local")


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert not COMMON._held
