"""Makes runs whose truth is known: latencies drawn from a stated model of drift, launches, rounds and calls."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnbench.gates.evidence import Evidence
from cnnbench.harness.passes.findings import Digests, Memory, Phases, Sample, Training
from cnnbench.harness.run.beside_records import write_numerics, write_samples
from cnnbench.harness.run.record import Interval, Latency, Observed, Record
from cnnbench.harness.run.store import RunStore
from cnnbench.harness.run.summary import RunFacts, summarize_run
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import Plan
from cnnbench.numerics.outcome import CheckOutcome, NodeUse
from cnnbench.numerics.quantity import Quantity
from cnnbench.training.epoch import Epoch

BACKENDS = {"numpy": "fast", "torch": "eager", "jax": "jit", "tensorflow": "graph"}
SPEED = {"numpy": 2.0, "torch": 1.0, "jax": 1.3, "tensorflow": 1.5}
NETWORKS = {"resnet18": 0.030, "resnet50": 0.075}
NODES = ("conv1", "bn1", "relu", "layer1.0.conv1", "layer1.0.bn1", "layer4.1.conv2", "avgpool", "fc")
CLASSES, TEST_SIZE = 10, 360


@dataclass(frozen=True)
class Noise:
    """The model of a noisy machine, as standard deviations on a logarithmic scale.

    Args:
        run: Drift of the whole run. group: further drift of each comparison group. round: of each round, shared by all
            cells in it, with memory from round to round. launch: of each worker process. call: of each timed call.
        spikes: The share of calls that take 1.2 to 2 times as long. yardstick: error of the yardsticks.
    """

    run: float = 0.04
    group: float = 0.015
    round: float = 0.03
    launch: float = 0.015
    call: float = 0.03
    spikes: float = 0.05
    yardstick: float = 0.02


@dataclass(frozen=True)
class Truth:
    """What a synthetic run is made from. ``slowdown`` maps a backend to the factor on its latencies."""

    seed: int = 0
    suite: str = "synthetic"
    backends: tuple[str, ...] = tuple(BACKENDS)
    batches: tuple[int, ...] = (1, 8)
    launches: int = 2
    rounds: int = 5
    calls: int = 8
    slowdown: Mapping[str, float] = field(default_factory=dict)
    noise: Noise = Noise()
    side: str = "head"
    fingerprint: str = "4c1f0a"
    accuracy: Mapping[str, float] = field(default_factory=dict)


def digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def synthetic_run(truth: Truth | None = None, **changes: Any) -> Evidence:
    """A run of every backend x network x batch, with one training cell a backend."""
    truth = truth or Truth(**changes)
    generator = np.random.default_rng([truth.seed, 7])
    drift = generator.normal(0, truth.noise.run)
    records: list[Record] = []
    samples: dict[str, tuple[Sample, ...]] = {}
    budgets: dict[str, tuple[NodeUse, ...]] = {}
    for architecture, base_s in NETWORKS.items():
        for batch in truth.batches:
            shared = _group_drift(truth, generator, drift)
            for backend in truth.backends:
                cell = make_cell(architecture, backend, batch, truth.side)
                typical_s = base_s * SPEED[backend] * batch**0.85 * truth.slowdown.get(backend, 1.0)
                samples[cell.id] = _samples(truth, generator, shared, typical_s)
                budgets[cell.id] = node_budgets(backend, generator)
                records.append(make_record(cell, samples[cell.id], budgets[cell.id]))
    records += [_training_record(truth, backend) for backend in truth.backends]
    return Evidence(
        suite=truth.suite,
        run_id=f"20260101T000000Z-{truth.seed:06x}",
        records=tuple(records),
        environment=ENVIRONMENT,
        fingerprint=truth.fingerprint,
        yardsticks={
            "matmul_gflops": 95.0 * math.exp(-drift + generator.normal(0, truth.noise.yardstick)),
            "copy_gb_per_s": 11.0 * math.exp(-drift + generator.normal(0, truth.noise.yardstick)),
        },
        samples=samples,
        budgets=budgets,
    )


ENVIRONMENT = {
    "python": "3.11.9",
    "platform": "Linux 6.8 x86_64",
    "cpu": {"model": "Example CPU @ 2.60GHz", "logical": 2, "physical": 2},
    "memory_total_bytes": 24 * 2**30,
    "commit": "0123456789abcdef",
}


def _group_drift(truth: Truth, generator: np.random.Generator, drift: float) -> np.ndarray:
    """(launches, rounds) of what all cells of the group share."""
    level = drift + generator.normal(0, truth.noise.group)
    shape = (truth.launches, truth.rounds)
    steps = generator.normal(0, truth.noise.round, shape)
    for i in range(1, truth.rounds):  # memory: an autoregression with coefficient 0.7, variance kept
        steps[:, i] = 0.7 * steps[:, i - 1] + math.sqrt(1 - 0.49) * steps[:, i]
    return level + steps


def _samples(truth: Truth, generator: np.random.Generator, shared: np.ndarray, typical_s: float) -> tuple[Sample, ...]:
    found = []
    for launch in range(truth.launches):
        own = generator.normal(0, truth.noise.launch)
        for number in range(truth.rounds):
            calls = generator.normal(0, truth.noise.call, truth.calls)
            calls += np.where(generator.random(truth.calls) < truth.noise.spikes, generator.uniform(0.2, 0.7), 0)
            for index, call in enumerate(calls):
                latency_s = typical_s * math.exp(own + shared[launch, number] + call)
                found.append(Sample(launch=launch, round=number, index=index, latency_s=latency_s))
    return tuple(found)


def make_cell(architecture: str, backend: str, batch: int, side: str = "head", **changes: Any) -> Cell:
    mode = BACKENDS[backend]
    values: dict[str, Any] = {
        "id": f"{architecture}-{backend}-{mode}-b{batch}" + ("-base" if side == "base" else ""),
        "key": digest(architecture, backend, mode, batch),
        "group": f"{architecture}-b{batch}",
        "architecture": architecture,
        "backend": backend,
        "mode": mode,
        "batch": batch,
        "image": (3, 224, 224),
        "threads": 2,
        "data": "photographs",
        "side": side,
        "checks": ("local", "end_to_end", "gradient", "determinism"),
    }
    return Cell(**(values | changes))


def node_budgets(backend: str, generator: np.random.Generator) -> tuple[NodeUse, ...]:
    used = {"numpy": 0.05, "torch": 0.12, "jax": 0.15, "tensorflow": 0.14}[backend]
    return tuple(
        NodeUse(
            node=node,
            kind="conv" if "conv" in node else node.rstrip("0123456789"),
            quantity=Quantity.output(),
            sharp_used=float(used * generator.uniform(0.3, 1.0)),
            worst_case_used=float(0.1 * used * generator.uniform(0.3, 1.0)),
            budget="derived",
        )
        for node in NODES
    )


def make_record(cell: Cell, samples: tuple[Sample, ...], budgets: tuple[NodeUse, ...], **changes: Any) -> Record:
    calls = np.array([sample.latency_s for sample in samples])
    median, p90, p99 = (float(np.quantile(calls, q)) for q in (0.5, 0.9, 0.99))
    worst = max(budgets, key=lambda budget: budget.sharp_used)
    speed = SPEED[cell.backend]
    values: dict[str, Any] = {
        "cell": cell,
        "status": "ok",
        "started_utc": "2026-01-01T00:00:00Z",
        "finished_utc": "2026-01-01T00:01:00Z",
        "digests": Digests(graph=digest(cell.architecture), weights=digest("w"), inputs=digest("i", cell.batch)),
        "phases": Phases(
            import_s=2.1 * speed, build_s=0.2, weights_s=0.05, compile_s=0.8 * speed, first_call_s=0.9 * speed,
            warmup_s=1.0, warmup_calls=7,
        ),
        "latency": Latency(
            median_s=_around(median), p90_s=_around(p90), p99_s=_around(p99),
            throughput_images_per_s=_around(cell.batch / median),
            samples=len(samples), rounds=len({(s.launch, s.round) for s in samples}),
            launches=len({s.launch for s in samples}), steady=True,
        ),
        "memory": Memory(peak_bytes=int(180e6 * speed), total_peak_bytes=int(400e6 * speed), null_bytes=int(220e6)),
        "observed": Observed(threads=1.93, stolen_fraction=0.001, involuntary_switches=40),
        "checks": (
            CheckOutcome(
                name="local", status="passed", budget_used=worst.sharp_used, worst_case_used=worst.worst_case_used,
                node=worst.node,
            ),
            CheckOutcome(name="end_to_end", status="passed", budget_used=0.4 * worst.sharp_used),
            CheckOutcome(name="gradient", status="passed", budget_used=0.8 * worst.sharp_used, node="conv1"),
            CheckOutcome(name="determinism", status="passed", message="bitwise equal"),
        ),
        "versions": {cell.backend: "2.1.0", "cnnbench": "0.1.0"},
        "settings": {"threads": 2},
    }  # fmt: skip
    return Record(**(values | changes))


def _around(value: float) -> Interval:
    return Interval(value=value, low=value * 0.98, high=value * 1.025)


def _training_record(truth: Truth, backend: str) -> Record:
    """resnet20 on digits: every backend's curve a hair from the others'."""
    generator = np.random.default_rng([truth.seed, 11, *backend.encode()])
    targets = np.random.default_rng(3).integers(0, CLASSES, TEST_SIZE)
    share = truth.accuracy.get(backend, 0.97)
    order = np.random.default_rng(5).permutation(TEST_SIZE)  # the same images are the hard ones for every backend
    wrong = order[: round((1 - share) * TEST_SIZE)]
    predictions = targets.copy()
    predictions[wrong] = (targets[wrong] + 1) % CLASSES
    steps = 60
    losses = [2.3 * math.exp(-3 * i / steps) * (1 + 0.002 * float(generator.normal())) for i in range(steps)]
    epochs = tuple(
        Epoch(
            epoch=i, step=20 * (i + 1), train_loss=losses[20 * i], test_loss=losses[20 * i + 19] * 1.1,
            test_accuracy=share - 0.15 * (2 - i), seconds=4.0,
            data_seconds=0.5 * (i + 1), images=1280,
        )
        for i in range(3)
    )  # fmt: skip
    cell = make_cell(
        "resnet20", backend, 64, truth.side, image=(1, 32, 32), data="digits", measure=(), checks=(), train=True
    )
    return Record(
        cell=cell,
        status="ok",
        started_utc="2026-01-01T00:00:00Z",
        finished_utc="2026-01-01T00:02:00Z",
        digests=Digests(graph=digest("resnet20"), weights=digest("w20"), inputs=digest("digits")),
        training=Training(
            epochs=epochs,
            losses=tuple(losses),
            predictions=tuple(int(p) for p in predictions),
            targets=tuple(int(t) for t in targets),
            test_accuracy=float((predictions == targets).mean()),
            peak_bytes=3 * 2**20,
        ),
        versions={backend: "2.1.0"},
    )


def write_run(run: Evidence, root: Path) -> Path:
    """The run's folder under ``root``, as the harness writes it; its plan has the run's cells and any suite."""
    store = RunStore(root / run.suite / run.run_id)
    (store.folder / "cells").mkdir(parents=True)
    store.write_environment(dict(run.environment))
    for record in run.records:
        name = record.cell.id
        if run.samples.get(name):
            write_samples(store.cell_folder(name), run.samples[name])
        if run.budgets.get(name):
            write_numerics(store.cell_folder(name), run.budgets[name])
        store.write_record(record)
    facts = RunFacts(
        suite=run.suite,
        run=run.run_id,
        started_utc="2026-01-01T00:00:00Z",
        finished_utc="2026-01-01T00:10:00Z",
        seconds={"import": 12.0, "compile": 20.0, "samples": 200.0, "total": 400.0},
        yardsticks=dict(run.yardsticks),
    )
    cells = [record.cell for record in run.records]
    suite = Suite.model_validate(
        {"schema_version": 1, "name": run.suite, "matrix": {"architectures": "lenet5", "backends": "numpy"}}
    )
    store.write_plan(Plan(suite=suite, cells=tuple(cells)))
    store.write_summary(summarize_run(cells, {record.cell.id: record for record in run.records}, facts))
    return store.folder
