"""What is written of a cell: one frozen value, versioned, in SI units; everything that is shown or judged reads it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1

Status = Literal[
    "ok",
    "skipped",  # a capability is missing; the reason says which
    "crashed",
    "hung",
    "out_of_memory",
    "error",  # the worker answered with an exception
    "nan",
    "wrong_shape",
    "wrong_dtype",
    "mismatch",  # a numerical check failed
    "interrupted",
]
EXIT_CODES: dict[str, int] = {
    "crashed": 3,
    "hung": 3,
    "out_of_memory": 3,
    "error": 3,
    "nan": 4,
    "wrong_shape": 4,
    "wrong_dtype": 4,
    "mismatch": 4,
}


class Frozen(BaseModel):
    """A strict, immutable value."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Cell(Frozen):
    """One point of a suite's matrix: a network on a backend under stated settings.

    Args:
        id: Readable and unique in the run; also the name of its folder.
        key: Digest of what the suite asks of it (no versions, no interpreter); baselines match on it.
        group: Its comparison group: cells that share architecture, batch, image, precision, device and threads.
        architecture: A registered name, or ``file:<path>`` of a user's network.
        image: (C, H, W). fold_batch_norm: whether the timed program has its batch norms folded.
        data: The dataset that inputs come from; ``random`` for seeded normal numbers.
        weights: The file of trained weights; None for those of the network's own file, or seeded ones.
        side: ``head``, or ``base`` in an A/B run.
        skip: The reason why it is not run, or None.
        train: Whether this cell trains (its settings are the suite's).
    """

    id: str
    key: str
    group: str
    architecture: str
    backend: str
    mode: str
    layout: str = "auto"
    batch: int
    image: tuple[int, ...]
    num_classes: int | None = None
    precision: str = "float32"
    device: str = "cpu"
    threads: int | None = None
    fold_batch_norm: bool = False
    seed: int = 0
    data: str = "random"
    weights: str | None = None
    side: Literal["head", "base"] = "head"
    skip: str | None = None
    checks: tuple[str, ...] = ()
    measure: tuple[str, ...] = ("latency", "memory")
    train: bool = False

    @property
    def series(self) -> str:
        """The backend with its mode, as tables and legends name it: ``torch eager``."""
        return f"{self.backend} {self.mode}"


class Interval(Frozen):
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float
    confidence: float = 0.95


class Digests(Frozen):
    """SHA-256 of what went in; where one differs, two records are not comparable."""

    graph: str
    weights: str
    inputs: str


class Phases(Frozen):
    """Seconds of each phase before the steady state, in order; None where a phase does not exist."""

    import_s: float | None = None
    build_s: float | None = None
    weights_s: float | None = None
    compile_s: float | None = None  # trace and compile: the first call less a steady one, where they cannot be parted
    first_call_s: float | None = None
    warmup_s: float | None = None
    warmup_calls: int | None = None


class Latency(Frozen):
    """Steady-state latency of one batch."""

    median_s: Interval
    p90_s: Interval
    p99_s: Interval
    throughput_images_per_s: Interval
    samples: int
    rounds: int
    launches: int
    steady: bool  # whether the steady state was reached before sampling
    note: str | None = None


class RoundRatio(Frozen):
    """A round's median of the control over the cell's."""

    launch: int
    round: int
    ratio: float = Field(gt=0)


class Control(Frozen):
    """An A/A comparison: the cell's program in a second worker, timed in the same rounds. The truth is a ratio of 1.

    Args:
        ratio: Control / cell with its interval.
        rounds: The ratio of each round.
    """

    ratio: Interval
    rounds: tuple[RoundRatio, ...]


class Memory(Frozen):
    """Peak memory of a fresh worker while it runs the cell warm, above what it held before the network came.

    Args:
        peak_bytes: ``total_peak_bytes`` less ``null_bytes``.
        total_peak_bytes: The most that was resident during the warm calls; compiling lies before and does not count.
        null_bytes: What was resident once a network of one ReLU had run: framework, runtime and threads.
        device_peak_bytes: The device allocator's peak in the warm calls; None on the processor.
    """

    peak_bytes: int
    total_peak_bytes: int
    null_bytes: int
    device_peak_bytes: int | None = None


class Observed(Frozen):
    """What the machine did while the cell was timed."""

    threads: float | None = None  # processor time / wall time
    stolen_fraction: float | None = None
    foreign_fraction: float | None = None  # of all processors' time, used by other processes
    involuntary_switches: int | None = None
    frequency_hz: float | None = None
    notes: tuple[str, ...] = ()


class CheckOutcome(Frozen):
    """One numerical check of a cell.

    Args:
        name: Of ``matrix.CHECKS``.
        status: ``passed``, ``failed``, or ``skipped`` with its reason in ``message``.
        budget_used: Largest fraction of the sharp budget used (a failure is above 1); None where none applies.
        worst_case_used: Largest fraction of the worst-case budget used.
        node: The node where that is, or on failure the first node that introduces the error.
        message: One sentence. reproducer: path, within the cell's folder, of the file that reproduces a failure.
        details: Further figures, by name.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    budget_used: float | None = None
    worst_case_used: float | None = None
    node: str | None = None
    message: str = ""
    reproducer: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)


class NodeBudget(Frozen):
    """A node's use of its local error budget; ``numerics.json`` holds one for each node and direction."""

    node: str
    kind: str
    what: str  # "output", "input gradient 0", "gradient of weight", "running_mean" ...
    sharp_used: float
    worst_case_used: float
    budget: str  # the budget's form: "derived" or "measured sensitivity"
    worst_index: tuple[int, ...] = ()
    got: float | None = None
    expected: float | None = None


class Epoch(Frozen):
    """One epoch of training."""

    epoch: int
    step: int  # steps done when it ended
    train_loss: float
    test_loss: float
    test_accuracy: float
    seconds: float


class Training(Frozen):
    """A training run of a cell. ``losses`` holds the loss of each step; ``predictions`` the final test classes."""

    epochs: tuple[Epoch, ...]
    losses: tuple[float, ...]
    predictions: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    test_accuracy: float
    envelope: dict[str, Any] = Field(default_factory=dict)  # the curve's agreement with the reference


class Record(Frozen):
    """All that is known of a cell. Samples lie beside it in ``samples.jsonl``, node budgets in ``numerics.json``."""

    schema_version: int = SCHEMA_VERSION
    cell: Cell
    status: Status
    reason: str | None = None
    started_utc: str
    finished_utc: str
    digests: Digests | None = None
    outputs: str | None = None  # SHA-256 of what the timed program's first call gave
    phases: Phases = Phases()
    latency: Latency | None = None
    control: Control | None = None
    memory: Memory | None = None
    observed: Observed = Observed()
    checks: tuple[CheckOutcome, ...] = ()
    training: Training | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)  # requested and reported: threads, allocator, flags
    metrics: dict[str, float] = Field(default_factory=dict)  # from ``cnnbench_metrics`` plugins

    @property
    def exit_code(self) -> int:
        """0, 3 or 4."""
        return EXIT_CODES.get(self.status, 0)

    def check(self, name: str) -> CheckOutcome | None:
        """The outcome of a check, or None where it was not asked for."""
        return next((outcome for outcome in self.checks if outcome.name == name), None)


class Sample(Frozen):
    """One timed call: a line of ``samples.jsonl``."""

    launch: int
    round: int
    index: int
    latency_s: float
