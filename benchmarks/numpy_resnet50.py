"""NumPy's fast mode against PyTorch eager on one network, two processes timed in turn: medians and paired ratios.

    python benchmarks/numpy_resnet50.py --batch 1 --rounds 40

Both run the same weights and images, inference with batch norms folded, on the same number of threads and with the
same allocator settings. In each round both processes run once, in random order, one at a time; the ratio of a round
is numpy / torch.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

MODES = {"numpy": "fast", "torch": "eager"}
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
REST_S = 0.03  # until PyTorch's threads no longer spin


def serve(name: str, settings: argparse.Namespace, pipe: Connection) -> None:
    """Builds the network on one backend, then answers each request with the seconds of one run."""
    import numpy as np

    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProcessSettings, ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.registry import build
    from cnnbench.spec.weights import initialize, split_state

    backend = load_backend(name)
    backend.configure(ProcessSettings(threads=settings.threads))
    graph = build(settings.network)
    options = ProgramOptions(mode=MODES[name], precision=precision("float32"), fold_batch_norm=not settings.unfolded)
    program = backend.compile_forward(graph, options)
    program.load(*split_state(graph, initialize(graph, 0)))
    item = graph.inputs[0]
    image = np.random.default_rng(0).normal(size=item.full_shape(settings.batch))
    operands = program.upload({item.name: image})
    logits = program.download(program.run(operands)).outputs["logits"]
    pipe.send((logits, backend.describe()))
    while pipe.recv() is not None:
        start = time.perf_counter()
        result = program.run(operands)
        backend.synchronize(result)
        pipe.send(time.perf_counter() - start)
        del result


def ask(pipe: Connection) -> float:
    """One timed run."""
    pipe.send(True)
    seconds: float = pipe.recv()
    time.sleep(REST_S)
    return seconds


def quantile(values: list[float], q: float) -> float:
    """The nearest-rank quantile."""
    return sorted(values)[min(int(q * len(values)), len(values) - 1)]


def report(samples: dict[str, list[float]]) -> None:
    """Prints medians, ranges and the ratio of paired rounds."""
    for name, values in samples.items():
        low, high = quantile(values, 0.1), quantile(values, 0.9)
        print(
            f"{name:6} {MODES[name]:6} median {statistics.median(values) * 1e3:8.2f} ms"
            f"   p10 {low * 1e3:8.2f}   p90 {high * 1e3:8.2f}"
        )
    ratios = [ours / theirs for ours, theirs in zip(samples["numpy"], samples["torch"], strict=True)]
    print(
        f"numpy / torch  median of {len(ratios)} paired rounds {statistics.median(ratios):.2f}"
        f"   p10 {quantile(ratios, 0.1):.2f}   p90 {quantile(ratios, 0.9):.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--unfolded", action="store_true", help="keep the batch norms")
    settings = parser.parse_args()
    os.environ.update(ALLOCATOR)
    context: Any = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    logits = {}
    for name in MODES:
        pipes[name], theirs = context.Pipe()
        context.Process(target=serve, args=(name, settings, theirs), daemon=True).start()
        theirs.close()
        logits[name], description = pipes[name].recv()
        print(name, description)
    gap = abs(logits["numpy"] - logits["torch"]).max() / abs(logits["torch"]).max()
    print(f"{settings.network}, batch {settings.batch}, {settings.threads} threads; outputs differ by {gap:.1e}")
    for _ in range(settings.warmup):
        for pipe in pipes.values():
            ask(pipe)
    samples: dict[str, list[float]] = {name: [] for name in MODES}
    for _ in range(settings.rounds):
        for name in random.sample(list(MODES), len(MODES)):
            samples[name].append(ask(pipes[name]))
    report(samples)
    for pipe in pipes.values():
        pipe.send(None)


if __name__ == "__main__":
    main()
