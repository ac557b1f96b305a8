"""Sequential sampling in a run: more launches of the cells that are named, and of no others."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

from cnnbench.harness import timing
from cnnbench.harness.plan import plan
from cnnbench.harness.runner import RunOptions, run
from cnnbench.harness.sides import two_sided
from cnnbench.harness.store import RunStore
from cnnbench.harness.suite import Suite

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def suite(**sequential):
    return Suite.model_validate(
        {
            "schema_version": 1,
            "name": "sequential",
            "matrix": {
                "architectures": ["simple_cnn"],
                "image": [[1, 8, 8]],
                "num_classes": 10,
                "backends": ["numpy"],
                "batch": [1, 2],
                "threads": 1,
            },
            "checks": {"names": []},
            "measure": {
                "latency": {
                    "launches": 1,
                    "rounds": 2,
                    "samples": 2,
                    "max_round_s": 0.1,
                    "warmup": {"max_s": 0.2},
                    "sequential": {"max_launches": 4} | sequential,
                },
                "memory": False,
                "yardsticks": False,
            },
        }
    )


def of_batch(batch, until):
    """The cells of a batch size go on until they have so many launches."""

    def undecided(timed):
        return frozenset(
            cell.key
            for cell, samples in timed
            if cell.batch == batch and {s.launch for s in samples} < set(range(until))
        )

    return undecided


def launches(result):
    """By batch and side: the launches of the samples on disk."""
    store = RunStore.open(result.folder)
    return {
        (record.cell.batch, record.cell.side): sorted({sample.launch for sample in store.read_samples(name)})
        for name, record in store.records().items()
        if record.status == "ok"
    }


def test_only_what_is_undecided_goes_on(tmp_path):
    result = run(two_sided(plan(suite())), RunOptions(root=tmp_path, undecided=of_batch(2, 3)))
    assert launches(result) == {
        (1, "base"): [0], (1, "head"): [0], (2, "base"): [0, 1, 2], (2, "head"): [0, 1, 2]
    }  # fmt: skip
    assert not any("undecided" in note for note in result.summary.notes)


def test_it_ends_with_the_most_launches_and_says_so(tmp_path):
    result = run(two_sided(plan(suite())), RunOptions(root=tmp_path, undecided=of_batch(1, 99)))
    assert launches(result)[1, "head"] == launches(result)[1, "base"] == [0, 1, 2, 3]
    assert "sampling ended with 1 cells undecided: each has its most launches" in result.summary.notes


def test_it_ends_when_the_time_is_spent(tmp_path):
    result = run(two_sided(plan(suite(budget_s=0.001))), RunOptions(root=tmp_path, undecided=of_batch(1, 99)))
    assert launches(result)[1, "head"] == [0]
    assert "sampling ended with 1 cells undecided: the time is spent" in result.summary.notes


def test_a_run_that_compares_nothing_makes_the_suites_launches(tmp_path):
    result = run(plan(suite()), RunOptions(root=tmp_path))
    assert launches(result) == {(1, "head"): [0], (2, "head"): [0]}


def test_an_interruption_in_a_further_launch_loses_and_repeats_nothing(tmp_path, monkeypatch):
    sample = timing._sample
    seen = []

    def interrupted(session, pool, timed, launch, number):
        if launch == 2 and len(seen) < 100:
            seen.extend(range(100))
            raise KeyboardInterrupt
        sample(session, pool, timed, launch, number)

    monkeypatch.setattr(timing, "_sample", interrupted)
    work, undecided = two_sided(plan(suite())), of_batch(2, 4)
    first = run(work, RunOptions(root=tmp_path, undecided=undecided))
    assert first.summary.interrupted
    parts = {path: path.stat().st_mtime_ns for path in first.folder.glob("cells/*/parts/launch-[01].json")}
    assert len(parts) == 6
    again = run(work, RunOptions(root=tmp_path, resume=first.folder, undecided=undecided))
    assert launches(again) == {
        (1, "base"): [0], (1, "head"): [0], (2, "base"): [0, 1, 2, 3], (2, "head"): [0, 1, 2, 3]
    }  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in parts} == parts


def test_a_side_that_is_missing_is_measured_with_the_other(tmp_path):
    """Rounds pair because they were run at one time: a side that was killed costs the other's launch too."""
    work = two_sided(plan(suite()))
    options = RunOptions(root=tmp_path, undecided=of_batch(2, 1))
    first = run(work, options)
    lost, kept = (next(first.folder.glob(f"cells/*-b1-*{end}/parts/launch-0.json")) for end in ("c10-t1", "base"))
    written = kept.stat().st_mtime_ns
    for name in (lost, kept):
        (name.parents[1] / "record.json").unlink()
    lost.unlink()
    run(work, RunOptions(root=tmp_path, resume=first.folder, undecided=of_batch(2, 1)))
    assert lost.exists()
    assert kept.stat().st_mtime_ns > written


def test_fewer_most_launches_than_launches_are_refused():
    with pytest.raises(ValidationError, match="must be more than launches"):
        suite(max_launches=1)
