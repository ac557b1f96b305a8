"""NumPy's fast mode against PyTorch eager, written by hand: each in its own process, one at a time, in random order.

    python benchmarks/backends.py [--case resnet18] [--rounds 30] [--threads 1] [--before ../old] [--output FILE.md]

All run the same weights on the same images (outputs are compared first). NumPy runs in float32 and in
float32-winograd, with batch norms folded, as a suite may ask (``--unfolded`` keeps them). PyTorch runs in both layouts,
under ``inference_mode``; the faster one by its median is "the best". In each round every process runs once. On one
thread the clock is the process's time on the processor, which does not run while other work holds the processor; on
several it is the wall's. A ratio is that of one round; the table has the median of the rounds' ratios with its 95 %
interval (order statistics). ``--before`` names another checkout, whose NumPy backend runs beside this one.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
REST_S = 0.03  # until PyTorch's threads no longer spin
LAYOUTS = {"torch": False, "torch channels-last": True}
PRECISIONS = {"numpy": "float32", "numpy before": "float32", "numpy winograd": "float32-winograd"}


class Case(NamedTuple):
    """A network with a batch, what is timed of it, and the largest ratio that is aimed at."""

    network: str
    batch: int
    training: bool
    target: float


CASES = {
    "resnet18": Case("resnet18", 1, False, 0.8),
    "resnet50": Case("resnet50", 1, False, 1.0),
    "vgg16": Case("vgg16", 1, False, 0.7),
    "mobilenet_v2": Case("mobilenet_v2", 1, False, 1.3),
    "efficientnet_b0": Case("efficientnet_b0", 1, False, 1.3),
    "vit_b_16": Case("vit_b_16", 1, False, 1.1),
    "lenet5-step": Case("lenet5", 64, True, 1.2),
    "resnet20-step": Case("resnet20", 32, True, 1.5),
}


class Server(NamedTuple):
    """What a process runs.

    Args:
        name: One of ``PRECISIONS`` or ``LAYOUTS``.
        case: The network and what is timed of it.
        threads: Of the framework. folded: Whether NumPy folds batch norms.
        tree: A checkout whose packages it imports; None for those of this process.
    """

    name: str
    case: Case
    threads: int
    folded: bool
    tree: str | None


def material(case: Case) -> tuple[Any, dict[str, Any], Any, Any]:
    """(graph, arrays, images, labels), the same in every process; no value is in a special position."""
    import numpy as np

    from cnnbench.registry import build
    from cnnbench.spec.weights import initialize

    graph = build(case.network)
    generator = np.random.default_rng(0)
    arrays = {}
    for name, array in initialize(graph, 0).items():
        moved = array + generator.uniform(0.0, 0.2, array.shape) if array.ndim == 1 else array
        arrays[name] = moved.astype(np.float32)
    images = generator.normal(size=graph.inputs[0].full_shape(case.batch)).astype(np.float32)
    return graph, arrays, images, generator.integers(0, 10, case.batch)


def numpy_call(server: Server) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """What is timed, and how its result is read."""
    from cnnbench.execution.backends import load_backend
    from cnnbench.execution.contract import ProcessSettings, ProgramOptions
    from cnnbench.execution.precision import precision
    from cnnbench.spec.losses import CrossEntropy
    from cnnbench.spec.optimizers import SGD
    from cnnbench.spec.weights import split_state

    graph, arrays, images, labels = material(server.case)
    backend = load_backend("numpy")
    backend.configure(ProcessSettings(threads=server.threads))
    batch = {graph.inputs[0].name: images}
    if server.case.training:
        options = ProgramOptions("fast", precision("float32"), training=True)
        step = backend.compile_step(graph, options, CrossEntropy(), SGD(momentum=0.9))
        step.load(*split_state(graph, arrays))
        operands = step.upload({**batch, "targets": labels})
        return lambda: step.run(operands, 1e-3), step.loss
    options = ProgramOptions("fast", precision(PRECISIONS[server.name]), fold_batch_norm=server.folded)
    program = backend.compile_forward(graph, options)
    program.load(*split_state(graph, arrays))
    operands = program.upload(batch)
    return lambda: program.run(operands), lambda result: program.download(result).outputs["logits"]


def torch_call(server: Server) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """The same of the network written by hand."""
    import torch
    from torch.nn import functional

    sys.path.insert(0, str(HERE))
    from peers.torch_networks import load

    torch.set_num_threads(server.threads)
    _, arrays, images, labels = material(server.case)
    kept = torch.channels_last if LAYOUTS[server.name] else torch.contiguous_format
    network = load(server.case.network, arrays).to(memory_format=kept)
    images, labels = torch.from_numpy(images).to(memory_format=kept), torch.from_numpy(labels)
    if not server.case.training:
        network.eval()

        def infer() -> Any:
            with torch.inference_mode():
                return network(images)

        return infer, lambda result: result.numpy()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step, lambda loss: loss.item()


def serve(server: Server, pipe: Connection) -> None:
    """Sends the first result, then answers each request with the seconds of one run."""
    if server.tree:
        sys.path[:0] = [server.tree, f"{server.tree}/backends"]
    call, read = (torch_call if server.name in LAYOUTS else numpy_call)(server)
    pipe.send(read(call()))
    clock = time.process_time if server.threads == 1 else time.perf_counter
    while (request := pipe.recv()) is not None:
        if request == "limits":
            from cnnbench.measurement.yardsticks import yardsticks

            pipe.send(yardsticks(SimpleNamespace(now=clock)))  # type: ignore[arg-type]
            continue
        start = clock()
        result = call()
        pipe.send(clock() - start)
        del result


def ask(pipe: Connection, request: str = "run") -> Any:
    """One answer."""
    pipe.send(request)
    found = pipe.recv()
    time.sleep(REST_S)
    return found


class Found(NamedTuple):
    """What was measured of one case: seconds by process and round, the machine's limits, and the outputs' gap."""

    case: Case
    seconds: dict[str, list[float]]
    limits: list[dict[str, float]]
    gap: float


def measure(case: Case, settings: argparse.Namespace) -> Found:
    """All rounds of one case."""
    import numpy as np

    context: Any = multiprocessing.get_context("spawn")
    ours = ["numpy", *(["numpy before"] if settings.before else []), *([] if case.training else ["numpy winograd"])]
    names = [*ours, *LAYOUTS]
    pipes: dict[str, Connection] = {}
    processes, first = [], {}
    for name in names:
        pipes[name], theirs = context.Pipe()
        tree = str(Path(settings.before).resolve()) if name == "numpy before" else None
        server = Server(name, case, settings.threads, not settings.unfolded, tree)
        processes.append(context.Process(target=serve, args=(server, theirs), daemon=True))
        processes[-1].start()
        theirs.close()
        first[name] = np.asarray(pipes[name].recv())
    gap = max(float(np.abs(first[name] - first["torch"]).max() / np.abs(first["torch"]).max()) for name in names)
    if not gap < 1e-3:
        raise SystemExit(f"{case.network}: outputs differ by {gap:.1e} of the largest")
    for _ in range(settings.warmup):
        for pipe in pipes.values():
            ask(pipe)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    limits = []
    for number in range(settings.rounds):
        for name in random.sample(names, len(names)):
            seconds[name].append(ask(pipes[name]))
        if not number % 8:
            limits.append(ask(pipes["numpy"], "limits"))
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(None)
        process.join()
    return Found(case, seconds, limits, gap)


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """(median, low, high): the order statistics that hold the median with at least 95 % (binomial), in whole ranks."""
    ordered, count = sorted(values), len(values)
    below, total = 0, 0.0
    while below < count // 2 and total + math.comb(count, below) / 2**count <= 0.025:
        total += math.comb(count, below) / 2**count
        below += 1
    rank = max(below - 1, 0)
    return statistics.median(ordered), ordered[rank], ordered[count - 1 - rank]


def ratio(found: Found, name: str, base: str) -> tuple[float, float, float]:
    """Of two processes, round by round."""
    return median_interval([a / b for a, b in zip(found.seconds[name], found.seconds[base], strict=True)])


def best_torch(found: Found) -> str:
    """The layout with the smaller median."""
    return min(LAYOUTS, key=lambda name: statistics.median(found.seconds[name]))


def share(found: Found) -> float | None:
    """Of the machine's matrix-product speed, direct multiply-adds counted; none where a step is timed."""
    if found.case.training:
        return None
    from cnnbench.registry import build

    macs = build(found.case.network).macs(found.case.batch)
    rate = statistics.median(limit["matrix_product_gflop_per_s"] for limit in found.limits) * 1e9
    return 2 * macs / statistics.median(found.seconds["numpy"]) / rate


def row(found: Found) -> str:
    """A line of the table."""
    case, best = found.case, best_torch(found)
    ratios = {name: ratio(found, name, best) for name in PRECISIONS if name in found.seconds}
    least = min(value for name, (value, _, _) in ratios.items() if name != "numpy before")
    part = share(found)

    def told(name: str) -> str:
        return "{:.2f} [{:.2f}, {:.2f}]".format(*ratios[name]) if name in ratios else "-"

    cells = (
        f"{case.network} b{case.batch}{' training step' if case.training else ''}",
        f"{1e3 * statistics.median(found.seconds['numpy']):.1f}",
        f"{1e3 * statistics.median(found.seconds[best]):.1f} ({'NHWC' if LAYOUTS[best] else 'NCHW'})",
        told("numpy before"),
        told("numpy"),
        told("numpy winograd"),
        f"{case.target:g}, {'met' if least <= case.target else 'not met'}",
        "-" if part is None else f"{part:.2f}",
        f"{found.gap:.0e}",
    )
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| network | NumPy, ms | best PyTorch eager, ms | before | float32 | float32-winograd | target | share | gap |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)


def page(rows: list[str], settings: argparse.Namespace, limits: list[dict[str, float]]) -> str:
    """The report."""
    product = statistics.median(limit["matrix_product_gflop_per_s"] for limit in limits)
    copy = statistics.median(limit["copy_gb_per_s"] for limit in limits)
    said = f"`python benchmarks/backends.py --rounds {settings.rounds} --threads {settings.threads}`"
    clock = "processor time" if settings.threads == 1 else "wall time"
    text = f"""# Backends against networks written by hand

{said}: each network in one process for each precision of NumPy's fast mode, and in one for each layout of PyTorch eager
(`benchmarks/peers/`), float32, {settings.threads} thread(s), one process at a time in random order, {settings.rounds}
rounds of {clock}. A ratio is NumPy's time over that of the faster layout: the median over rounds with its 95 %
interval; below 1 NumPy is faster. Times are of this machine while other work ran on it, and mean little; ratios of
paired rounds mean more. A target is met where one of the two ratios meets it.

In the same run a float32 matrix product of 1024 gave {product:.0f} GFLOP/s and a copy {copy:.1f} GB/s; the share counts
direct multiply-adds. The gap is the largest difference of the outputs (of the loss, where a step is timed), relative
to the largest output.
"""
    return "\n".join([text, *HEAD, *rows, ""])


def main() -> None:
    """Prints the table, and writes the page where one is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="default: all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--unfolded", action="store_true", help="keep the batch norms")
    parser.add_argument("--before", help="another checkout")
    parser.add_argument("--output", help="where the page goes")
    settings = parser.parse_args()
    os.environ.update(ALLOCATOR, OMP_NUM_THREADS=str(settings.threads))
    rows, limits = [], []
    print("\n".join(HEAD), flush=True)
    for name in settings.case or CASES:
        found = measure(CASES[name], settings)
        rows.append(row(found))
        limits += found.limits
        print(rows[-1], flush=True)
    if settings.output:
        Path(settings.output).write_text(page(rows, settings, limits))


if __name__ == "__main__":
    main()
