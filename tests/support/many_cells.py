"""Suites and runs of many cells, for tests and for ``benchmarks/many_cells.py``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.harness.passes.findings import LaunchPart, Parts, Phases, Sample
from cnnbench.harness.run.assembly import assemble
from cnnbench.harness.run.latencies import cell_figures
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.run.summary import RunFacts, summarize_run
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import plan
from cnnbench.measurement.clock import now_utc
from cnnbench.measurement.environment import capture

# `ru_maxrss` would not do: it starts at the peak of the process that started the command.
_COMMAND = """
import runpy, sys
from pathlib import Path
from cnnbench.measurement.memory import peak_bytes
try:
    runpy.run_module("cnnbench", run_name="__main__")
finally:
    Path(PEAK).write_text(str(peak_bytes() or 0))
"""


@dataclass(frozen=True)
class Used:
    """What a command printed and used: wall seconds, processor seconds, largest resident bytes."""

    output: str
    wall_s: float
    processor_s: float
    peak_bytes: int


def measured(folder: Path, *arguments: str) -> Used:
    """Runs ``cnnbench`` in ``folder``, in a process of its own; RuntimeError where it fails."""
    peak = folder / "peak"
    program = _COMMAND.replace("PEAK", repr(str(peak)))
    start = time.perf_counter()
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=folder, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{arguments}: {(folder / 'err').read_text()[-2000:]}")
    output = (folder / "out").read_text()
    return Used(output, wall_s, usage.ru_utime + usage.ru_stime, int(peak.read_text()))


def suite_of(cells: int, **changes: Any) -> dict[str, Any]:
    """A suite of so many cells, a multiple of 20: two modes, ten images, batch sizes from 1."""
    return {
        "schema_version": 1,
        "name": "many",
        "matrix": {
            "architectures": ["simple_cnn"],
            "num_classes": 10,
            "backends": [{"name": "numpy", "mode": ["fast", "reference"]}],
            "batch": list(range(1, cells // 20 + 1)),
            "image": [[1, side, side] for side in range(8, 18)],
        },
        "checks": {"names": ["end_to_end"]},
        "measure": {"yardsticks": False, "memory": False},
    } | changes


def recorded_run(root: Path, cells: int) -> Path:
    """The folder of a run of so many cells, with the samples that two launches would have given."""
    planned = plan(Suite.model_validate(suite_of(cells)))
    store = RunStore.create("many", root)
    store.write_environment(capture())
    store.write_plan(planned)
    records = {}
    for number, cell in enumerate(planned.cells):
        launches = tuple(
            LaunchPart(launch=launch, phases=Phases(build_s=1e-3), steady=True, calls_per_sample=1, samples=samples)
            for launch in range(2)
            for samples in [_samples(launch, 1e-3 * (1 + number % 7))]
        )
        parts = Parts(launches=launches)
        record = assemble(
            cell, parts, cell_figures([(cell, parts)])[cell.id], failure=None, digests=None, started_utc=now_utc()
        )
        folder = store.cell_folder(cell.id)
        folder.mkdir(parents=True)
        (folder / "samples.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in parts.samples))
        (folder / "record.json").write_text(record.model_dump_json())
        records[cell.id] = record
    facts = RunFacts(suite="many", run=store.id, started_utc=now_utc(), finished_utc=now_utc())
    store.write_summary(summarize_run(planned.cells, records, facts))
    return store.folder


def _samples(launch: int, typical_s: float) -> tuple[Sample, ...]:
    return tuple(
        Sample(launch=launch, round=number, index=index, latency_s=typical_s * (1 + 0.01 * index + 0.003 * number))
        for number in range(5)
        for index in range(10)
    )
