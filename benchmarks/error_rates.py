"""How often a gate cries wolf, and how often it misses what is there: `cnnbench ab` beside two common ways.

    python benchmarks/error_rates.py run FOLDER [--runs 10] [--minutes 60]
    python benchmarks/error_rates.py table FOLDER

Each run compares 20 cells: five batch sizes on four backends that are one and the same NumPy program. On the head's
side two of the four, others in every run, are slowed: each call spins on for a fixed share of what it took. So a run
has 10 comparisons in which nothing changed (A/A) and 10 with a known slowdown. Runs alternate between cells of about
20 ms slowed by 5 % and cells of about 1 ms slowed by 20 %. The methods:

* `cnnbench ab` with sequential sampling. It tolerates a third of the slowdown, because it calls a cell regressed only
  where the whole interval lies beyond what is tolerated, and unchanged only where twice of that is excluded;
* `pytest-benchmark` with `--benchmark-compare-fail=mean:…` as it comes: one process for the base, then one for the
  head. It tolerates half of the slowdown, which parts its two kinds of error evenly, rounded up to whole per cent,
  for it takes no others;
* a plain threshold on the medians of those same two processes, at half of the slowdown, too.

Each is made twice: without load, and beside a process that comes and goes (a few seconds each, at random) and
multiplies matrices while any of the methods measures.
Every finished run is a line of FOLDER/results.jsonl; a run that is interrupted is lost, the others are not.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.measurement.kept_rows import KeptRows

ROOT = Path(__file__).parents[1]
SUPPORT = ROOT / "tests" / "support"
BACKENDS = ("plain", "second", "third", "fourth")


@dataclass(frozen=True)
class Kind:
    """Cells of one size with the slowdown that is to be found."""

    name: str
    network: str
    batches: tuple[int, ...]
    slowdown: float

    @property
    def threshold(self) -> float:
        """What the two plain methods tolerate."""
        return self.slowdown / 2

    @property
    def tolerated(self) -> float:
        """What ``cnnbench ab`` tolerates."""
        return self.slowdown / 3


KINDS = {
    "20 ms": Kind("20 ms", "resnet20", (9, 10, 11, 12, 13), 0.05),
    "1 ms": Kind("1 ms", "lenet5", (10, 12, 14, 16, 18), 0.20),
}
LATENCY = {
    "launches": 4,
    "rounds": 3,
    "samples": 8,
    "warmup": {"window": 2, "max_s": 1},
    "controls": False,
    "sequential": {"max_launches": 30, "budget_s": 900},
}

BENCHMARKS = """
import numpy as np
import pytest

from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.execution.backends import load_backend
from cnnbench.registry import build
from cnnbench.spec.weights import initialize, split_state


@pytest.mark.parametrize("batch", {batches!r})
@pytest.mark.parametrize("name", {backends!r})
def test_cell(benchmark, name, batch):
    backend = load_backend(name)
    backend.configure(ProcessSettings(threads=1))
    graph = build({network!r})
    program = backend.compile_forward(graph, ProgramOptions(mode="fast", precision=precision("float32")))
    program.load(*split_state(graph, initialize(graph, 0)))
    item = graph.inputs[0]
    operands = program.upload({{item.name: np.random.default_rng(0).normal(size=item.full_shape(batch))}})
    benchmark(program.run, operands)
"""

LOAD = """
import random
import time
import numpy as np

a = np.random.default_rng(0).normal(size=(400, 400))
while True:
    end = time.monotonic() + random.expovariate(1 / 4)
    while time.monotonic() < end:
        a @ a
    time.sleep(random.expovariate(1 / 4))
"""


def suite_of(kind: Kind) -> dict[str, Any]:
    """The suite of one run."""
    return {
        "schema_version": 1,
        "name": "error_rates",
        "matrix": {
            "architectures": [kind.network],
            "backends": list(BACKENDS),
            "batch": list(kind.batches),
            "threads": 1,
        },
        "checks": {"names": []},
        "measure": {"latency": LATENCY, "memory": False, "yardsticks": False},
        "gates": {"latency": {"threshold": kind.tolerated, "min_change_s": 2e-5}},
    }


def interpreter(path: Path, **variables: str) -> str:
    """A command that is this interpreter in another environment."""
    known = {"CNNBENCH_PLUGINS": "altered_backends", "PYTHONPATH": str(SUPPORT)} | variables
    lines = "".join(f"export {name}={value!r}\n" for name, value in known.items())
    path.write_text(f'#!/bin/sh\n{lines}exec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


@contextlib.contextmanager
def load(wanted: bool) -> Iterator[None]:
    """A neighbour that comes and goes."""
    process = subprocess.Popen([sys.executable, "-c", LOAD]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def by_ab(folder: Path, kind: Kind, base: str, head: str, seed: int) -> dict[tuple[str, int], dict[str, Any]]:
    """What ``cnnbench ab`` says of each cell, with its launches and the time of the whole command."""
    (folder / "suite.yaml").write_text(json.dumps(suite_of(kind)))
    command = [base, "-m", "cnnbench", "ab", "suite.yaml", "--base", base, "--head", head, "--seed", str(seed)]
    done = subprocess.run([*command, "--no-mlflow", "--json", "-q"], cwd=folder, capture_output=True, text=True)
    if not done.stdout:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout)
    run = folder / found["folder"]
    cells = {}
    for item in found["verdicts"]:
        record = json.loads((run / "cells" / item["subject"] / "record.json").read_text())
        cells[record["cell"]["backend"], item["batch"]] = {
            "verdict": item["verdict"],
            "change": item["change"],
            "detectable": item["detectable"],
            "launches": record["latency"]["launches"],
            "median_s": record["latency"]["median_s"]["value"],
        }
    return cells


def by_pytest(folder: Path, kind: Kind, base: str, head: str) -> dict[tuple[str, int], dict[str, Any]]:
    """Which cells pytest-benchmark's own comparison refuses, and the ratio of its medians."""
    text = BENCHMARKS.format(batches=kind.batches, backends=BACKENDS, network=kind.network)
    (folder / "test_cells.py").write_text(text)
    pytest = ["-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:cacheprovider", "test_cells.py"]
    before = subprocess.run(
        [base, *pytest, "--benchmark-save=base", "--benchmark-json=base.json"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    limit = f"--benchmark-compare-fail=mean:{math.ceil(100 * kind.threshold)}%"  # it takes whole numbers only
    after = subprocess.run(
        [head, *pytest, "--benchmark-compare", limit, "--benchmark-json=head.json"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    if before.returncode or not (folder / "head.json").exists():
        raise SystemExit(before.stdout + after.stdout + after.stderr)
    refused = set(
        re.findall(r"test_cell\[(\S+?)\][^\n]*has failed PercentageRegressionCheck", after.stdout + after.stderr)
    )
    if bool(refused) != bool(after.returncode):
        raise SystemExit(after.stdout + after.stderr)
    medians = [
        {item["param"]: item["stats"]["median"] for item in json.loads((folder / name).read_text())["benchmarks"]}
        for name in ("base.json", "head.json")
    ]
    cells = {}
    for name in medians[0]:
        backend, batch = name.rsplit("-", 1)
        cells[backend, int(batch)] = {"refused": name in refused, "median_ratio": medians[1][name] / medians[0][name]}
    return cells


def one_run(kind: Kind, seed: int, loaded: bool) -> dict[str, Any]:
    """One run of every method, one after the other."""
    slowed = [BACKENDS[(seed + i) % len(BACKENDS)] for i in range(2)]
    factors = ",".join(f"{name}:{1 + kind.slowdown}" for name in slowed)
    with tempfile.TemporaryDirectory() as name, load(loaded):
        folder = Path(name)
        base = interpreter(folder / "base-python")
        head = interpreter(folder / "head-python", CNNBENCH_SLOWED=factors)
        start = time.perf_counter()
        ours = by_ab(folder, kind, base, head, seed)
        middle = time.perf_counter()
        theirs = by_pytest(folder, kind, base, head)
        end = time.perf_counter()
    assert ours.keys() == theirs.keys()
    return {
        "kind": kind.name,
        "seed": seed,
        "load": loaded,
        "seconds": {"ab": middle - start, "pytest": end - middle},
        "cells": [
            {"backend": key[0], "batch": key[1], "slowed": key[0] in slowed, "ab": ours[key], "pytest": theirs[key]}
            for key in sorted(ours)
        ],
    }


def experiment(folder: Path, runs: int, minutes: float) -> None:
    """Makes the runs that FOLDER does not hold yet."""
    kept = results(folder)
    done = {(item["kind"], item["seed"], item["load"]) for item in kept.read()}
    end = time.monotonic() + 60 * minutes
    for seed, loaded, kind in itertools.product(range(runs), (False, True), KINDS.values()):
        if (kind.name, seed, loaded) in done:
            continue
        if time.monotonic() > end:
            return
        found = one_run(kind, seed, loaded)
        kept.append(found)
        wrong = sum(cell["ab"]["verdict"] in ("regressed", "improved") for cell in found["cells"] if not cell["slowed"])
        hits = sum(cell["ab"]["verdict"] == "regressed" for cell in found["cells"] if cell["slowed"])
        seconds = {name: round(value) for name, value in found["seconds"].items()}
        print(
            f"{kind.name}, {'load' if loaded else 'no load'}, run {seed}: {wrong} alarms of 10, {hits} of 10 found, "
            f"seconds {seconds}",
            flush=True,
        )


def results(folder: Path) -> KeptRows:
    """The runs so far, of this code and these packages."""
    return KeptRows.of(folder / "results.jsonl", Path(__file__), packages=("pytest-benchmark",))


METHODS = {
    "`cnnbench ab`, sequential": lambda cell, kind: cell["ab"]["verdict"] == "regressed",
    "`pytest-benchmark --benchmark-compare-fail=mean`": lambda cell, kind: cell["pytest"]["refused"],
    "threshold on medians of two processes": lambda cell, kind: cell["pytest"]["median_ratio"] > 1 + kind.threshold,
}


def upper_bound(alarms: int, total: int) -> float:
    """Of a rate, at 95 %, one-sided (Clopper and Pearson 1934)."""
    from scipy.stats import beta

    return 1.0 if alarms == total else float(beta.ppf(0.95, alarms + 1, total - alarms))


def table(folder: Path) -> None:
    """Prints the table of the documentation."""
    found = results(folder).latest()
    print(
        "| cells | background load | method | false alarms (upper 95 % bound) | slowdowns found | seconds a verdict |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: |")
    for kind in KINDS.values():
        for loaded in (False, True):
            runs = [run for run in found if run["kind"] == kind.name and run["load"] == loaded]
            cells = [cell for run in runs for cell in run["cells"]]
            if not cells:
                continue
            for name, alarm in METHODS.items():
                same = [alarm(cell, kind) for cell in cells if not cell["slowed"]]
                slowed = [alarm(cell, kind) for cell in cells if cell["slowed"]]
                seconds = sum(run["seconds"]["ab" if name.startswith("`cnnbench") else "pytest"] for run in runs) / len(
                    cells
                )
                print(
                    f"| {kind.name}, slowed by {kind.slowdown:.0%} | {'comes and goes' if loaded else 'none'} | {name} "
                    f"| {sum(same)} of {len(same)} ({upper_bound(sum(same), len(same)):.1%}) "
                    f"| {sum(slowed)} of {len(slowed)} | {seconds:.1f} |"
                )
            open_ended = sum(cell["ab"]["verdict"] == "inconclusive" for cell in cells)
            improved = sum(cell["ab"]["verdict"] == "improved" for cell in cells)
            launches = sum(cell["ab"]["launches"] for cell in cells) / len(cells)
            print(
                f"<!-- {kind.name}, load {loaded}: {open_ended} inconclusive, {improved} improved, "
                f"{launches:.1f} launches on average -->"
            )


def main() -> None:
    """Runs the experiment, or prints its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=600)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if asked.what == "run":
        experiment(asked.folder, asked.runs, asked.minutes)
    else:
        table(asked.folder)


if __name__ == "__main__":
    main()
