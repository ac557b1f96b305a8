"""MLflow's own page in a browser: the saved views open ready-made, with every backend in its colour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import bars, chrome, missing, until
from many_cells import recorded_run
from synthetic_run import BACKENDS, synthetic_run, write_run

from cnnbench.output.mlflow_ui import MlflowServer
from cnnbench.output.palette import colours
from cnnbench.output.recorders.mlflow import Logged, log_run
from cnnbench.output.recorders.mlflow_views import view_fragment

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Logged]:
    folder = tmp_path_factory.mktemp("browser")
    uri = f"sqlite:///{folder}/mlflow.db"
    return uri, log_run(write_run(synthetic_run(seed=3), folder), uri)


@pytest.fixture(scope="module")
def server(store: tuple[str, Logged], tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(store[0], 5700, tmp_path_factory.mktemp("server") / "log") as running:
        yield running


def test_the_comparison_link_shows_a_bar_of_every_backend_in_its_colour(
    store: tuple[str, Logged], server: MlflowServer
) -> None:
    run = synthetic_run(seed=3)
    expected = colours(record.cell for record in run.records)
    with chrome() as driver:
        driver.get(store[1].comparison(server.url))
        charts = until(driver, bars)
        text = driver.find_element("tag name", "body").text

    fastest_first = ["torch eager", "jax jit", "tensorflow graph", "numpy fast"]
    assert charts[0] == [expected[name] for name in fastest_first]
    for name in fastest_first:
        assert f"{name} resnet50"[:20] in text
    assert len(BACKENDS) == len(set(charts[0]))


def test_the_table_view_shows_metrics_that_are_hidden_by_default(
    store: tuple[str, Logged], server: MlflowServer
) -> None:
    with chrome() as driver:
        driver.get(server.url + view_fragment(store[1].experiment_id, "cnnbench-table", charts=False))
        until(driver, lambda page: "err_budget_pct" in page.find_element("tag name", "body").text)
        assert "p50_ms" in driver.find_element("tag name", "body").text


@pytest.mark.slow
def test_the_views_of_a_thousand_cells_load(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    logged = log_run(recorded_run(tmp_path / "runs", 1000), uri)
    with MlflowServer(uri, 5701, tmp_path / "log") as running, chrome() as driver:
        driver.get(logged.comparison(running.url))
        assert until(driver, bars)
        driver.get("about:blank")
        driver.get(running.url + view_fragment(logged.experiment_id, "cnnbench-table", charts=False))
        until(driver, lambda page: "p50_ms" in page.find_element("tag name", "body").text)


@pytest.mark.parametrize(("view", "metric"), [("cnnbench-scaling", "p50_ms"), ("cnnbench-training", "train/loss")])
def test_curves_are_drawn_as_lines(store: tuple[str, Logged], server: MlflowServer, view: str, metric: str) -> None:
    with chrome() as driver:
        driver.get(server.url + view_fragment(store[1].experiment_id, view))
        lines = until(driver, lambda page: page.find_elements("css selector", ".scatterlayer .js-line"))
        assert metric in driver.find_element("tag name", "body").text
    assert len(lines) >= len(BACKENDS)


def test_the_report_is_shown_among_the_artifacts(store: tuple[str, Logged], server: MlflowServer) -> None:
    with chrome() as driver:
        driver.get(store[1].report(server.url))
        frame = until(driver, lambda page: page.find_elements("tag name", "iframe"))[0]
        driver.switch_to.frame(frame)
        until(driver, lambda page: "error budget" in page.find_element("tag name", "body").text)
        assert driver.find_elements("css selector", "figure svg")
