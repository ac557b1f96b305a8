"""Options that several commands share: one declaration, one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Suites = Annotated[list[Path], typer.Argument(metavar="SUITE...", help="Suite files.", show_default=False)]
SuiteFile = Annotated[Path, typer.Argument(metavar="SUITE", help="A suite file.", show_default=False)]
Network = Annotated[
    str,
    typer.Argument(
        metavar="ARCHITECTURE", help="A registered name, or the file of a network in YAML or ONNX.", show_default=False
    ),
]
Backends = Annotated[
    list[str], typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Only this backend (repeatable).")
]
Backend = Annotated[str, typer.Option("-b", "--backend", metavar="NAME", help="The backend.", show_default=False)]
Expression = Annotated[
    str | None, typer.Option("-k", metavar="EXPR", help="Only cells whose id fits, such as 'resnet50 and not b8'.")
]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Change the suite: measure.latency.rounds=3.")
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the suite's seed.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Computing threads.")]
Precision = Annotated[str | None, typer.Option("--precision", help="float64, float32, bfloat16 ...")]
Quick = Annotated[bool, typer.Option("--quick", help="Smallest batches, few rounds, one epoch: a look only.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", min=0.001, metavar="SECONDS", help="When a worker's answer is overdue.")
]
Shard = Annotated[str | None, typer.Option("--shard", metavar="I/N", help="The I-th of N parts of the suite.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable on stdout, and nothing else there.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Results and errors only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="More detail; errors with their traceback.")]
Image = Annotated[str | None, typer.Option("--image", metavar="CxHxW", help="The image shape: 3x224x224, or 224.")]
Classes = Annotated[int | None, typer.Option("--num-classes", min=1, help="Instead of the architecture's own.")]
Mode = Annotated[str | None, typer.Option("--mode", help="The backend's mode; its default where absent.")]
