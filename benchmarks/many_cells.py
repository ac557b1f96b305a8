"""Plans 10,000 cells, reports 1,000 recorded ones and runs a quick suite of 200: seconds, memory, share of asked work.

    python benchmarks/many_cells.py [plan] [report] [run]

Each command runs in a process of its own; processor seconds are of that process, which other load does not change.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from many_cells import recorded_run, suite_of


def measured(folder: Path, *arguments: str) -> tuple[str, float, float, int]:
    """Output, wall seconds, processor seconds and largest resident bytes of a command."""
    start = time.perf_counter()
    with (folder / "out").open("w+") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "cnnbench", *arguments], cwd=folder, stdout=out, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{arguments}: exit code {os.waitstatus_to_exitcode(status)}")
        out.seek(0)
        return out.read(), wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    """Prints one line for each measurement."""
    wanted = sys.argv[1:] or ["plan", "report", "run"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "plan" in wanted:
            (folder / "plan.yaml").write_text(json.dumps(suite_of(10_000)))
            out, wall_s, processor_s, peak = measured(folder, "plan", "plan.yaml")
            print(f"{out.splitlines()[-1]}: {wall_s:.2f} s, {processor_s:.2f} s of processor, {peak / 2**20:.0f} MiB")
        if "report" in wanted:
            run = recorded_run(folder / "runs", 1000)
            _, wall_s, processor_s, peak = measured(folder, "report", str(run))
            print(f"report of 1000 cells: {wall_s:.2f} s, {processor_s:.2f} s of processor, {peak / 2**20:.0f} MiB")
        if "run" in wanted:
            latency = {"launches": 1, "rounds": 3, "samples": 5, "max_round_s": 0.2, "warmup": {"max_s": 0.5}}
            measure = {"yardsticks": False, "memory": False, "latency": latency}
            (folder / "run.yaml").write_text(json.dumps(suite_of(200, measure=measure)))
            out, wall_s, _, _ = measured(folder, "run", "run.yaml", "--no-mlflow", "--json")
            seconds = json.loads(out)["runs"][0]["summary"]["seconds"]
            asked = 1 - seconds["other"] / seconds["total"]
            print(f"run of 200 cells: {wall_s:.1f} s with its reports, {asked:.1%} of the run asked for: {seconds}")


if __name__ == "__main__":
    main()
