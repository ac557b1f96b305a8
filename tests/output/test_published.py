"""The published page of a run: no empty entry, a dot for every figure, names that stay text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from synthetic_run import synthetic_run, write_run

from cnnbench.cli.entry import execute
from cnnbench.gates.agreement import agreements
from cnnbench.gates.evidence import Evidence
from cnnbench.harness.run.record import Record
from cnnbench.output.labels import label
from cnnbench.output.published import publish

SVG = "{http://www.w3.org/2000/svg}"


def published(run: Evidence, folder: Path) -> dict[str, str]:
    files = publish(write_run(run, folder / "runs"), folder / "page")
    return {name: path.read_text() for name, path in files.items()}


def rows(page: str, heading: str) -> list[list[str]]:
    """The entries of the table below a heading, its head first."""
    section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[entry.strip() for entry in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if "---" not in line]


def broken(run: Evidence) -> Evidence:
    """The first timed record crashed."""
    first = next(record for record in run.records if record.latency)

    def of(record: Record) -> Record:
        if record is not first:
            return record
        reason = "its worker died of <b>signal</b> 9"
        update = {"status": "crashed", "reason": reason, "latency": None, "memory": None, "metrics": {}}
        return record.model_copy(update=update)

    return replace(run, records=tuple(of(record) for record in run.records))


@pytest.fixture(scope="module")
def run() -> Evidence:
    whole = synthetic_run(seed=1)
    timed = tuple(record for record in whole.records if record.latency)
    records = tuple(record.model_copy(update={"metrics": {"gmac_per_s": 40.0}}) for record in timed)
    return replace(whole, records=records, yardsticks={"matrix_product_gflop_per_s": 160.0})


def test_every_network_has_a_figure_of_every_backend(run: Evidence, tmp_path: Path) -> None:
    page = published(run, tmp_path)[f"{run.suite}.md"]
    labels = {label(record.cell) for record in run.records}
    groups = {record.cell.group for record in run.records}
    for heading in ("Latency", "Peak memory", "Share of the machine's matrix product", "Error budget used"):
        head, *body = rows(page, heading)
        assert head[0] == "network"
        assert set(head[1:]) == labels
        assert len(body) == len(groups)
        assert all(entry not in ("", "–") for line in body for entry in line), heading


def test_a_cell_without_a_figure_says_why_and_stays_text(run: Evidence, tmp_path: Path) -> None:
    page = published(broken(run), tmp_path)[f"{run.suite}.md"]
    entries = [entry for line in rows(page, "Latency")[1:] for entry in line[1:]]
    assert entries.count("crashed: its worker died of &lt;b&gt;signal&lt;/b&gt; 9") == 1
    each = len(run.records) // 4
    ended = {line[0]: line[1] for line in rows(page, "The backends side by side")[1:]}
    assert ended.pop("numpy fast") == f"**{each - 1} / {each}**"
    assert set(ended.values()) == {f"{each} / {each}"}


def test_a_page_says_when_others_used_the_machine(run: Evidence, tmp_path: Path) -> None:
    """What makes latencies doubtful stands above them here as in a run's own report."""
    doubt = "other processes used up to 91% of the machine"
    assert doubt not in published(run, tmp_path)[f"{run.suite}.md"]
    busy = tuple(
        record.model_copy(update={"observed": record.observed.model_copy(update={"foreign_fraction": 0.91})})
        for record in run.records
    )
    page = published(replace(run, records=busy), tmp_path / "busy")[f"{run.suite}.md"]
    assert doubt in page
    assert page.index(doubt) < page.index("## Latency")


def test_rows_of_one_network_are_told_apart(run: Evidence, tmp_path: Path) -> None:
    """By everything in which they differ, and by nothing else."""
    changed = [
        record.model_copy(
            update={
                "cell": record.cell.model_copy(
                    update={
                        "precision": precision,
                        "group": f"{record.cell.group}-{precision}",
                        "id": f"{record.cell.id}-{precision}",
                    }
                )
            }
        )
        for record in run.records
        for precision in ("float32", "bfloat16")
    ]
    page = published(replace(run, records=tuple(changed), samples={}, budgets={}), tmp_path)[f"{run.suite}.md"]
    names = [line[0] for line in rows(page, "Latency")[1:]]
    assert len(names) == len(set(names)) == 2 * len({record.cell.group for record in run.records})
    assert all(name.endswith((", float32", ", bfloat16")) for name in names)


def test_trainings_of_one_network_are_told_apart(tmp_path: Path) -> None:
    """Each with its own figures, not those of another size of the same name."""
    whole = synthetic_run(seed=1, accuracy={"jax": 0.5})
    trained = [record for record in whole.records if record.training is not None]

    def at(record: Record, image: tuple[int, ...], accuracy: float) -> Record:
        update = {"image": image, "graph_digest": str(image), "id": f"{record.cell.id}-{image[-1]}"}
        training = record.training.model_copy(update={"test_accuracy": accuracy})
        return record.model_copy(update={"cell": record.cell.model_copy(update=update), "training": training})

    small = [at(record, (1, 8, 8), 0.25) for record in trained if record.cell.backend != "jax"]
    large = [at(record, (1, 16, 16), record.training.test_accuracy) for record in trained]
    page = published(replace(whole, records=(*small, *large), samples={}, budgets={}), tmp_path)[f"{whole.suite}.md"]
    head, *lines = rows(page, "Accuracy")
    found = {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}
    assert set(found) == {"resnet20 1x8x8", "resnet20 1x16x16"}
    eager = "torch eager"
    assert [found[f"resnet20 {size}"][eager] for size in ("1x8x8", "1x16x16")] == ["25.0 %", "96.9 %"]
    assert [found[f"resnet20 {size}"]["backends"] for size in ("1x8x8", "1x16x16")] == ["agree", "differ"]


def test_trainings_on_several_numbers_of_threads_are_told_apart(tmp_path: Path) -> None:
    whole = synthetic_run(seed=1)
    trained = [record for record in whole.records if record.training is not None]

    def at(record: Record, threads: int, accuracy: float) -> Record:
        cell = record.cell.model_copy(update={"threads": threads, "id": f"{record.cell.id}-t{threads}"})
        training = record.training.model_copy(update={"test_accuracy": accuracy})
        return record.model_copy(update={"cell": cell, "training": training})

    records = tuple(at(record, threads, 0.25 * threads) for threads in (1, 2) for record in trained)
    page = published(replace(whole, records=records, samples={}, budgets={}), tmp_path)[f"{whole.suite}.md"]
    lines = rows(page, "Accuracy")[1:]
    assert [line[:2] for line in lines] == [["resnet20 threads 1", "25.0 %"], ["resnet20 threads 2", "50.0 %"]]
    (found,) = (item for item in agreements(records) if item.metric == "accuracy")
    assert len(found.backends) == 2 * len(trained)


def test_charts_have_a_dot_for_every_figure(run: Evidence, tmp_path: Path) -> None:
    files = published(broken(run), tmp_path)
    for name in ("latency", "memory", "speed"):
        text = files[f"{run.suite}-{name}.svg"]
        assert f"({run.suite}-{name}.svg)" in files[f"{run.suite}.md"]
        root = ElementTree.fromstring(text)
        collections = [g for g in root.iter(f"{SVG}g") if "PathCollection" in g.get("id", "")]
        drawn = sum(len(list(g.iter(f"{SVG}use"))) for g in collections)
        legend = len({label(record.cell) for record in run.records})
        assert drawn == len(run.records) - 1 + legend


def test_shares_are_of_the_matrix_product_of_the_same_run(run: Evidence, tmp_path: Path) -> None:
    page = published(run, tmp_path)[f"{run.suite}.md"]
    shares = {entry for line in rows(page, "Share of the machine's matrix product")[1:] for entry in line[1:]}
    assert shares == {"50.0 %"}


def test_the_command_writes_the_page(run: Evidence, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_run(run, tmp_path / "runs")
    assert execute(["report", str(folder), "--publish", str(tmp_path / "out" / "deep")]) == 0
    assert str(tmp_path / "out" / "deep" / f"{run.suite}.md") in capsys.readouterr().out
    assert (tmp_path / "out" / "deep" / f"{run.suite}-latency.svg").exists()


def test_nothing_says_whose_machine_it_was(run: Evidence, tmp_path: Path) -> None:
    known = {"cores": 2, "packages": {"numpy": "2.4.6"}}
    secret = {"python_executable": "/home/someone/bin/python", "variables": {"CNNBENCH_CACHE": "/home/someone/cache"}}
    page = published(replace(run, environment={**run.environment, **known, **secret}), tmp_path)[f"{run.suite}.md"]
    assert "someone" not in page
    assert "* cores:" in page
    assert "* packages.numpy:" in page
