"""A target of a training on its way: into words, tables, frames, MLflow, JUnit and the exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_run import Truth, synthetic_run, write_run

import cnnbench
from cnnbench.cli.progress import outcome
from cnnbench.gates.evidence import Evidence
from cnnbench.harness.run.record import Record
from cnnbench.harness.run.summary import exit_code
from cnnbench.output.junit import run_cases
from cnnbench.output.recorders.mlflow_training import final_scores
from cnnbench.output.report import gather
from cnnbench.output.tables import problems_table, status_entry
from cnnbench.output.training_words import training_findings
from cnnbench.training.target import Target

WANTED = Target(metric="accuracy", value=0.9)
MISSED = "the target was not reached: accuracy of at least 0.9 in"


def trained(target: Target | None) -> tuple[Evidence, Record]:
    """A run of which one record trained, and that record."""
    run = synthetic_run(Truth(seed=1))
    record = next(record for record in run.records if record.training is not None)
    assert record.training is not None
    record = record.model_copy(update={"training": record.training.model_copy(update={"target": target})})
    return replace(run, records=(record,)), record


@pytest.fixture
def reached() -> tuple[Evidence, Record]:
    return trained(WANTED.model_copy(update={"epochs_to_target": 2, "time_to_target_s": 1.5}))


@pytest.fixture
def missed() -> tuple[Evidence, Record]:
    return trained(WANTED)


def columns(run: Evidence) -> dict[str, str]:
    table = next(table for table in gather(run).tables if table.title == "Training")
    return {column.name: entry.text for column, entry in zip(table.columns, table.rows[0], strict=True)}


def test_a_target_that_was_reached_has_its_epochs_and_its_time(
    reached: tuple[Evidence, Record], tmp_path: Path
) -> None:
    run, record = reached
    assert record.inconclusive is None
    assert exit_code([record]) == 0
    said = "accuracy of at least 0.9 was reached after 2 epochs, 1.50 s of training steps"
    assert said in training_findings([record])[0]
    found = columns(run)
    assert [found[name] for name in ("target", "epochs to target", "time to target")] == [
        "accuracy of at least 0.9", "2", "1.50 s",
    ]  # fmt: skip
    assert record.training is not None
    found_at = {"epochs_to_target": 2, "time_to_target_s": 1.5}
    assert found_at.items() <= final_scores(record.training).items()
    row = cnnbench.results(write_run(run, tmp_path)).iloc[0]
    assert (row["target"], row["epochs_to_target"], row["time_to_target_s"]) == (0.9, 2, 1.5)
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_a_target_that_was_missed_is_no_silent_success(missed: tuple[Evidence, Record], tmp_path: Path) -> None:
    run, record = missed
    assert record.status == "ok"
    assert record.inconclusive is not None
    assert record.inconclusive.startswith(MISSED)
    assert exit_code([record]) == 5
    assert MISSED in outcome(record)
    assert MISSED in training_findings([record])[0]
    assert MISSED in problems_table([record]).rows[0][-1].text
    assert status_entry(record).text == "inconclusive"
    (case,) = [case for case in run_cases([record]) if case.name == "cell"]
    assert (case.outcome, case.message.startswith(MISSED)) == ("skipped", True)
    report = gather(run)
    assert [(tile.value, tile.label) for tile in report.tiles if "target" in tile.label] == [
        ("1", "trainings missed their target")
    ]
    found = columns(run)
    assert (found["epochs to target"], found["time to target"]) == ("not reached", "–")
    row = cnnbench.results(write_run(run, tmp_path)).iloc[0]
    assert row["reason"].startswith(MISSED)


def test_a_training_without_a_target_ends_as_ever() -> None:
    run, record = trained(None)
    assert (record.inconclusive, exit_code([record])) == (None, 0)
    assert "target" not in training_findings([record])[0]
    assert columns(run)["target"] == "–"
    assert record.training is not None
    assert not {"epochs_to_target", "time_to_target_s"} & set(final_scores(record.training))
