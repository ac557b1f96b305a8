"""``cnnbench ui`` serves the store that the run was logged to, and opens a comparison that is there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cnnbench.cli.entry import execute
from cnnbench.output import mlflow_ui
from cnnbench.output.recorders.mlflow import MARK, Logged
from cnnbench.output.recorders.mlflow_store import tracking_uri


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the server is asked to serve, by the store's name that it comes to."""
    found: dict[str, Any] = {}

    def serve(*, uri: str | None, logged: Logged | None, **more: Any) -> None:
        store = tracking_uri(uri or (logged.tracking_uri if logged else None))
        found.update(store=Path(store).name if "sqlite" in store else store, run=logged.run_id if logged else None)

    monkeypatch.setattr(mlflow_ui, "serve", serve)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return found


def logged(run: str, uri: str) -> None:
    folder = Path("reports/runs/s") / run
    (folder / "cells").mkdir(parents=True)
    (folder / MARK).write_text(json.dumps(asdict(Logged(uri, "1", run, "v", True))), encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "variable", "store", "run"),
    [
        ("", None, "other.db", "b"),  # where the newest run is
        ("a", None, "first.db", "a"),
        ("", "sqlite:///first.db", "first.db", "a"),  # the newest that is there
        ("--tracking-uri sqlite:///first.db", None, "first.db", "a"),
        ("--tracking-uri sqlite:///none.db", None, "none.db", None),
        ("b", "sqlite:///first.db", "other.db", "b"),  # a run that is named stands before the variable
        ("b --tracking-uri sqlite:///other.db", "sqlite:///first.db", "other.db", "b"),
    ],
)
def test_the_store_that_is_served_holds_the_comparison_that_is_opened(
    served: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    line: str,
    variable: str | None,
    store: str,
    run: str | None,
) -> None:
    logged("a", f"sqlite:///{tmp_path}/first.db")
    logged("b", "sqlite:///other.db")
    if variable is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    assert execute(["ui", *line.split()]) == 0
    assert served == {"store": store, "run": run}


def test_a_run_of_another_store_than_the_one_named_is_refused(
    served: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    logged("a", "sqlite:////x/first.db")
    assert execute(["ui", "a", "--tracking-uri", "http://user:s3cret@host"]) == 2
    message = capsys.readouterr().err
    assert "sqlite:////x/first.db" in message
    assert "s3cret" not in message
    assert served == {}


def test_a_run_that_was_not_logged_is_refused(served: dict[str, Any]) -> None:
    Path("reports/runs/s/c/cells").mkdir(parents=True)
    assert execute(["ui", "c"]) == 2


def test_the_password_of_a_server_comes_from_the_address_that_is_given(
    served: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark holds none, so the address with it is used where it is the run's."""
    logged("a", "http://host:5000")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:s3cret@host:5000/")
    assert execute(["ui", "a"]) == 0
    assert served == {"store": "http://user:s3cret@host:5000/", "run": "a"}
