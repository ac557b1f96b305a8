"""Cases side by side in one graph: the same answers as alone, and what is wrong or missing stands alone."""

from __future__ import annotations

import pytest

from cnnbench.conformance import layer_cases, run_cases
from cnnbench.conformance.run import packs
from cnnbench.errors import SuiteError, UnavailableError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.subject import InProcessSubject

OPTIONS = ProgramOptions("reference", precision("float32"))
NAMES = ["conv/plain", "relu/plain", "batch_norm/plain", "linear/plain", "max_pool/overlapping", "lstm/plain"]


class Counting(InProcessSubject):
    """Counts forward passes, and may lack or spoil a kind."""

    lacking: str | None = None
    spoilt: str | None = None
    raising: str | None = None
    passes = 0

    def forward(self, graph, arrays, batch, options):
        self.passes += 1
        kinds = {node.layer.kind for node in graph.nodes}
        if self.lacking in kinds:
            raise UnavailableError(f"no {self.lacking} here")
        if self.raising in kinds:
            raise ZeroDivisionError("of a framework")
        result = super().forward(graph, arrays, batch, options)
        if self.spoilt not in kinds:
            return result
        wrong = {node.name for node in graph.nodes if node.layer.kind == self.spoilt}
        outputs = {
            name: value + 1 if name.rpartition(":")[0] in wrong or name in wrong else value
            for name, value in result.outputs.items()
        }
        return result._replace(outputs=outputs)


@pytest.fixture
def subject(load):
    return Counting(load("numpy"))


def known(names):
    return [name for name in names if name in layer_cases()]


def test_a_pack_answers_as_each_case_alone(subject):
    alone = run_cases(subject, OPTIONS, known(NAMES))
    before = subject.passes
    packed = run_cases(subject, OPTIONS, known(NAMES), pack=8)
    assert [(r.case, r.status) for r in packed] == [(r.case, r.status) for r in alone]
    assert subject.passes - before < before
    for result in packed:
        uses = {use.kind for use in result.outcomes[0].nodes}
        assert uses, result.case
        assert layer_cases()[result.case].layer.kind in uses or len(uses) > 1


def test_one_wrong_layer_fails_alone(subject):
    subject.spoilt = "relu"
    results = {result.case: result for result in run_cases(subject, OPTIONS, known(NAMES), pack=8)}
    assert {name for name, result in results.items() if result.status == "failed"} == {"relu/plain"}
    assert "relu" in results["relu/plain"].message


def test_one_missing_layer_is_skipped_alone_with_its_reason(subject):
    subject.lacking = "max_pool"
    results = {result.case: result for result in run_cases(subject, OPTIONS, known(NAMES), pack=8)}
    skipped = {name for name, result in results.items() if result.status == "skipped"}
    assert skipped == {"max_pool/overlapping"}
    assert "no max_pool here" in results["max_pool/overlapping"].message


def test_what_a_framework_raises_is_one_cases_failure(subject):
    subject.raising = "relu"
    results = {result.case: result for result in run_cases(subject, OPTIONS, known(NAMES), pack=8)}
    assert {name for name, result in results.items() if result.status == "failed"} == {"relu/plain"}
    assert "ZeroDivisionError: of a framework" in results["relu/plain"].message


def test_packs_hold_each_case_once_and_as_many_images():
    groups = list(packs(layer_cases(), 16))
    names = [name for group in groups for name in group]
    assert sorted(names) == sorted(layer_cases())
    for group in groups:
        assert len(group) <= 16
        assert len({(layer_cases()[name].batch, layer_cases()[name].positive) for name in group}) == 1


def test_an_unknown_case_is_refused_before_any_runs(subject):
    with pytest.raises(SuiteError, match="unknown case 'conv/plane'"):
        run_cases(subject, OPTIONS, ["conv/plain", "conv/plane"])
    assert subject.passes == 0
