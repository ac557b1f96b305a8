"""How finely two programs must alternate on this machine for its disturbances to cancel.

    python benchmarks/turns.py [--seconds 90]

One program of about 20 ms is called again and again on one thread. Its calls are then cut into the blocks that an A/B
comparison of the program with itself would have timed: k calls of "base", k of "head", and so on, 48 calls a side. The
truth of each comparison is 1; the table shows how much it varies with k.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

CALLS = 48


def durations(seconds: float) -> list[float]:
    """Seconds of each call."""
    import numpy as np

    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProcessSettings, ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.registry import build
    from cnnbench.spec.weights import initialize, split_state

    backend = load_backend("numpy")
    backend.configure(ProcessSettings(threads=1))
    graph = build("resnet20")
    program = backend.compile_forward(graph, ProgramOptions(mode="fast", precision=precision("float32")))
    program.load(*split_state(graph, initialize(graph, 0)))
    item = graph.inputs[0]
    operands = program.upload({item.name: np.random.default_rng(0).normal(size=item.full_shape(11))})
    for _ in range(10):
        program.run(operands)
    found, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        program.run(operands)
        found.append(time.perf_counter() - start)
    return found


def main() -> None:
    """Prints the table."""
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90)
    logs = np.log(durations(parser.parse_args().seconds))
    print(f"{len(logs)} calls, median {1e3 * np.exp(np.median(logs)):.1f} ms, comparisons of {CALLS} calls a side")
    print("| calls at a turn | standard deviation of the comparison |")
    print("| ---: | ---: |")
    for k in (1, 2, 4, 8, 16, 48):
        pairs = CALLS // k
        count = len(logs) // (2 * CALLS)
        blocks = np.median(logs[: count * 2 * CALLS].reshape(count, pairs, 2, k), axis=-1)
        ratios = np.median(blocks[..., 1] - blocks[..., 0], axis=-1)
        print(f"| {k} | {ratios.std(ddof=1):.2%} |")


if __name__ == "__main__":
    main()
