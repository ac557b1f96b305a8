"""How far correct backends' training curves part, against what the envelope admits, and what wrong ones come to.

    python benchmarks/training_curves.py [--networks lenet5 resnet20] [--seeds 8] [--json FILE]

The envelope admits ``ALARM`` times the distance of reference runs, which start one unit in the last place off, from a
run in float64 (``cnnbench/numerics/training_envelope.py``). Here every backend trains the same network from the same
weights on the same batches, for several seeds; each seed has reference runs of its own, on NumPy. Printed is, for each
backend, how many spreads its curve was off at most, and the steps at which curves left the envelope. Then, with the
first seed, defects of the update rule, of the loss and of batch norms are put into NumPy, to see how far off and how
soon those are.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnbench.errors import CnnbenchError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.faults import faults, inject
from cnnbench.numerics.training_envelope import ALARM, CurveEnvelope, agreement, envelope, perturbed
from cnnbench.registry import build
from cnnbench.spec.graph import Graph
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import initialize
from cnnbench.training.loop import train
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

MODES = {"numpy": "fast", "torch": "eager", "jax": "jit", "tensorflow": "graph"}
REFERENCE = "numpy"
FAULTY = ("loss", "optimizer", "batch_norm")
REFERENCE_RUNS = 3  # the unperturbed one among them, as in a suite with ``envelope_runs: 2``


def settings_of(network: str, seed: int) -> TrainSettings:
    """A short training with momentum, weight decay and smoothed labels, so that a wrong rule or loss matters."""
    images = {"resnet20": 512}.get(network)
    return TrainSettings(
        epochs=2,
        batch=32,
        loss=CrossEntropy(label_smoothing=0.1),
        optimizer=SGD(momentum=0.9, weight_decay=1e-3),
        learning_rate=0.02,
        seed=seed,
        train_images=images,
        test_images=100,
    )


def losses(
    backend: Backend, graph: Graph, arrays: Any, settings: TrainSettings, mode: str, policy: str = "float32"
) -> tuple[list[float], float]:
    """The loss of each step, and the accuracy at the end."""
    found = train(TrainingTask(backend, graph, arrays, settings, ProgramOptions(mode, precision(policy))))
    return list(found.losses), found.test_accuracy


def reference(graph: Graph, seed: int, settings: TrainSettings) -> CurveEnvelope:
    """The envelope of the reference backend's runs."""
    arrays = initialize(graph, seed)
    starts = [arrays, *(perturbed(arrays, seed, run) for run in range(1, REFERENCE_RUNS))]
    runs = [losses(load_backend(REFERENCE), graph, start, settings, MODES[REFERENCE]) for start in starts]
    exact, _ = losses(load_backend(REFERENCE), graph, arrays, settings, MODES[REFERENCE], "float64")
    return envelope([run[0] for run in runs], [run[1] for run in runs], exact)


def compared(network: str, seed: int, backends: list[str], kinds: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Each backend's curve in the envelope of one seed, then those of the reference backend's defects."""
    graph, settings = build(network), settings_of(network, seed)
    arrays, found = initialize(graph, seed), reference(graph, seed, settings)
    for name in backends:
        curve, accuracy = losses(load_backend(name), graph, arrays, settings, MODES[name])
        yield {"network": network, "seed": seed, "what": name, **agreement(curve, accuracy, found).model_dump()}
    for fault in faults().values():
        if fault.kind not in kinds:
            continue
        backend = load_backend(REFERENCE)
        try:
            with inject(backend, fault.name):
                curve, accuracy = losses(backend, graph, arrays, settings, MODES[REFERENCE])
        except CnnbenchError:  # a fault of another loss or update rule
            continue
        yield {"network": network, "seed": seed, "what": fault.name, **agreement(curve, accuracy, found).model_dump()}


def main() -> None:
    """Trains, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["lenet5", "resnet20"])
    parser.add_argument("--backends", nargs="+", default=list(MODES))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    for name in asked.backends:
        load_backend(name).configure(ProcessSettings(threads=2))
    rows: list[dict[str, Any]] = []
    for network in asked.networks:
        for seed in range(asked.seeds):
            rows += compared(network, seed, asked.backends, FAULTY if seed == 0 else ())
            print(f"{network}, seed {seed} done", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows))
    print("| network | curve of | spreads off, median and largest | parts at step | called wrong |")
    print("| --- | --- | ---: | --- | ---: |")
    for network in asked.networks:
        for what in dict.fromkeys(row["what"] for row in rows if row["network"] == network):
            own = [row for row in rows if (row["network"], row["what"]) == (network, what)]
            off = [ALARM * row["used"] for row in own if row["used"] is not None]
            parted = sorted(row["parts_at"] for row in own if row["parts_at"] is not None)
            print(
                f"| {network} | {what} | {statistics.median(off):.2g}, {max(off):.2g} "
                f"| {', '.join(map(str, parted)) or 'none'} of {own[0]['steps']} "
                f"| {sum(row['agrees'] is False for row in own)} of {len(own)} |"
            )


if __name__ == "__main__":
    main()
