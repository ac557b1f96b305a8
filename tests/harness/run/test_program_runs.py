"""A run whose cell trains by a program, in a real worker: it is checked, trained, recorded, and taken up again."""

from __future__ import annotations

import sys

import pytest

from cnnbench.harness.passes.findings import Training
from cnnbench.harness.passes.program_training import wrong_program
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
SUITE = {
    "schema_version": 1,
    "name": "programs",
    "matrix": {"architectures": "conv_vae", "backends": "numpy", "threads": 1},
    "checks": {"names": ["determinism"]},
    "measure": {"latency": None, "memory": False, "yardsticks": False},
    "programs": {"program": "conv_vae", "rounds": 3, "batch": 4, "train_images": 8},
}


def test_a_cell_trains_by_its_program_and_is_not_trained_again(tmp_path):
    asked = plan(Suite.model_validate(SUITE))
    result = run(asked, RunOptions(root=tmp_path))
    (record,) = result.records
    outcomes = {outcome.name: outcome.status for outcome in record.checks}
    assert outcomes == {"determinism": "passed", "program": "passed"}
    assert record.training is not None
    assert len(record.training.losses) == 3
    assert record.training.phases == ("bound",)
    assert [epoch.step for epoch in record.training.epochs] == [1, 2, 3]
    assert record.digests is not None
    assert record.digests.program is not None
    assert record.digests.start != record.digests.weights
    (result.folder / "cells" / record.cell.id / "record.json").unlink()
    (again,) = run(asked, RunOptions(root=tmp_path, resume=result.folder)).records
    assert again.training == record.training, "its seconds, too: it was not trained anew"


def test_a_loss_that_is_no_number_is_named_by_round_and_phase():
    training = Training(epochs=(), losses=(1.0, 2.0, 1.5, float("nan")), phases=("judge", "maker"))
    found = wrong_program(training)
    assert found is not None
    assert found.status == "nan"
    assert found.reason == "the loss of phase 'maker' is not finite in round 2"
    assert wrong_program(training.model_copy(update={"losses": (1.0, 2.0)})) is None
