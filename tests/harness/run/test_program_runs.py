"""A run whose cell trains by a program, in a real worker: it is checked, trained, recorded, and taken up again."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest

from cnnbench.harness.passes import picture_judge
from cnnbench.harness.passes.facts import PassFacts
from cnnbench.harness.passes.findings import Evaluation, Parts, Training
from cnnbench.harness.passes.material import Materials
from cnnbench.harness.passes.picture_judge import PictureJudge
from cnnbench.harness.passes.program_training import wrong_program
from cnnbench.harness.passes.training import EXAMPLES_FILE
from cnnbench.harness.passes.work import Work
from cnnbench.harness.run.runner import RunOptions, run
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan
from cnnbench.harness.worker.arrays import read_arrays
from cnnbench.harness.worker.protocol.programs import PICTURES
from cnnbench.harness.worker.protocol.training import TEST_IMAGES
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")
SUITE = {
    "schema_version": 1,
    "name": "programs",
    "matrix": {"architectures": "conv_vae", "backends": "numpy", "threads": 1},
    "checks": {"names": ["determinism"]},
    "measure": {"latency": None, "memory": False, "yardsticks": False},
    "programs": {"program": "conv_vae", "rounds": 3, "batch": 4, "train_images": 8},
}


@pytest.mark.slow
def test_a_cell_trains_by_its_program_and_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_judge, "EPOCHS", 1)
    monkeypatch.setattr(picture_judge, "LEAST_ACCURACY", 1.0)
    asked = plan(Suite.model_validate(SUITE))
    result = run(asked, RunOptions(root=tmp_path))
    (record,) = result.records
    outcomes = {outcome.name: outcome.status for outcome in record.checks}
    assert outcomes == {"determinism": "passed", "program": "passed"}
    assert record.training is not None
    assert len(record.training.losses) == 3
    assert record.training.phases == ("bound",)
    assert [epoch.step for epoch in record.training.epochs] == [1, 2, 3]
    assert record.training.evaluation is not None
    assert (record.training.evaluation.images, record.training.evaluation.differing) == (8, ())
    assert any("pictures" in note and "too little to judge pictures by" in note for note in result.summary.notes)
    pictures = read_arrays(result.folder / "cells" / record.cell.id / EXAMPLES_FILE)[PICTURES]
    assert pictures.shape == (16, 1, 28, 28)
    assert 0 <= pictures.min() < pictures.max() <= 1
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


def test_pictures_that_numpy_does_not_make_are_a_mismatch():
    apart = Evaluation(images=8, near_ties=0, differing=(2,), compared="outputs", allowed=1e-3, largest=0.4)
    found = wrong_program(Training(epochs=(), losses=(1.0,), phases=("bound",), evaluation=apart))
    assert found is not None
    assert found.status == "mismatch"
    assert "1 of 8" in found.reason


@pytest.mark.slow
def test_real_digits_are_recognised_and_noise_is_not(tmp_path):
    """The classifier that judges pictures, on pictures of which the truth is known."""
    cell = plan(Suite.model_validate(SUITE)).cells[0]
    with contextlib.closing(Materials()) as materials:
        facts = PassFacts(
            Suite.model_validate(SUITE), materials, found=lambda cell: Parts(), folder=lambda cell: tmp_path
        )
        with Work(facts, lambda event: None) as work, work.pool() as pool:
            judge = PictureJudge(work, pool)
            real = load_dataset("digits", DataRequest("test", (1, 28, 28), 300, 0)).images
            shares = (real - real.min()) / (real.max() - real.min())
            noise = np.random.default_rng(0).uniform(size=real.shape)
            found = {
                name: {score.metric: score.value for score in judge.scores(cell, "digits", images, (0.0, 1.0))}
                for name, images in (("real", shares), ("noise", noise), ("one", np.repeat(shares[:1], 300, 0)))
            }
    assert found["real"]["recognised"] > 0.9
    assert found["real"]["covered_classes"] == 10
    assert found["one"]["covered_classes"] <= 1
    assert found["noise"]["recognised"] < 0.8
    assert found["real"]["frechet_distance"] < 0.1 * found["noise"]["frechet_distance"]
    assert found["real"]["frechet_distance"] < 0.1 * found["one"]["frechet_distance"]


@pytest.mark.slow
def test_translations_are_held_against_their_counterparts_and_shown_beside_their_images(tmp_path):
    matrix = {"architectures": "cyclegan_generator_tiny", "backends": "numpy", "threads": 1, "image": [[3, 16, 16]]}
    programs = {"program": "cyclegan_tiny", "rounds": 1, "batch": 2}
    asked = plan(Suite.model_validate({**SUITE, "matrix": matrix, "programs": programs}))
    result = run(asked, RunOptions(root=tmp_path))
    (record,) = result.records
    assert record.training is not None
    assert {score.metric for score in record.training.epochs[-1].metrics} == {"psnr", "reconstruction_error"}
    assert record.training.evaluation is not None
    assert record.training.evaluation.differing == ()
    shown = read_arrays(result.folder / "cells" / record.cell.id / EXAMPLES_FILE)
    images = load_dataset("digits_a", DataRequest("test", (3, 16, 16))).images
    np.testing.assert_array_equal(shown[TEST_IMAGES], images[:16])
    assert shown["image"].shape == (16, 3, 16, 16)
