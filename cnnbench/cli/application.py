"""The typer application: which command lives where."""

from __future__ import annotations

from typing import Annotated

import typer

from cnnbench.cli.ab import ab
from cnnbench.cli.bundle import bundle, verify_bundle
from cnnbench.cli.claims import claims
from cnnbench.cli.conformance import conformance
from cnnbench.cli.doctor import doctor
from cnnbench.cli.export import export
from cnnbench.cli.faults import application as faults
from cnnbench.cli.fuzz import fuzz
from cnnbench.cli.gate import baseline_application as baseline
from cnnbench.cli.gate import compare, gate
from cnnbench.cli.gc import gc
from cnnbench.cli.listing import application as listing
from cnnbench.cli.merge import merge
from cnnbench.cli.plan import plan
from cnnbench.cli.port import port
from cnnbench.cli.predict import predict
from cnnbench.cli.profile import profile
from cnnbench.cli.reduce import reduce
from cnnbench.cli.replay import replay
from cnnbench.cli.report import report
from cnnbench.cli.run import run
from cnnbench.cli.schema import schema
from cnnbench.cli.show import show
from cnnbench.cli.ui import ui
from cnnbench.cli.verify import verify
from cnnbench.cli.view import view
from cnnbench.cli.weights import application as weights
from cnnbench.version import __version__

application = typer.Typer(
    name="cnnbench",
    help="The same convolutional network on every framework: proven equal first, then timed.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cnnbench {__version__}")
        raise typer.Exit


@application.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Every command has --help."""


application.command("run")(run)
application.command("plan")(plan)
application.add_typer(listing, name="list")
application.command("show")(show)
application.command("verify")(verify)
application.command("reduce")(reduce)
application.command("replay")(replay)
application.command("fuzz")(fuzz)
application.add_typer(faults, name="faults")
application.command("predict")(predict)
application.command("profile")(profile)
application.command("export")(export)
application.command("port")(port)
application.command("conformance")(conformance)
application.command("claims")(claims)
application.command("view")(view)
application.command("compare")(compare)
application.command("ab")(ab)
application.add_typer(baseline, name="baseline")
application.command("gate")(gate)
application.command("report")(report)
application.command("bundle")(bundle)
application.command("verify-bundle")(verify_bundle)
application.command("merge")(merge)
application.command("gc")(gc)
application.command("ui")(ui)
application.add_typer(weights, name="weights")
application.command("schema")(schema)
application.command("doctor")(doctor)
