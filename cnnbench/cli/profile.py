"""``cnnbench profile``: where the time of a forward pass goes, node by node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import print_json, show_lines, show_table

if TYPE_CHECKING:
    from cnnbench.face.profiling import NetworkProfile

_OF = "NAME[:MODE]"


@dataclass(frozen=True)
class Timing:
    """How the pass is run and timed."""

    batch: Annotated[int, typer.Option("--batch", min=1, help="Images.")] = 1
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="In each of which every node is timed once.")] = 10
    precision: o.Precision = "float32"
    fold_batch_norm: o.Folding = False
    threads: o.Threads = None
    seed: o.Seed = 0


@grouped
def profile(
    network: o.Network,
    backend: Annotated[
        str, typer.Option("-b", "--backend", metavar=_OF, help="The backend, in its default mode unless named.")
    ] = "numpy",
    *,
    timing: Timing,
    shown: o.Shown,
) -> None:
    """Show where the time of a forward pass goes: time, speed and share of the machine's limit by node."""
    from cnnbench.face.profiling import profile as profiled
    from cnnbench.output.profile_table import profile_table

    found = profiled(
        network.architecture,
        backend=backend,
        precision=timing.precision,
        image=network.shape,
        num_classes=network.num_classes,
        batch=timing.batch,
        rounds=timing.rounds,
        fold_batch_norm=timing.fold_batch_norm,
        threads=timing.threads,
        seed=timing.seed,
    )
    if shown.json:
        print_json(found.to_json())
        return
    show_table(profile_table(found.nodes))
    show_lines(_said(found, found.to_json()))


def _said(found: NetworkProfile, data: dict[str, Any]) -> list[str]:
    """What the table is of, a line for each subject."""
    watched = f" (watched {1e3 * data['watched_s']:.2f} ms)" if data["watched_s"] is not None else ""
    return [
        "",
        f"{found.network}: {found.backend} {found.mode}, {found.precision}, batch {found.batch}",
        f"nodes timed: {found.how}; medians of {data['rounds']} rounds",
        f"sum of nodes {1e3 * found.nodes_s:.2f} ms; whole pass {1e3 * found.whole_s:.2f} ms{watched}",
        f"machine: {'float64' if found.precision == 'float64' else 'float32'} matrix product "
        f"{found.matrix_product_gflop_per_s:.1f} GFLOP/s, copy {found.copy_gb_per_s:.1f} GB/s",
        "roofline: the longer of 2 MACs and bytes at these speeds, over the time; "
        "above 100 % values lay in caches, or the algorithm saves products",
    ]
