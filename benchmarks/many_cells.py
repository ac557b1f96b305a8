"""Plans 10,000 cells, reports 1,000 recorded ones and runs a quick suite of 200: seconds, memory, share of asked work.

    python benchmarks/many_cells.py [plan] [report] [run]

Each command runs in a process of its own; processor seconds are of that process, which other load does not change.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from many_cells import Used, measured, recorded_run, suite_of


def told(what: str, used: Used) -> None:
    """Prints one line."""
    print(
        f"{what}: {used.wall_s:.2f} s, {used.processor_s:.2f} s of processor, {used.peak_bytes / 2**20:.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Prints one line for each measurement."""
    wanted = sys.argv[1:] or ["plan", "report", "run"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "plan" in wanted:
            (folder / "plan.yaml").write_text(json.dumps(suite_of(10_000)))
            used = measured(folder, "plan", "plan.yaml")
            told(used.output.splitlines()[-1], used)
        if "report" in wanted:
            run = recorded_run(folder / "runs", 1000)
            told("report of 1000 cells", measured(folder, "report", str(run)))
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
