"""Plans 10,000 cells, reports and logs 1,000 recorded ones, runs 200: seconds, memory, share of asked work.

    python benchmarks/many_cells.py [plan] [report] [mlflow] [run]

Each command runs in a process of its own; processor seconds are of that process, which other load does not change.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from many_cells import Used, measured, recorded_run, suite_of


def told(what: str, used: Used) -> None:
    """Prints one line."""
    print(
        f"{what}: {used.wall_s:.2f} s, {used.processor_s:.2f} s of processor, {used.peak_bytes / 2**20:.0f} MiB",
        flush=True,
    )


def in_mlflow(folder: Path, cells: int) -> None:
    """Logs a run and opens its views in a browser."""
    from browser import bars, chrome

    from cnnbench.output.mlflow_ui import MlflowServer
    from cnnbench.output.recorders.mlflow import log_run
    from cnnbench.output.recorders.mlflow_views import view_fragment

    uri = f"sqlite:///{folder}/mlflow.db"
    run = recorded_run(folder / "logged", cells)
    start = time.perf_counter()
    logged = log_run(run, uri)
    print(f"log {cells} cells: {time.perf_counter() - start:.1f} s", flush=True)
    table = view_fragment(logged.experiment_id, "cnnbench-table", charts=False)
    with MlflowServer(uri, 5710, folder / "server.log") as server, chrome() as driver:
        for what, address, shown in (
            ("the comparison's bars", logged.comparison(server.url), bars),
            ("the table", server.url + table, lambda page: "p50_ms" in page.find_element("tag name", "body").text),
        ):
            driver.get("about:blank")
            print(f"{what} of {cells} cells: {seconds_until(driver, address, shown):.1f} s", flush=True)


def seconds_until(driver: Any, address: str, shown: Callable[[Any], Any]) -> float:
    """From opening a page until it shows what is wanted."""
    from browser import until

    start = time.perf_counter()
    driver.get(address)
    until(driver, shown, seconds=120)
    return time.perf_counter() - start


def main() -> None:
    """Prints one line for each measurement."""
    wanted = sys.argv[1:] or ["plan", "report", "mlflow", "run"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "plan" in wanted:
            (folder / "plan.yaml").write_text(json.dumps(suite_of(10_000)))
            used = measured(folder, "plan", "plan.yaml")
            told(used.output.splitlines()[-1], used)
        if "report" in wanted:
            run = recorded_run(folder / "runs", 1000)
            told("report of 1000 cells", measured(folder, "report", str(run)))
        if "mlflow" in wanted:
            in_mlflow(folder, 1000)
        if "run" in wanted:
            latency = {"launches": 1, "rounds": 3, "samples": 5, "max_round_s": 0.2, "warmup": {"max_s": 0.5}}
            measure = {"yardsticks": False, "memory": False, "latency": latency}
            (folder / "run.yaml").write_text(json.dumps(suite_of(200, measure=measure)))
            used = measured(folder, "run", "run.yaml", "--no-mlflow", "--json")
            seconds = json.loads(used.output)["runs"][0]["summary"]["seconds"]
            asked = 1 - seconds["other"] / seconds["total"]
            told("run of 200 cells with its reports", used)
            print(f"{asked:.1%} of the run asked for: {seconds}")


if __name__ == "__main__":
    main()
