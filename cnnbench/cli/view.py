"""``cnnbench view``: ways to look into a network, as pictures; with several backends, whether they show the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnbench.cli import options as o
from cnnbench.cli.grouping import grouped
from cnnbench.cli.terminal import echo, print_json, print_table

if TYPE_CHECKING:
    from cnnbench.face.viewing import ViewFindings


@dataclass(frozen=True)
class Looked:
    """What is looked at."""

    what: Annotated[
        list[str], typer.Option("--what", metavar="VIEW", help="Of 'list views' (repeatable). Default: saliency.")
    ] = field(default_factory=list)
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="F", help="A picture, or images as .npy, as the network takes them."),
    ] = None
    data: Annotated[
        str | None,
        typer.Option(metavar="DATASET", help="For views of many images; its first image, without --image."),
    ] = None
    limit: Annotated[int, typer.Option(min=1, help="Images of the dataset.")] = 256
    style: Annotated[Path | None, typer.Option(metavar="F", help="The picture whose style is taken.")] = None
    pixels: Annotated[
        str, typer.Option(help="How bytes become numbers: imagenet, efficientnet_lite or unit (0 to 1).")
    ] = "imagenet"
    compare_input: Annotated[
        Path | None,
        typer.Option(metavar="F", help="What another program made of the picture, as .npy: is it the network's input?"),
    ] = None
    class_number: Annotated[
        int | None, typer.Option("--class", metavar="N", help="The class; that of the largest score unless given.")
    ] = None
    node: Annotated[list[str], typer.Option(metavar="NAME", help="Whose values are looked at (repeatable).")] = field(
        default_factory=list
    )
    box: Annotated[
        str | None, typer.Option(metavar="T:B,L:R", help="A part of the image, in pixels: how much lies in it?")
    ] = None
    set: Annotated[
        list[str], typer.Option("--set", metavar="NAME=NUMBER", help="A view's setting: steps=64 (repeatable).")
    ] = field(default_factory=list)


@dataclass(frozen=True)
class Computed:
    """Who computes, in which size, and whether it is compared."""

    backend: Annotated[
        list[str], typer.Option("-b", "--backend", metavar="NAME[:MODE]", help="Repeatable. Default: numpy.")
    ] = field(default_factory=list)
    precision: o.Precision = "float32"
    size: Annotated[str | None, typer.Option(metavar="CxHxW", help="Of an image, instead of the network's own.")] = None
    num_classes: o.Classes = None
    check: Annotated[
        bool | None,
        typer.Option("--check/--no-check", help="Compare with the float64 reference. Default: with several backends."),
    ] = None
    fault: Annotated[
        str | None, typer.Option(metavar="NAME", help="Put a defect of 'list views' into the view first.")
    ] = None
    threads: o.Threads = None
    tracking_uri: o.TrackingUri = None


@grouped
def view(
    architecture: o.Architecture,
    looked: Looked,
    computed: Computed,
    weights: o.Weights,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where pictures, arrays and a page go.")
    ] = Path("reports/views"),
    *,
    shown: o.ShownQuietly,
) -> None:
    """Look into a network: what in an image it sees, and what its units look for."""
    from cnnbench.face.viewing import view as viewed
    from cnnbench.harness.run.files import check_folder_writable

    check_folder_writable(output, "--output")
    found = viewed(
        architecture,
        looked.image,
        looked.what or ("saliency",),
        backends=computed.backend or ("numpy",),
        precision=computed.precision,
        weights=weights.weights,
        seed=weights.seed,
        size=o.parse_image(computed.size),
        num_classes=computed.num_classes,
        class_number=looked.class_number,
        nodes=looked.node,
        data=looked.data,
        limit=looked.limit,
        style=looked.style,
        pixels=looked.pixels,
        compare_input=looked.compare_input,
        settings=_settings(looked.set),
        box=_box(looked.box),
        check=computed.check,
        fault=computed.fault,
        folder=output,
        tracking_uri=computed.tracking_uri,
        threads=computed.threads,
    )
    _show(found, shown)
    raise typer.Exit(found.exit_code)


def _show(found: ViewFindings, shown: o.ShownQuietly) -> None:
    if shown.json:
        print_json(found.to_json())
        return
    rows = [[item.view.name, item.backend, item.status, _used(item.used)] for item in found.findings]
    print_table(["view", "backend", "status", "of the budget"], rows)
    if found.compared_input is not None:
        echo(found.compared_input.in_words)
    for item in found.findings if not shown.quiet else ():
        for said in item.said:
            echo(f"{item.view.name} on {item.backend}: {said}")
    echo(f"wrote {found.files[-1]}")


def _used(shares: object) -> str | None:
    return f"{max(shares.values()):.3g}" if isinstance(shares, dict) and shares else None


def _box(text: str | None) -> list[int] | None:
    """``56:168,0:112`` as four numbers; what is no number is refused as a box that is none."""
    if text is None:
        return None
    parts = text.replace(",", ":").split(":")
    return [int(part) for part in parts] if all(part.isdecimal() for part in parts) else []


def _settings(texts: list[str]) -> dict[str, float]:
    """``steps=64`` as {"steps": 64.0}. Raises SuiteError."""
    from cnnbench.errors import SuiteError

    found = {}
    for text in texts:
        name, equals, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise SuiteError("the setting is not valid", where="--set", received=text, expected="NAME=NUMBER")
    return found
