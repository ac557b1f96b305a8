"""How often a 95 % interval of a median latency holds what it should: in simulations, and in repetitions of a suite.

    python benchmarks/intervals.py simulate [--runs 200]
    python benchmarks/intervals.py repeat FOLDER [--runs 20] [--suite benchmarks/intervals.yaml] [--minutes 20]
    python benchmarks/intervals.py table FOLDER

`simulate` draws runs from models of a noisy machine, of which the true latency is known. A run has its cells in
comparison groups of four; a group takes ten seconds of each launch, and the groups follow each other, so that a slow
minute disturbs neighbours.

`repeat` makes one run after another of a suite, and goes on where it was interrupted with the same code and packages.
`table` then asks of every interval of every run whether it holds the median of what the other runs found: of the
interval that the run by itself gives, and of that which the runs before it widen; and, of a run by itself, whether that
around the mean of its launches holds the mean of the other runs' means.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from statistics import fmean, median
from typing import Literal

import numpy as np

from cnnbench.harness.run.store import RunStore
from cnnbench.measurement.between_runs import LEAST_RUNS, widened
from cnnbench.measurement.kept_rows import KeptRows
from cnnbench.measurement.levels import Spread, latency_spread, steadied
from cnnbench.measurement.noise import proportion_interval
from cnnbench.measurement.statistics import grouped

Rounds = dict[tuple[int, int], list[float]]
Centre = Literal["median", "mean"]

HERE = Path(__file__).parent
GROUP, ROUNDS = 4, 4
GROUP_S = 10.0  # what a comparison group takes of each launch
SLOWER = (1.2, 1.5)
SETTLED = 200_000  # rounds from which the truth of a model is computed


@dataclass(frozen=True)
class Model:
    """A noisy machine, in standard deviations of the logarithm of the latency.

    Args:
        launch: Of each process around its cell. unlike: how far this differs from cell to cell (of its logarithm).
        tails: Student's degrees of freedom of the launches; 0 for normal ones.
        drift: Of the whole machine. memory_s: how long the drift lasts.
        round: Of each round. disturbed: the share of rounds that something disturbs; by: by how much on average.
        slow: The share of launches that are 20 to 50 % slower, each for itself; shared: all cells of a launch are.
    """

    launch: float = 0.02
    unlike: float = 0.0
    tails: int = 0
    drift: float = 0.0
    memory_s: float = 5.0
    round: float = 0.01
    disturbed: float = 0.05
    by: float = 0.3
    slow: float = 0.0
    shared: bool = False

    def levels(self, generator: np.random.Generator, own: np.ndarray, launches: int) -> np.ndarray:
        """The logarithms of each cell's launches, without the drift. Args: own: the deviation of each cell's."""
        shape = (len(own), launches)
        unit = generator.normal(size=shape)
        if self.tails:
            unit = generator.standard_t(self.tails, shape) / math.sqrt(self.tails / (self.tails - 2))
        which = (1, launches) if self.shared else shape
        slow = (generator.random(which) < self.slow) * np.log(generator.uniform(*SLOWER, which))
        return np.asarray(own[:, None] * unit + slow)

    def rounds(self, generator: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
        """The logarithms of rounds around their launch's level."""
        hit = generator.random(size) < self.disturbed
        return generator.normal(0, self.round, size) + hit * generator.exponential(self.by, size)

    def truth(self, centre: Centre) -> float:
        """The logarithm of the latency over very many launches. Args: centre: the median over launches, or the mean."""
        generator = np.random.default_rng(0)
        rounds = np.median(self.rounds(generator, (SETTLED, ROUNDS)), axis=1)
        drift = generator.normal(0, self.drift, SETTLED)
        levels = self.levels(generator, np.full(1, self.launch), SETTLED)[0]
        return float((np.median if centre == "median" else np.mean)(levels + drift + rounds))


MODELS = {
    "cells vary alike": Model(),
    "cells vary unlike": Model(unlike=0.5),
    "very unlike": Model(unlike=1.0),
    "heavy tails": Model(tails=3),
    "drift of seconds": Model(drift=0.03, unlike=0.5),
    "drift of half a minute": Model(drift=0.03, memory_s=30.0),
    "busy machine": Model(launch=0.05, unlike=0.5, drift=0.05, round=0.08, disturbed=0.2, by=0.5),
    "one launch in eight slow": Model(slow=1 / 8),
    "one launch in eight slow for all": Model(slow=1 / 8, shared=True),
}


def drawn(model: Model, cells: int, launches: int, generator: np.random.Generator) -> list[Rounds]:
    """The latencies of a run's cells by launch and round."""
    groups = math.ceil(cells / GROUP)
    kept = math.exp(-GROUP_S / model.memory_s)
    drift, now = np.empty(launches * groups), generator.normal()
    for step in range(len(drift)):
        drift[step] = model.drift * now
        now = kept * now + math.sqrt(1 - kept**2) * generator.normal()
    own = model.launch * np.exp(generator.normal(0, model.unlike, cells))
    levels = model.levels(generator, own, launches) + drift.reshape(launches, groups).T[np.arange(cells) // GROUP]
    values = np.exp(levels[..., None] + model.rounds(generator, (cells, launches, ROUNDS)))
    return [
        {(a, b): [float(values[cell, a, b])] for a in range(launches) for b in range(ROUNDS)} for cell in range(cells)
    ]


def simulate(runs: int) -> None:
    """Prints how often intervals hold the truth, and how wide they are.

    By themselves, and steadied over the run: around the median of the launches, and around their mean.
    """
    kinds = ("own", "steadied", "mean")
    print("| machine | cells | launches | own holds | steadied | around the mean | own width | steadied | the mean's |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, model in MODELS.items():
        for cells, launches in ((3, 3), (3, 4), (6, 3), (6, 4), (20, 2), (20, 3), (20, 4), (80, 3)):
            generator, truth = np.random.default_rng(1), {"median": model.truth("median"), "mean": model.truth("mean")}
            found = {kind: Held([], []) for kind in kinds}
            for _ in range(max(10, runs * 6 // cells)):
                own = [latency_spread(samples) for samples in drawn(model, cells, launches, generator)]
                steady = steadied(own, [i // GROUP for i in range(cells)])
                for kind, spreads in zip(kinds, (own, steady, map(around_mean, steady)), strict=True):
                    for spread in spreads:
                        found[kind].add(spread, truth["mean" if kind == "mean" else "median"])
            shares = " | ".join(f"{fmean(found[kind].hits):.1%}" for kind in kinds)
            wide = " | ".join(f"±{median(found[kind].widths):.1%}" for kind in kinds)
            print(f"| {name} | {cells} | {launches} | {shares} | {wide} |", flush=True)


def around_mean(spread: Spread) -> Spread:
    """The same with the mean of its launches for their median."""
    return replace(spread, value=fmean(spread.levels.values()), share=1 / len(spread.levels))


def repeat(folder: Path, suite: Path, runs: int, minutes: float) -> None:
    """Makes the runs that are missing, as long as there is time."""
    end = time.monotonic() + 60 * minutes
    kept = finished(folder, suite)
    while len(done := kept.read()) < runs and time.monotonic() < end:
        print(f"run {len(done) + 1} of {runs}", flush=True)
        options = ["--no-mlflow", "--quiet", "--output", str(folder)]
        command = [sys.executable, "-m", "cnnbench", "run", str(suite), *options]
        found = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if found.returncode != 0:
            sys.exit(f"the run ended with {found.returncode}")
        kept.append({"run": str(max(folder.glob("*/*/summary.json")).parent.relative_to(folder))})


def finished(folder: Path, *suite: Path) -> KeptRows:
    """The runs of a suite that came to their end, oldest first."""
    return KeptRows.of(folder / "finished.jsonl", Path(__file__), *suite)


@dataclass
class Held:
    """What became of the intervals of one kind: which hold what they should, and their half widths."""

    hits: list[bool]
    widths: list[float]

    def add(self, spread: Spread, right: float) -> None:
        """Counts one interval. Args: spread: the estimate. right: what it should hold, a logarithm."""
        found = spread.estimate()
        self.hits.append(math.log(found.low) <= right <= math.log(found.high))
        self.widths.append(math.sqrt(found.high / found.low) - 1)

    def plus(self, other: Held) -> Held:
        """Both together."""
        return Held(self.hits + other.hits, self.widths + other.widths)

    @property
    def text(self) -> str:
        """How many hold, of how many, and the median width."""
        return f"{sum(self.hits)} of {len(self.hits)}, ±{median(self.widths):.1%}" if self.hits else "none"


def table(folder: Path) -> None:
    """Prints how many intervals hold what the other runs found: of a run by itself, and with the runs before it."""
    runs = [run_spreads(folder / row["run"]) for row in finished(folder).latest()]
    cells = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    if len(runs) < 2 or not cells:
        sys.exit("two runs or more with the same cells are needed")
    values = {cell: [run[cell].value for run in runs] for cell in cells}
    means = {cell: [around_mean(run[cell]).value for run in runs] for cell in cells}
    alone, known, of_mean = ({cell: Held([], []) for cell in cells} for _ in range(3))
    for number, run in enumerate(runs):
        own = [run[cell] for cell in cells]
        wider = widened(own, [values[cell][:number] for cell in cells])
        for cell, by_itself, spread in zip(cells, own, wider, strict=True):
            others = median(value for i, value in enumerate(values[cell]) if i != number)
            alone[cell].add(by_itself, others)
            of_mean[cell].add(around_mean(by_itself), fmean(v for i, v in enumerate(means[cell]) if i != number))
            if number >= LEAST_RUNS:
                known[cell].add(spread, others)
    print("| cell | intervals of a run by itself that hold | with the runs before it | deviation between runs |")
    print("| --- | ---: | ---: | ---: |")
    for cell in cells:
        print(f"| {cell} | {alone[cell].text} | {known[cell].text} | {np.std(values[cell], ddof=1):.1%} |")
    kinds = (("by itself", alone), ("by itself, around the mean", of_mean), ("with the runs before it", known))
    for name, found in kinds:
        total = reduce(Held.plus, found.values())
        if total.hits:
            share = proportion_interval(sum(total.hits), len(total.hits))
            sure = f"if they were independent: {share.low:.1%} to {share.high:.1%}"
            wide = f"median width ±{median(total.widths):.1%}"
            print(f"\n{name}: {share.value:.1%} of {len(total.hits)} hold ({sure}), {wide}")


def run_spreads(folder: Path) -> dict[str, Spread]:
    """The estimate of each cell of a run by itself."""
    store = RunStore.open(folder)
    records = [record for record in store.records().values() if record.latency is not None]
    own = [latency_spread(grouped(store.read_samples(record.cell.id))) for record in records]
    steady = steadied(own, [record.cell.comparison_group for record in records])
    return {record.cell.id: spread for record, spread in zip(records, steady, strict=True)}


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    simulated = commands.add_parser("simulate")
    simulated.add_argument("--runs", type=int, default=200)
    repeated = commands.add_parser("repeat")
    repeated.add_argument("folder", type=Path)
    repeated.add_argument("--runs", type=int, default=20)
    repeated.add_argument("--suite", type=Path, default=HERE / "intervals.yaml")
    repeated.add_argument("--minutes", type=float, default=math.inf)
    commands.add_parser("table").add_argument("folder", type=Path)
    asked = parser.parse_args()
    if asked.command == "simulate":
        simulate(asked.runs)
        return
    if asked.command == "repeat":
        repeat(asked.folder, asked.suite, asked.runs, asked.minutes)
    table(asked.folder)


if __name__ == "__main__":
    main()
