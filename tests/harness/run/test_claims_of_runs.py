"""A run that tries claims: in a worker, recorded one by one, not tried again, and missing where they could not be."""

from __future__ import annotations

import sys

import pytest
from fake_machine import FakeMachine
from fake_worker import FakeWorker
from small_suite import small_suite

from cnnbench.errors import SuiteError
from cnnbench.harness.run.claim_records import ClaimRecord, read_claims
from cnnbench.harness.run.files import read_model, to_json
from cnnbench.harness.run.merge import merge
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.file import load_suite
from cnnbench.harness.suite.plan import Filters, plan, two_sided
from cnnbench.harness.suite.shipped import shipped_suites
from cnnbench.harness.worker.protocol.claims import ClaimReply, ClaimRequest, TriedFigure
from cnnbench.output.reports import write_reports

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
SETTINGS = {"names": ["separable_cost", "toeplitz"], "backends": ["numpy"], "seeds": 3}
LAST = {"measure": {"latency": None, "memory": False, "yardsticks": False}}


def asked(**settings):
    return plan(small_suite("claims", checks=("end_to_end",), claims=SETTINGS | settings, **LAST))


def reply(*values: float, lack: str | None = None) -> ClaimReply:
    """A figure of a statement that has it at most 1."""
    found = tuple(TriedFigure(what="a figure", values=(value,), most=1.0) for value in values)
    verdict = "undecided" if lack else "holds"
    return ClaimReply(
        number=4,
        statement="It is so.",
        source="a book",
        conditions=(),
        trains=False,
        evidence=found,
        seconds=0.5,
        lack=lack,
        verdict=verdict,
    )


def test_claims_are_tried_by_a_worker_shown_and_not_tried_again(tmp_path):
    result = run(asked(), RunOptions(root=tmp_path))
    assert result.exit_code == 0
    assert [(row.name, row.backend, row.verdict) for row in result.summary.claims] == [
        ("separable_cost", "numpy", "holds with conditions"),
        ("toeplitz", "numpy", "holds"),
    ]
    records = read_claims(result.folder)
    assert [len(item.values) for item in records[1].result.evidence] == [3] * 5
    assert records[0].versions["numpy"]
    write_reports(result.folder)
    report = (result.folder / "report.md").read_text()
    assert "| 4 | Convolution is a Toeplitz matrix product" in report
    page = result.folder / "claims" / "numpy-fast" / "claims.md"
    assert "toeplitz: holds" in page.read_text()
    assert (page.parent / "claims-toeplitz.svg").is_file()

    kept = result.folder / "claims" / "toeplitz-numpy-fast.json"
    record = read_model(kept, ClaimRecord)
    other = record.model_copy(update={"made_from": record.made_from | {"cnnbench": "0.0"}})
    kept.write_text(to_json(other))
    before = (result.folder / "claims" / "separable_cost-numpy-fast.json").stat().st_mtime_ns
    again = run(asked(), RunOptions(root=tmp_path, resume=result.folder))
    assert any("toeplitz is tried again: it was made from another cnnbench" in note for note in again.summary.notes)
    assert read_model(kept, ClaimRecord).made_from == record.made_from
    assert (result.folder / "claims" / "separable_cost-numpy-fast.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("how", ["the worker is gone", "undecided", "holds"])
def test_what_was_not_decided_leaves_a_run_inconclusive(tmp_path, how):
    machine = FakeMachine()
    if how == "the worker is gone":
        machine.fail(ClaimRequest, lambda worker, request: request.name == "toeplitz")
    given = reply(0.5, lack="no float64" if how == "undecided" else None)
    others = machine.answers.get(ClaimRequest)

    def answer(worker: FakeWorker, request: ClaimRequest) -> ClaimReply:
        if others is not None:
            others(worker, request)
        return given

    machine.answers[ClaimRequest] = answer
    timed = plan(small_suite("claims", claims=SETTINGS))
    result = run(timed, RunOptions(root=tmp_path), executor=machine.executor)
    assert result.exit_code == (0 if how == "holds" else 5)
    rows = {row.name: row for row in result.summary.claims}
    assert rows["separable_cost"].verdict == given.verdict
    if how == "the worker is gone":
        assert (rows["toeplitz"].verdict, rows["toeplitz"].reason) == (None, "it was not tried")
        assert any("toeplitz was not tried on numpy: it is gone" in note for note in result.summary.notes)


def test_one_shard_tries_the_claims_and_the_merged_run_has_them(tmp_path):
    suite = small_suite("claims", matrix={"batch": [1, 2]}, claims=SETTINGS | {"names": "separable_cost"})
    shards = [plan(suite, Filters(shard=(part, 2))) for part in (1, 2)]
    assert [len(shard.claims) for shard in shards] == [1, 0]
    folders = [run(shard, RunOptions(root=tmp_path)).folder for shard in shards]
    merged = merge(folders, tmp_path / "merged")
    assert [item.claim.name for item in read_claims(merged)] == ["separable_cost"]


def test_which_claims_are_planned():
    assert [claim.name for claim in asked().claims] == ["separable_cost", "toeplitz"]
    assert len(asked(names=[]).claims) == 17
    quick = [claim.name for claim in asked(names=[], trained=False).claims]
    assert "toeplitz" in quick
    assert "shortcuts" not in quick
    suite = asked().suite
    assert plan(suite, Filters(expression="simple_cnn")).claims == ()
    assert two_sided(plan(suite)).claims == ()
    both = asked(backends=["numpy:reference", "numpy"]).suite
    assert {claim.mode for claim in plan(both).claims} == {"reference", "fast"}
    for settings, words in (
        ({"names": "toplitz"}, "toeplitz"),
        ({"backends": "nump"}, "numpy"),
        ({"backends": "numpy:slow"}, "fast"),
    ):
        with pytest.raises(SuiteError) as error:
            asked(**settings)
        assert words in str(error.value)


def test_the_shipped_suite_tries_all_claims_over_eight_seeds():
    claims = plan(load_suite(shipped_suites()["claims"])).claims
    assert (len(claims), {claim.seeds for claim in claims}) == (17, {8})
