"""Throughput over the batch size, legends beside lines, and the verdict on a training run in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from synthetic_run import Truth, synthetic_run, write_run

from cnnbench.harness.run.record import Record
from cnnbench.numerics.training_envelope import CurveAgreement
from cnnbench.output.memory_curve import memory_by_batch
from cnnbench.output.palette import colours
from cnnbench.output.reports import read_report, write_reports
from cnnbench.output.throughput_curve import throughput_by_batch, throughput_curves
from cnnbench.output.training_words import training_findings


def test_a_program_at_several_batches_has_a_curve_by_rising_batch(tmp_path: Path) -> None:
    run = synthetic_run(Truth(seed=1, batches=(32, 1, 8)))
    curves = throughput_curves(run.records)
    assert curves
    for members in (one for found in curves.values() for one in found):
        assert [record.cell.batch for record in members] == [1, 8, 32]
    page = write_reports(write_run(run, tmp_path))["report.html"].read_text()
    assert '<section id="throughput">' in page


def test_one_batch_size_makes_no_chart(tmp_path: Path) -> None:
    run = synthetic_run(Truth(seed=1, batches=(8,)))
    assert throughput_curves(run.records) == {}
    assert "Throughput by batch size" not in write_reports(write_run(run, tmp_path))["report.html"].read_text()


@pytest.mark.parametrize("draw", [throughput_by_batch, memory_by_batch])
def test_legends_stand_beside_the_lines(draw: Any) -> None:
    run = synthetic_run(Truth(seed=1, batches=(1, 8, 32)))
    figure = draw(run.records, colours(record.cell for record in run.records))
    figure.draw_without_rendering()
    shown = [axis for axis in figure.axes if axis.get_legend() is not None]
    assert shown
    for axis in shown:
        assert axis.get_legend().get_window_extent().x0 >= axis.get_window_extent().x1


def trained(envelope: CurveAgreement | None) -> list[Record]:
    record = next(r for r in synthetic_run(Truth(seed=1)).records if r.training is not None)
    training = record.training.model_copy(update={"envelope": envelope, "test_accuracy": 0.972})
    return [record.model_copy(update={"training": training})]


def facts(agrees: bool | None, parts_at: int | None) -> CurveAgreement:
    return CurveAgreement(
        steps_compared=40, steps=60, used=0.12, worst_step=7, parts_at=parts_at, agrees=agrees, middle=(), spread=()
    )


@pytest.mark.parametrize(
    ("envelope", "said"),
    [
        (facts(True, None), "agrees with the reference's over 40 of 60 steps (12.0 % of"),
        (facts(False, 2), "does not agree with the reference's: it parts from it at step 2"),
        (facts(None, 31), "up to step 30 and then parts from it, as right curves may"),
        (facts(None, None), "no step of the curve can be compared"),
        (None, "was compared with no reference"),
    ],
)
def test_the_verdict_on_a_training_run_is_a_sentence(envelope: CurveAgreement | None, said: str) -> None:
    (sentence,) = training_findings(trained(envelope))
    assert said in sentence
    assert "resnet20" in sentence
    assert "test accuracy 97.2 %" in sentence


def test_the_report_has_the_sentence(tmp_path: Path) -> None:
    folder = write_run(synthetic_run(Truth(seed=1)), tmp_path)
    assert any("the curve was compared with no reference" in text for text in read_report(folder).findings)
