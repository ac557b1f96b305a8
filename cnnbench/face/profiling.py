"""``profile``: where the time of a forward pass goes, node by node, beside the machine's limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Unpack

from cnnbench.errors import SuiteError
from cnnbench.execution.contract import Backend, ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision as find_precision
from cnnbench.face.backends import chosen_backend
from cnnbench.face.keywords import ProfileKeywords, takes
from cnnbench.face.networks import Network, load
from cnnbench.spec.graph import Graph
from cnnbench.spec.weights import split_state

if TYPE_CHECKING:
    from pandas import DataFrame

    from cnnbench.execution.compiled import ForwardProgram
    from cnnbench.measurement.profile import Profile, StepWork

WITHIN = "each step within the pass, as it runs"
ALONE = "each layer alone, not as fused"


@dataclass(frozen=True)
class NetworkProfile:
    """Where the time of a forward pass goes.

    Args:
        network, backend, mode, precision, batch: What ran, and how.
        how: ``WITHIN`` or ``ALONE``: how the nodes were timed.
        matrix_product_gflop_per_s, copy_gb_per_s: What the machine can do, measured before and after, the better.
        found: The nodes' work and times.
    """

    network: str
    backend: str
    mode: str
    precision: str
    batch: int
    how: str
    matrix_product_gflop_per_s: float
    copy_gb_per_s: float
    found: Profile

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """A row for each step, in the order in which they run; a step that computes several nodes names its members.

        ``time_s`` is the median over the rounds, ``low_s`` and ``high_s`` its quartiles. ``roofline_share`` is the
        time that the products or the bytes would take at the machine's speed, the longer, over ``time_s``; None where
        the output may be a view of the input.
        """
        from cnnbench.measurement.profile import limit_s

        total = sum(step.median_s for step in self.found.steps)
        rows = []
        for step in self.found.steps:
            work, time_s = step.work, step.median_s
            low, high = step.quartiles_s
            limit = limit_s(work, self.matrix_product_gflop_per_s, self.copy_gb_per_s)
            rows.append(
                {
                    "name": work.name,
                    "kind": work.kind,
                    "members": list(work.members),
                    "algorithm": work.algorithm or None,
                    "macs": work.macs,
                    "bytes": work.bytes,
                    "time_s": time_s,
                    "low_s": low,
                    "high_s": high,
                    "share_of_time": _over(time_s, total),
                    "macs_per_s": _over(work.macs, time_s) if work.macs else None,
                    "bytes_per_s": None if work.bytes is None else _over(work.bytes, time_s),
                    "roofline_share": None if limit is None else _over(limit, time_s),
                }
            )
        return rows

    @property
    def nodes_s(self) -> float:
        """The sum of the nodes' medians."""
        return sum(step.median_s for step in self.found.steps)

    @property
    def whole_s(self) -> float:
        """The median of the whole pass, unwatched, timed in the same rounds."""
        return median(self.found.plain_s)

    def to_json(self) -> dict[str, Any]:
        """What ``cnnbench profile --json`` prints."""
        names = ("network", "backend", "mode", "precision", "batch", "how")
        return {
            **{name: getattr(self, name) for name in names},
            "rounds": len(self.found.plain_s),
            "matrix_product_gflop_per_s": self.matrix_product_gflop_per_s,
            "copy_gb_per_s": self.copy_gb_per_s,
            "whole_s": self.whole_s,
            "watched_s": median(self.found.passes_s) if self.found.passes_s else None,
            "nodes_s": self.nodes_s,
            "nodes": self.nodes,
        }

    def frame(self) -> DataFrame:
        """The nodes, one row each."""
        from cnnbench.output.frame_columns import PROFILE
        from cnnbench.output.frames import frame_of

        return frame_of(({**row, "members": " ".join(row["members"])} for row in self.nodes), PROFILE)


def _over(value: float, by: float) -> float | None:
    return value / by if by > 0 else None


@takes(ProfileKeywords)
def profile(
    network: Network, *, backend: str = "numpy", precision: str = "float32", **how: Unpack[ProfileKeywords]
) -> NetworkProfile:
    """Times a forward pass node by node on this machine's processors.

    A program that runs step by step (NumPy's, PyTorch's in mode ``eager``) is timed in passes that run all of it. Of a
    program that a compiler took as a whole no time belongs to one node: there each layer is compiled and run alone,
    which is not what it costs in the whole, and the result says so.

    Args:
        network: A registered name, the path of a YAML or ONNX file, a graph or a model.
        backend: ``NAME`` or ``NAME:MODE``.
        precision: The policy.
        how: The keywords below.

    Raises:
        SpecError, DataError: As ``load``.
        UnavailableError, SuiteError: A backend, mode or precision that is not here, or a number below 1.
    """
    from cnnbench.measurement.least_work import value_bytes
    from cnnbench.measurement.profile import profile_pass, work_of
    from cnnbench.spec.draws import draw_inputs

    batch, rounds = _positive("batch", how.get("batch", 1)), _positive("rounds", how.get("rounds", 10))
    seed, threads = how.get("seed", 0), how.get("threads")
    chosen, policy = chosen_backend(backend, precision), find_precision(precision)
    model = load(network, seed=seed, image=how.get("image"), num_classes=how.get("num_classes"))
    options = ProgramOptions(chosen.mode, policy, fold_batch_norm=how.get("fold_batch_norm", False))
    loaded = chosen.load(ProcessSettings(threads))
    program = loaded.compile_forward(model.graph, options)
    program.load(*split_state(model.graph, model.arrays))
    operands = program.upload(draw_inputs(model.graph, seed, batch))
    size, before = value_bytes(policy), _machine(policy.storage, threads)
    found = profile_pass(
        program, operands, lambda step, graph: work_of(step, graph, batch, size), loaded.synchronize, rounds=rounds
    )
    told = WITHIN
    if found is None:
        told = ALONE
        layers = _Layers(loaded, options, batch, seed)
        found = layers.profile(model.graph, lambda: program.run(operands), rounds)
    after = _machine(policy.storage, threads)
    best = {name: max(value, after[name]) for name, value in before.items()}
    return NetworkProfile(
        model.graph.name, chosen.plugin.name, chosen.mode, policy.name, batch, told, **best, found=found
    )


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise SuiteError(f"{name} is too small", where=name, received=value, expected="1 or more")
    return value


def _machine(storage: str, threads: int | None) -> dict[str, float]:
    """The yardsticks with so many threads of NumPy's BLAS, which the NumPy backend sets."""
    from cnnbench.measurement.yardsticks import yardsticks

    if threads is not None:
        chosen_backend("numpy").load(ProcessSettings(threads))
    return yardsticks(storage=storage)


@dataclass(frozen=True)
class _Layers:
    """Layers compiled one by one: for a backend that compiles a graph as a whole."""

    backend: Backend
    options: ProgramOptions
    batch: int
    seed: int

    def profile(self, graph: Graph, whole: Callable[[], object], rounds: int) -> Profile:
        """Every node of the graph as this backend lowers and folds it; equal layers on equal shapes are one program."""
        from cnnbench.measurement.profile import profile_alone
        from cnnbench.spec.passes import fold_batch_norm, lower

        graph = lower(graph, native=self.backend.capabilities().kinds)
        if self.options.fold_batch_norm:
            graph = fold_batch_norm(graph)
        programs: dict[object, Callable[[], object]] = {}
        calls = []
        for node in graph.nodes:
            key = (node.layer, graph.input_shapes(node, self.batch), tuple(graph.dtypes[v] for v in node.inputs))
            if key not in programs:
                programs[key] = self._run_of(graph.single(node.name, self.batch))
            calls.append((self._work(graph, node.name), programs[key]))
        return profile_alone(calls, whole, self.backend.synchronize, rounds=rounds)

    def _run_of(self, single: Graph) -> Callable[[], object]:
        from dataclasses import replace

        from cnnbench.spec.draws import draw_inputs
        from cnnbench.spec.weights import initialize

        program: ForwardProgram = self.backend.compile_forward(single, replace(self.options, fold_batch_norm=False))
        program.load(*split_state(single, initialize(single, self.seed)))
        operands = program.upload(draw_inputs(single, self.seed, self.batch))
        return lambda: program.run(operands)

    def _work(self, graph: Graph, name: str) -> StepWork:
        from cnnbench.measurement.least_work import value_bytes
        from cnnbench.measurement.profile import node_work

        return node_work(graph, (name,), self.batch, value_bytes(self.options.precision))
