"""Options that several commands share: one declaration, one wording, in the groups in which commands take them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.addresses import TRACKING

if TYPE_CHECKING:
    from cnnbench.face.keywords import OutputKeywords, SuiteKeywords
    from cnnbench.harness.run.events import Listener
    from cnnbench.harness.run.extensions import Recorder
    from cnnbench.spec.graph import Graph

RUNS = Path("reports/runs")

_SUITE = typer.Argument(
    metavar="SUITE", help="A suite's file, or the name of one that ships: resnet.", show_default=False
)
Suites = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SUITE...", help="Suites' files, or names of suites that ship: resnet.", show_default=False),
]
SuiteFile = Annotated[Path, _SUITE]
OptionalSuite = Annotated[Path | None, _SUITE]
Architecture = Annotated[
    str,
    typer.Argument(
        metavar="ARCHITECTURE", help="A registered name, or the file of a network in YAML or ONNX.", show_default=False
    ),
]
Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's folder or id, a suite's name (its newest run), or 'latest'.")
]
Root = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where runs' folders lie.")]
NewRuns = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where runs' folders are made.")]
Backends = Annotated[
    list[str], typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Only this backend (repeatable).")
]
Backend = Annotated[str, typer.Option("-b", "--backend", metavar="NAME", help="The backend.", show_default=False)]
Mode = Annotated[str | None, typer.Option("--mode", help="The backend's mode; its default where absent.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Computing threads.")]
Precision = Annotated[str, typer.Option("--precision", help="float64, float32, bfloat16 ...")]
Folding = Annotated[bool, typer.Option("--fold-batch-norm", help="Fold batch norms into the convolutions before them.")]
Image = Annotated[str | None, typer.Option("--image", metavar="CxHxW", help="The image shape: 3x224x224, or 224.")]
Classes = Annotated[int | None, typer.Option("--num-classes", min=1, help="Instead of the architecture's own.")]
Fault = Annotated[str | None, typer.Option(metavar="NAME", help="Inject a fault of 'list faults' first.")]
Thorough = Annotated[bool, typer.Option("--thorough", help="Let each check also do what costs much.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of every array that is drawn.")]
Junit = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Also write JUnit XML here.")]
TrackingUri = Annotated[str | None, typer.Option("--tracking-uri", metavar="URI", help="MLflow's store or server.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Results and errors only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="More detail; errors with their traceback.")]


@dataclass(frozen=True)
class Shown:
    """What a command prints."""

    json: Json = False
    verbose: Verbose = False


@dataclass(frozen=True)
class ShownQuietly:
    """What a command prints that says on the way what it does."""

    json: Json = False
    quiet: Quiet = False
    verbose: Verbose = False


@dataclass(frozen=True)
class Network:
    """A network by name or file, in a size."""

    architecture: Architecture
    image: Image = None
    num_classes: Classes = None

    def build(self) -> Graph:
        """Its graph. Raises SpecError, DataError, SuiteError."""
        from cnnbench.face.networks import build

        return build(self.architecture, self.shape, self.num_classes)

    @property
    def is_as_declared(self) -> bool:
        """Whether it has the size for which an architecture declares its facts."""
        return self.image is None and self.num_classes is None

    @property
    def shape(self) -> tuple[int, ...] | int | None:
        """The image shape, or its side. Raises SuiteError."""
        return parse_image(self.image)


@dataclass(frozen=True)
class Weights:
    """Where a network's weights come from."""

    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Of any format that 'weights import' reads.")
    ] = None
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights where no file is given, and of inputs.")] = 0


@dataclass(frozen=True)
class Selection:
    """Which cells of a suite are wanted, and what is changed in it."""

    backends: Backends = field(default_factory=list)
    expression: Annotated[
        str | None, typer.Option("-k", metavar="EXPR", help="Only cells whose id fits, such as 'resnet50 and not b8'.")
    ] = None
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="PATH=VALUE", help="Change the suite: measure.latency.rounds=3.")
    ] = field(default_factory=list)
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the suite's seed.")] = None
    threads: Threads = None
    precision: Annotated[str | None, typer.Option("--precision", help="Instead of the suite's: float64 ...")] = None
    quick: Annotated[bool, typer.Option("--quick", help="Smallest batches, few rounds, one epoch: a trial only.")] = (
        False
    )
    thorough: Thorough = False
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="When a worker's answer is overdue.")
    ] = None
    shard: Annotated[str | None, typer.Option("--shard", metavar="I/N", help="The I-th of N parts of the suite.")] = (
        None
    )

    @property
    def keywords(self) -> SuiteKeywords:
        """As the face takes them. Raises SuiteError where the shard is no I/N."""
        return {
            "backends": self.backends,
            "expression": self.expression,
            "overrides": self.overrides,
            "seed": self.seed,
            "threads": self.threads,
            "precision": self.precision,
            "quick": self.quick,
            "thorough": self.thorough,
            "timeout_s": self.timeout_s,
            "shard": parse_shard(self.shard),
        }


@dataclass(frozen=True)
class Start:
    """Whether a run begins, goes on, or is only planned."""

    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Continue a run as it was planned: its folder, id, or 'latest'."),
    ] = None


@dataclass(frozen=True)
class Destination:
    """Where a run's records and outcomes go."""

    output: NewRuns = RUNS
    junit: Junit = None
    tracking_uri: TrackingUri = None
    no_mlflow: Annotated[bool, typer.Option("--no-mlflow", help="Log nothing to MLflow.")] = False

    def check(self) -> None:
        """Refuses, before anything is measured, what could not be written. Raises StorageError."""
        from cnnbench.harness.run.files import check_folder_writable, check_writable

        check_folder_writable(self.output, "--output")
        if self.junit is not None:
            check_writable(self.junit, "--junit")

    def keywords(self, listener: Listener) -> OutputKeywords:
        """As the face takes them, with who shows progress."""
        where = recorders(mlflow=not self.no_mlflow, tracking_uri=self.tracking_uri)
        return {"output": self.output, "recorders": where, "listeners": (listener,)}


@dataclass(frozen=True)
class FoundRun:
    """A run that is there; the latest unless named."""

    run: Run = "latest"
    runs: Root = RUNS

    @property
    def folder(self) -> Path:
        """Its folder. Raises SuiteError where there is none."""
        from cnnbench.harness.run.lookup import find_run

        return find_run(self.run, self.runs)


def recorders(*, mlflow: bool, tracking_uri: str | None) -> Mapping[str, Recorder]:
    """Every plugin's recorders by name, without MLflow's where it is not wanted."""
    import os

    from cnnbench.harness.run.hooks import offered_recorders

    if tracking_uri is not None:
        os.environ[TRACKING] = tracking_uri
    return {name: recorder for name, recorder in offered_recorders().items() if mlflow or name != "mlflow"}


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """``2/3`` as (2, 3). Raises SuiteError."""
    if text is None:
        return None
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal()):
        from cnnbench.errors import SuiteError

        raise SuiteError("the shard is not valid", where="--shard", received=text, expected="I/N with 1 <= I <= N")
    return int(part), int(parts)


def parse_image(text: str | None) -> tuple[int, ...] | int | None:
    """``3x224x224`` as (3, 224, 224), ``224`` as 224. Raises SuiteError."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        from cnnbench.errors import SuiteError

        raise SuiteError("the image shape is not valid", where="--image", received=text, expected="CxHxW, or a side")
    shape = tuple(map(int, parts))
    return shape if len(shape) > 1 else shape[0]
