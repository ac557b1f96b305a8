"""What each pass finds of a cell, kept on disk by itself until the cell's record is complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from cnnbench.harness.suite.status import Status
from cnnbench.harness.worker.origin import Origin
from cnnbench.harness.worker.plain_text import plain_text
from cnnbench.measurement.observation import Observation
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.training_envelope import CurveAgreement
from cnnbench.spec.frozen import Frozen
from cnnbench.training.epoch import Epoch, training_rate, waiting_share
from cnnbench.training.metrics.score import Score
from cnnbench.training.target import Target


class Digests(Frozen):
    """SHA-256 of what went in; where one differs, two records are not comparable.

    Args:
        graph, inputs: Of the network and of its inputs.
        weights: Of what is checked, timed and measured.
        start: Of the weights that training starts from; None for a cell that does not train.
        program: Of the training program; None for a cell that does not train by one.
    """

    graph: str
    weights: str
    inputs: str
    start: str | None = None
    program: str | None = None

    def differing(self, other: Digests) -> list[str]:
        """The names of those that differ."""
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]


class Phases(Frozen):
    """Seconds of each phase before the steady state, in order; None where a phase does not exist."""

    import_s: float | None = None
    build_s: float | None = None
    weights_s: float | None = None
    compile_s: float | None = None  # trace and compile: the first call less a steady one, where they cannot be parted
    first_call_s: float | None = None
    warmup_s: float | None = None
    warmup_calls: int | None = None


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


class Evaluation(Frozen):
    """How NumPy's predictions with a trained network compare with those of the backend that trained it.

    Args:
        images: Test images that were compared.
        near_ties: Test images that were not, because two classes are nearly equal there, or because what a network
            chooses (detections, words) hangs on a rounding.
        differing: The positions of images whose predicted classes, or whose outputs, differ.
        compared: What was: the class of each image, or all its outputs.
        allowed: By how much of an output's largest magnitude in an image its values may differ.
        largest: By how much they do at most.
    """

    images: int
    near_ties: int
    differing: tuple[int, ...]
    compared: Literal["classes", "outputs"] = "classes"
    allowed: float | None = None
    largest: float | None = None


class Training(Frozen):
    """A training run of a cell.

    Args:
        losses: Of each step; of a training by a program, of each phase in turn. phases: the names of these; () for the
            plain loop. predictions, targets: the final test classes. test_accuracy: the share that is right;
            None for a network that does not classify.
        envelope: The curve's agreement with the reference; None where it was not compared.
        evaluation: The predictions' agreement with NumPy's; None where they were not compared.
        target: What was to be reached, and when it was; None where the suite names none.
        peak_bytes: By how much the worker's resident memory rose during the training at most, from what it held
            before: data, the compiled step and evaluation included. None where it was not measured.
        device_peak_bytes: The device allocator's peak in the training; None on the processor.
    """

    epochs: tuple[Epoch, ...]
    losses: tuple[float, ...]
    phases: tuple[str, ...] = ()
    predictions: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()
    test_accuracy: float | None = None
    envelope: Annotated[CurveAgreement | None, BeforeValidator(lambda given: given or None)] = None  # {} in old records
    evaluation: Evaluation | None = None
    target: Target | None = None
    peak_bytes: int | None = None
    device_peak_bytes: int | None = None

    @property
    def images_per_s(self) -> float | None:
        """Training images over the seconds of their steps, after the first epoch, which compiles, if there are more."""
        return training_rate(self.epochs[1:] or self.epochs)

    @property
    def data_share(self) -> float | None:
        """The share of the time of steps and data together that steps waited for data, over the same epochs."""
        return waiting_share(self.epochs[1:] or self.epochs)

    @property
    def memory_bytes(self) -> int | None:
        """The device's peak, or on the processor the rise of resident memory."""
        return self.peak_bytes if self.device_peak_bytes is None else self.device_peak_bytes

    @property
    def missed_target(self) -> str | None:
        """In words, that the target was not reached; None where it was, or there is none."""
        return None if self.target is None else self.target.missed(self.epochs)

    @property
    def metrics(self) -> tuple[Score, ...]:
        """Of the test images at the end."""
        return self.epochs[-1].metrics if self.epochs else ()

    @property
    def in_words(self) -> str:
        """What it reached on the test images."""
        return self.epochs[-1].in_words if self.epochs else "no epoch"


class Sample(Frozen):
    """One timed call: a line of ``samples.jsonl``."""

    launch: int = Field(ge=0)
    round: int = Field(ge=0)
    index: int = Field(ge=0)
    latency_s: float = Field(gt=0)


class ChecksPart(Frozen):
    """The numerical checks of a cell."""

    origin: Origin = Origin()
    outcomes: tuple[CheckOutcome, ...]


class LaunchPart(Frozen):
    """What one launch of the workers gave of a cell.

    Args:
        calls_per_sample: A sample is the mean of so many calls, each waited for.
        outputs: Digest of what the first call gave.
        observations: One a round. apart: whether the launch was measured without the rest of its group.
        control: Timed calls of the same program in another worker, in the same rounds; () where the cell has none.
    """

    origin: Origin = Origin()
    launch: int
    phases: Phases
    steady: bool
    calls_per_sample: int
    samples: tuple[Sample, ...]
    observations: tuple[Observation, ...] = ()
    notes: tuple[str, ...] = ()
    outputs: str | None = None
    apart: bool = False
    control: tuple[Sample, ...] = ()


class MemoryPart(Frozen):
    """The memory pass of a cell; ``note`` says why there is no figure."""

    origin: Origin = Origin()
    phases: Phases
    memory: Memory | None
    outputs: str | None = None
    note: str | None = None


class TrainingPart(Frozen):
    """The training run of a cell. Args: examples: digest of the file with what it made of the first test images."""

    origin: Origin = Origin()
    training: Training
    examples: str | None = None


class CurvePart(Frozen):
    """The losses of a reference run on the side, as far as it went.

    Args:
        number: Of the run from perturbed weights, 0 for the unperturbed one; None for the run in float64.
    """

    origin: Origin = Origin()
    number: int | None
    losses: tuple[float, ...]


class Failure(Frozen):
    """Why a cell ended before its end."""

    status: Status
    reason: Annotated[str, AfterValidator(plain_text)]


Part = ChecksPart | LaunchPart | MemoryPart | TrainingPart | CurvePart


@dataclass(frozen=True)
class Parts:
    """All that is known of a cell so far.

    Args:
        references: NumPy's training curves by number. exact_curve: the losses of the run in float64.
    """

    checks: ChecksPart | None = None
    launches: tuple[LaunchPart, ...] = ()
    memory: MemoryPart | None = None
    training: TrainingPart | None = None
    references: Mapping[int, CurvePart] = field(default_factory=dict)
    exact_curve: CurvePart | None = None

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every timed call, launch by launch."""
        return tuple(sample for part in self.launches for sample in part.samples)

    @property
    def outputs(self) -> str | None:
        """The digest of what the timed program gave, in its first launch."""
        found = (*(part.outputs for part in self.launches), self.memory.outputs if self.memory else None)
        return next((digest for digest in found if digest is not None), None)

    @property
    def origin(self) -> Origin:
        """Of the first part that has one."""
        found = (self.launches[0] if self.launches else None, self.memory, self.training, self.checks)
        return next((part.origin for part in found if part is not None), Origin())
