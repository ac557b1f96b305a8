"""Groups of options become options, and what several commands share is declared once."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import typer

from cnnbench.cli import options as o
from cnnbench.cli.entry import execute
from cnnbench.cli.grouping import grouped
from cnnbench.errors import SuiteError

CLI = Path(o.__file__).parent


@dataclass(frozen=True)
class Pair:
    """A required option and a list."""

    size: Annotated[int, typer.Option("--size", min=1)]
    names: Annotated[list[str], typer.Option("--name")] = field(default_factory=list)


def called(*arguments: str) -> list[object]:
    """What a command with a group is called with."""
    found: list[object] = []

    @grouped
    def command(word: Annotated[str, typer.Argument()], pair: Pair, *, shown: o.Shown) -> None:
        """Says what it is for."""
        found.extend((word, pair, shown))

    application = typer.Typer(rich_markup_mode=None)
    application.command()(command)
    application(args=list(arguments), standalone_mode=False)
    return found


def test_a_group_s_fields_are_options_of_the_command() -> None:
    assert called("a", "--size", "3", "--json") == ["a", Pair(3), o.Shown(json=True)]
    assert called("a", "--name", "x", "--size", "1", "--name", "y") == ["a", Pair(1, ["x", "y"]), o.Shown()]


def test_a_list_is_a_new_one_for_each_call() -> None:
    first, second = (called("a", "--size", "1")[1] for _ in range(2))
    assert first.names is not second.names


@pytest.mark.parametrize("arguments", [("a",), ("a", "--size", "0"), ("a", "--size", "1", "--nam", "x")])
def test_a_group_s_options_are_checked(arguments: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match=r"size|greater|No such option"):
        called(*arguments)


def test_help_has_the_text_of_the_command_and_of_shared_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["plan", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Show the cells of a suite without running anything." in out
    for word in ("--backend NAME[:MODE]", "-k EXPR", "--set PATH=VALUE", "--shard I/N", "--json", "--verbose"):
        assert word in out
    assert "chosen" not in out


def declared() -> list[tuple[str, str]]:
    """The names and the text of every option, as the modules of the command line declare them."""
    found = []
    for path in sorted(CLI.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Option":
                found.append((ast.unparse(node), path.name))
    return found


def test_no_option_is_declared_twice() -> None:
    texts = [text for text, _ in declared()]
    assert len(texts) > 40
    assert sorted({text for text in texts if texts.count(text) > 1}) == []


@pytest.mark.parametrize(("text", "value"), [("2/3", (2, 3)), (None, None)])
def test_a_shard_is_read(text: str | None, value: object) -> None:
    assert o.parse_shard(text) == value


@pytest.mark.parametrize("text", ["2", "a/b", "-1/2", "1/2/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(SuiteError, match="the shard is not valid"):
        o.parse_shard(text)


@pytest.mark.parametrize(("text", "value"), [("3x224x224", (3, 224, 224)), ("224", 224), (None, None)])
def test_an_image_is_read(text: str | None, value: object) -> None:
    assert o.parse_image(text) == value


@pytest.mark.parametrize("text", ["", "3x", "0", "3x-1x2", "wide"])
def test_what_is_no_image_is_refused(text: str) -> None:
    with pytest.raises(SuiteError, match="the image shape is not valid"):
        o.parse_image(text)
