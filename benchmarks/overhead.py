"""What the harness adds to the latencies that it reports, with and without each of its collectors.

    python benchmarks/overhead.py [--rounds 200] [--network resnet20] [--batch 3]

One process, one thread. In each round every variant times ten calls of the same program of about 5 ms, in random order:

* `bare`: two readings of the clock around each call, and nothing else;
* `sampling`: the harness's loop (`measure_round` on a `TimedCall`), garbage collection left on;
* `no collection`: the same as the harness runs it, with Python's garbage collected before;
* `observed`: the same, with processor time, context switches, stolen and foreign time and the clock frequency read
  before and after the round, as a worker does.

The ratio of a round is its median call over the bare one's; `overhead` is the median ratio over rounds less 1, with its
95 % interval. Beside it stands the same for a call that spins until 5 ms are over, whose true length is known, and what
each collector costs outside of the timed calls.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

CALL_S = 5e-3
CALLS = 10
Round = Callable[[Any], list[float]]


def bare(timed: Any) -> list[float]:
    """The least that measures."""
    now, run, synchronize = time.perf_counter, timed.run, timed.synchronize
    found = []
    for _ in range(CALLS):
        start = now()
        synchronize(run())
        found.append(now() - start)
    return found


def sampling(timed: Any) -> list[float]:
    """The harness's loop with garbage collection on."""
    from cnnbench.measurement.clock import Clock

    end = Clock().now() + 60
    found: list[float] = []
    while len(found) < CALLS and timed.clock.now() < end:
        found.append(timed.sample(1))
    return found


def no_collection(timed: Any) -> list[float]:
    """As the harness samples."""
    from cnnbench.measurement.sampling import SampleSettings, measure_round

    return measure_round(timed, SampleSettings(samples=CALLS, max_round_s=60))


def observed(timed: Any) -> list[float]:
    """As a worker does."""
    from cnnbench.measurement.observation import observe

    end = observe()
    found = no_collection(timed)
    end()
    return found


VARIANTS: dict[str, Round] = {
    "bare": bare,
    "sampling": sampling,
    "no collection": no_collection,
    "observed": observed,
}


def program(network: str, batch: int) -> Any:
    """A program of about 5 ms as the worker times it."""
    import numpy as np

    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProcessSettings, ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.measurement.sampling import TimedCall
    from cnnbench.registry import build
    from cnnbench.spec.weights import initialize, split_state

    backend = load_backend("numpy")
    backend.configure(ProcessSettings(threads=1))
    graph = build(network)
    made = backend.compile_forward(graph, ProgramOptions(mode="fast", precision=precision("float32")))
    made.load(*split_state(graph, initialize(graph, 0)))
    item = graph.inputs[0]
    operands = made.upload({item.name: np.random.default_rng(0).normal(size=item.full_shape(batch))})
    return TimedCall(run=lambda: made.run(operands), synchronize=backend.synchronize, read=made.download)


def spinning() -> Any:
    """A call that takes 5 ms by the clock."""
    from cnnbench.measurement.sampling import TimedCall

    def spin() -> None:
        end = time.perf_counter() + CALL_S
        while time.perf_counter() < end:
            pass

    return TimedCall(run=spin, synchronize=lambda _: None, read=lambda _: None)


def measured(timed: Any, rounds: int, seed: int) -> dict[str, dict[int, list[float]]]:
    """Samples by variant and round."""
    for call in VARIANTS.values():
        call(timed)
    generator = random.Random(seed)
    found: dict[str, dict[int, list[float]]] = {name: {} for name in VARIANTS}
    for number in range(rounds):
        for name in generator.sample(list(VARIANTS), len(VARIANTS)):
            found[name][number] = VARIANTS[name](timed)
    return found


def told(title: str, found: dict[str, dict[int, list[float]]]) -> None:
    """One row for each variant."""
    from cnnbench.measurement.levels import ratio_interval

    base = {(0, number): values for number, values in found["bare"].items()}
    typical = statistics.median(value for values in base.values() for value in values)
    for name, rounds in found.items():
        ratio = ratio_interval({(0, number): values for number, values in rounds.items()}, base)
        low, value, high = (100 * (bound - 1) for bound in (ratio.low, ratio.value, ratio.high))
        print(f"| {title} | {name} | {1e3 * typical:.2f} ms | {value:+.3f} % [{low:+.3f}, {high:+.3f}] |")


def costs() -> None:
    """What the collectors cost outside of the timed calls."""
    import gc

    from cnnbench.measurement.clock import Clock
    from cnnbench.measurement.observation import frequency_hz, observe, processor_seconds

    def clock() -> None:
        now = Clock().now
        for _ in range(1000):
            now()

    tasks: dict[str, tuple[Callable[[], Any], int]] = {
        "a reading of the clock": (clock, 1000),
        "an observation of a round": (lambda: observe()(), 1),
        "of it, the clock frequency": (frequency_hz, 1),
        "a collection of garbage": (gc.collect, 1),
        "the processor time of an idle worker": (lambda: processor_seconds(os.getpid()), 1),
    }
    for name, (task, count) in tasks.items():
        seconds = []
        for _ in range(50):
            start = time.perf_counter()
            task()
            seconds.append((time.perf_counter() - start) / count)
        print(f"| {name} | {1e6 * statistics.median(seconds):.1f} µs |")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--batch", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| call | variant | bare median | overhead |\n| --- | --- | ---: | ---: |")
    told(
        f"{asked.network}, batch {asked.batch}, numpy fast",
        measured(program(asked.network, asked.batch), asked.rounds, asked.seed),
    )
    told("spins until 5 ms are over", measured(spinning(), asked.rounds, asked.seed))
    print("\n| collector, outside of the timed calls | time |\n| --- | ---: |")
    costs()


if __name__ == "__main__":
    main()
