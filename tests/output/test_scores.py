"""Scores of test images on their way: epochs, words, tables, MLflow, frames, charts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_run import synthetic_run, write_run

import cnnbench
from cnnbench.output.charts import training_curves
from cnnbench.output.published import publish
from cnnbench.output.published_training import training_table
from cnnbench.output.recorders.mlflow_training import final_scores, training_lines, training_points
from cnnbench.output.report import gather
from cnnbench.output.score_tables import score_table
from cnnbench.output.training_words import training_findings
from cnnbench.training.metrics.score import Score

IOU = Score(metric="mean_iou", value=0.912, low=0.89, high=0.93, images=50, per_image={"kind": "mean", "figures": [1]})
ERROR = Score(metric="reconstruction_error", value=None, images=50, higher_is_better=False)


@pytest.fixture
def run():
    """A run whose training segments."""
    made = synthetic_run()
    records = []
    for record in made.records:
        if record.training is not None:
            epochs = tuple(
                epoch.model_copy(update={"test_accuracy": None, "metrics": (IOU, ERROR)})
                for epoch in record.training.epochs
            )
            training = record.training.model_copy(
                update={"test_accuracy": None, "epochs": epochs, "predictions": (), "targets": ()}
            )
            record = record.model_copy(update={"training": training})
        records.append(record)
    return replace(made, records=tuple(records))


def trained(run):
    return [record for record in run.records if record.training is not None]


def test_an_epoch_says_what_it_reached(run):
    epoch = trained(run)[0].training.epochs[0]
    assert epoch.in_words == "mean_iou 0.912, reconstruction_error undefined"
    assert epoch.model_copy(update={"metrics": (), "test_loss": 0.25}).in_words == "test loss 0.25"
    assert epoch.model_copy(update={"metrics": (), "test_accuracy": 0.5}).in_words == "test accuracy 50.00%"
    assert "mean_iou 0.912" in training_findings(run.records)[0]


def test_a_record_keeps_its_scores(run):
    record = trained(run)[0]
    assert type(record).model_validate_json(record.model_dump_json()).training.metrics == (IOU, ERROR)


def test_the_report_has_a_table_of_scores(run):
    table = score_table(run.records)
    assert table in gather(run).tables
    assert len(table.rows) == 2 * len(trained(run))
    assert [entry.text for entry in table.rows[0]][3:] == ["0.912", "0.89", "0.93", "50", "higher"]
    assert [entry.text for entry in table.rows[-1]][3:] == ["–", "–", "–", "50", "lower"]
    assert not score_table([record for record in run.records if record.training is None])


def test_mlflow_gets_each_epoch_s_scores(run):
    training = trained(run)[0].training
    points = [point for point in training_points(training) if point[0] == "train/test_mean_iou"]
    assert points == [("train/test_mean_iou", 0.912, epoch.step) for epoch in training.epochs]
    assert final_scores(training)["test_mean_iou"] == 0.912
    assert training_lines(run.records)[3:5] == ("train/test_mean_iou", "train/test_reconstruction_error")


def test_mlflow_gets_each_epoch_s_speed(run):
    training = trained(run)[0].training
    points = [point for point in training_points(training) if point[0] in ("train/img_per_s", "train/data_wait_pct")]
    assert points == [
        (name, pytest.approx(value), epoch.step)
        for epoch, share in zip(training.epochs, (0.5 / 4.5, 1 / 5, 1.5 / 5.5), strict=True)
        for name, value in (("train/img_per_s", 320.0), ("train/data_wait_pct", 100 * share))
    ]
    assert training_lines(run.records)[-2:] == ("train/img_per_s", "train/data_wait_pct")
    last = final_scores(training)
    assert (last["train_img_per_s"], last["train_peak_mb"]) == (320.0, 3.0)
    assert last["data_wait_pct"] == pytest.approx(100 * 2.5 / 10.5)


def test_tables_frames_and_sentences_have_the_speed_of_a_training(run, tmp_path):
    """Of the epochs after the first, whose first step compiles: 2,560 images in 8 s, and 2.5 s more for their data."""
    record = trained(run)[0]
    assert "; 320 images/s, 23.8 % of the time waiting for data; " in training_findings([record])[0]
    table = training_table(trained(run))
    shown = dict(zip([column.name for column in table.columns], [entry.text for entry in table.rows[0]], strict=True))
    spent = [shown[name] for name in ("images/s", "waiting for data", "peak memory")]
    assert spent == ["320", "23.8 %", "3.00 MiB"]
    frame = cnnbench.results(write_run(run, tmp_path))
    row = frame[frame["training_images_per_s"].notna()].iloc[0]
    assert (row["training_images_per_s"], row["training_data_share"]) == (320.0, pytest.approx(2.5 / 10.5))
    assert row["training_memory_bytes"] == 3 * 2**20
    epochs = tuple(epoch.model_copy(update={"images": None}) for epoch in record.training.epochs)
    old = record.training.model_copy(update={"peak_bytes": None, "epochs": epochs})
    before = record.model_copy(update={"training": old})
    assert "images/s" not in training_findings([before])[0]
    assert [entry.text for entry in training_table([before]).rows[0]].count("–") >= 2


def test_frames_have_the_scores_with_their_intervals(run, tmp_path):
    frame = cnnbench.results(write_run(run, tmp_path))
    row = frame[frame["test_mean_iou"].notna()].iloc[0]
    assert (row["test_mean_iou"], row["test_mean_iou_low"], row["test_mean_iou_high"]) == (0.912, 0.89, 0.93)


def test_the_training_chart_shows_the_first_metric(run):
    colours = {record.cell.series: "#000000" for record in run.records}
    figure = training_curves(trained(run), colours)
    assert figure.axes[2].get_title() == "test mean_iou"
    assert list(figure.axes[2].lines[0].get_ydata()) == [0.912] * 3


def test_a_published_page_shows_what_was_learnt(run, tmp_path):
    """Figures with intervals, backends beside each other on the same images, time of training, drawn test images."""
    kept = [{"kind": "mean", "figures": figures} for figures in ([1.0, 0.5, 0.75, 0.25], [0.5, 0.5, 0.75, 0.25])]
    records, number = [], 0
    for record in run.records:
        if record.training is not None:
            score = IOU.model_copy(update={"per_image": kept[min(number, 1)], "images": 4})
            epochs = [epoch.model_copy(update={"metrics": (score, ERROR)}) for epoch in record.training.epochs]
            record = record.model_copy(
                update={"training": record.training.model_copy(update={"epochs": tuple(epochs)})}
            )
            number += 1
        records.append(record)
    folder = write_run(replace(run, records=tuple(records)), tmp_path / "runs")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "0-resnet20.png").write_bytes(b"drawn")
    files = publish(folder, tmp_path / "page")
    page = files[f"{run.suite}.md"].read_text()
    assert "0.9120 [0.8900, 0.9300]" in page
    assert "-0.1250 [-0.6512, +0.4012]" in page  # Student's t of three degrees, 3.182, times 0.1654
    assert page.count(" min |") == len(trained(run))
    assert f"({run.suite}-0-resnet20.png)" in page
    assert files[f"{run.suite}-0-resnet20.png"].read_bytes() == b"drawn"
    assert f"({run.suite}-training.svg)" in page
    assert f"{run.suite}-training.svg" in files
