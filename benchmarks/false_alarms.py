"""How often correct backends are called wrong where it is hardest to tell: tiny images, and numbers near their limits.

    python benchmarks/false_alarms.py run FILE [--networks lenet5 …] [--backends numpy:fast torch:eager] [--seeds 3]
    python benchmarks/false_alarms.py table FILE

``cnnbench faults score`` makes clean runs of small networks on ordinary numbers. Here registered networks are run on
images so small that batch norms average a few values, with weights times 100 and 1e-20, inputs times 1e20 and 1e-40
(denormal in float32), and training rates times 100. A correct backend passes, or the check says ``not applicable``.
Every run is a line of FILE; runs that are there, of the same code and packages, are not made again.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.measurement.kept_rows import KeptRows
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import CHECKS, run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.registry import build
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import general_position

NETWORKS = {"lenet5": (32,), "simple_cnn": (32,), "resnet20": (32,), "mobilenet_v2": (32,), "googlenet": (33, 64)}


@dataclass(frozen=True)
class Change:
    """What is unusual: factors of weights, of inputs and of the training's rates."""

    weights: float = 1.0
    inputs: float = 1.0
    rates: float = 1.0


CHANGES = {
    "plain": Change(),
    "weights x 100": Change(weights=100.0),
    "weights x 1e-20": Change(weights=1e-20),
    "inputs x 1e20": Change(inputs=1e20),
    "inputs x 1e-40": Change(inputs=1e-40),
    "rates x 100": Change(rates=100.0),
}


def runs(asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is run, the seeds outermost so that a part of it has everything once."""
    for seed, name in itertools.product(range(asked.seeds), asked.networks):
        for image, batch, change in itertools.product(NETWORKS.get(name, (32,)), asked.batches, asked.changes):
            for backend in asked.backends:
                yield {
                    "network": name, "image": image, "batch": batch, "change": change, "backend": backend, "seed": seed,
                }  # fmt: skip


def case_of(asked: dict[str, Any]) -> Case:
    """The network with the unusual numbers."""
    plain = build(asked["network"])
    shape = (plain.inputs[0].shape[0], asked["image"], asked["image"])
    graph = plain if plain.inputs[0].shape == shape else build(asked["network"], image=shape)
    change, seed = CHANGES[asked["change"]], asked["seed"]
    arrays = {
        name: array * np.float32(1.0 if "running" in name else change.weights)
        for name, array in general_position(graph, seed).items()
    }
    inputs = {
        item.name: (change.inputs * stream(seed, "inputs", item.name).normal(size=item.full_shape(asked["batch"])))
        for item in graph.inputs
    }
    options = ProgramOptions(asked["backend"].partition(":")[2], precision("float32"))
    case = Case(graph, arrays, {name: array.astype(np.float32) for name, array in inputs.items()}, options, seed=seed)
    return replace(case, training=case.training.scaled(change.rates))


def run(asked: argparse.Namespace) -> None:
    """Makes the runs that are not in the file."""
    kept = KeptRows.of(asked.file, Path(__file__))
    done = [row["asked"] for row in kept.read()]
    backends: dict[str, Any] = {}
    for item in runs(asked):
        if item in done:
            continue
        name = item["backend"].partition(":")[0]
        if name not in backends:
            backends[name] = load_backend(name)
            backends[name].configure(ProcessSettings(threads=asked.threads))
        began = time.process_time()
        try:
            outcomes = run_checks(asked.checks, InProcessSubject(backends[name]), case_of(item))
            found = {outcome.name: (outcome.status, outcome.message[:300]) for outcome in outcomes}
        except Exception as error:
            found = {"run": ("failed", f"{type(error).__name__}: {error}"[:300])}
        kept.append({"asked": item, "found": found, "seconds": time.process_time() - began})
        alarms = [f"{check}: {text}" for check, (status, text) in found.items() if status == "failed"]
        print(*item.values(), *(alarms or ["-"]), flush=True)


def table(asked: argparse.Namespace) -> None:
    """For each change: runs, those with an alarm, and what checks said."""
    rows = KeptRows.of(asked.file, Path(__file__)).latest()
    for change in CHANGES:
        of_change = [row for row in rows if row["asked"]["change"] == change]
        said = Counter(
            "not applicable" if text.startswith("not applicable") else status
            for row in of_change
            for status, text in row["found"].values()
        )
        alarms = sum(any(status == "failed" for status, _ in row["found"].values()) for row in of_change)
        print(f"{change}: {len(of_change)} runs, {alarms} with an alarm; checks: {dict(said)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("run")
    making.set_defaults(command=run)
    making.add_argument("file", type=Path)
    making.add_argument("--networks", nargs="+", default=list(NETWORKS))
    making.add_argument("--backends", nargs="+", default=["numpy:fast", "torch:eager"])
    making.add_argument("--batches", nargs="+", type=int, default=[2])
    making.add_argument("--changes", nargs="+", default=list(CHANGES), choices=list(CHANGES))
    making.add_argument("--checks", nargs="+", default=list(CHECKS))
    making.add_argument("--seeds", type=int, default=3)
    making.add_argument("--threads", type=int, default=1)
    showing = commands.add_parser("table")
    showing.set_defaults(command=table)
    showing.add_argument("file", type=Path)
    asked = parser.parse_args()
    asked.command(asked)


if __name__ == "__main__":
    main()
