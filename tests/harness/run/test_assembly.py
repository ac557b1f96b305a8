"""Whoever was not alone on the machine is told so, where there was enough to see it."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from synthetic_run import synthetic_run

from cnnbench.harness.passes.findings import LaunchPart, Parts, Phases, Sample
from cnnbench.harness.run.assembly import assemble, foreign_load
from cnnbench.harness.run.latencies import CellFigures
from cnnbench.harness.run.record import Observed
from cnnbench.measurement.clock import now_utc
from cnnbench.measurement.observation import Observation

CELL = next(record.cell for record in synthetic_run(seed=1).records if record.latency)


def observed(foreign_s: float, machine_s: float) -> Observed:
    """What a record says of one round in which other processes used so much."""
    seen = Observation(
        wall_s=machine_s / 2, processor_s=machine_s / 2, stolen_s=0.0, machine_s=machine_s, involuntary_switches=0,
        frequency_hz=None, foreign_s=foreign_s,
    )  # fmt: skip
    part = LaunchPart(
        launch=0,
        phases=Phases(),
        steady=True,
        calls_per_sample=1,
        samples=(Sample(launch=0, round=0, index=0, latency_s=0.1),),
        observations=(asdict(seen),),
    )
    parts = Parts(launches=(part,))
    return assemble(CELL, parts, CellFigures(), failure=None, digests=None, started_utc=now_utc()).observed


@pytest.mark.parametrize(("foreign_s", "machine_s", "share"), [(0.5, 2.0, 0.25), (0.0, 2.0, 0.0), (0.02, 0.1, None)])
def test_the_share_of_others_is_known_where_there_was_time_to_see_it(foreign_s, machine_s, share):
    found = observed(foreign_s, machine_s)
    assert found.foreign_fraction == share
    assert any("other processes" in note for note in found.notes) == bool(share)


def test_a_run_says_how_many_cells_were_disturbed_and_how_much():
    records = [record for record in synthetic_run(seed=1).records if record.latency][:3]
    shares = (0.05, 0.3, None)
    disturbed = [
        record.model_copy(update={"observed": record.observed.model_copy(update={"foreign_fraction": share})})
        for record, share in zip(records, shares, strict=True)
    ]
    assert foreign_load(disturbed) == (
        "other processes used up to 30% of the machine while 1 of 3 cells were timed: their latencies say little"
    )
    assert foreign_load(disturbed[::2]) is None
    assert foreign_load([]) is None
