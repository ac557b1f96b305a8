"""Reads a suite from its YAML file: overrides, strict validation with positions, and the command line's options."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.harness.suite.claim_settings import shortened_claims
from cnnbench.harness.suite.exclusions import idle_exclusions
from cnnbench.harness.suite.matrix import Axes, PositiveFloat, PositiveInt, Seed
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.names import Path as KeyPath
from cnnbench.harness.suite.names import recordable, wrong_names
from cnnbench.harness.suite.networks import PackageFile
from cnnbench.harness.suite.overrides import Override, apply, parse
from cnnbench.harness.suite.program_training import shortened
from cnnbench.porting.references import file_name, is_of_file, named_file
from cnnbench.spec.frozen import Frozen
from cnnbench.spec.interchange.yaml_source import Located, read_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def load_suite(path: Path, overrides: Sequence[str] = ()) -> Suite:
    """The suite in a file.

    Args:
        path: A YAML file. Paths of networks in it (``file:PATH``) are relative to its folder.
        overrides: ``path=value`` each, as ``--set`` takes them: ``measure.latency.rounds=3``; the value is YAML.

    Raises:
        SuiteError: An unknown key, a wrong type or an unknown name, with file, line, column and the nearest name.
    """
    located = read_yaml(path)
    changes = [parse(text) for text in overrides]
    data = located.data
    for change in changes:
        data = apply(data, change)
    source = _Source(located, data, changes)
    if not isinstance(data, Mapping):
        raise SuiteError("a suite is a mapping", where=located.where(), received=type(data).__name__)
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        raise _explained(error, source) from None
    rooted = _rooted(suite, path.parent)
    for place, problem in chain(wrong_names(suite), idle_exclusions(rooted)):
        raise problem.at(source.where(place, key=False))
    return rooted


class _Source:
    """Where the parts of the data come from: the file, or an override."""

    def __init__(self, located: Located, data: Any, changes: Sequence[Override]) -> None:
        self.located = located
        self.data = data
        self.changes = changes

    def where(self, path: KeyPath, *, key: bool) -> str:
        """The place of a path in the model, in which scalars may have become lists and lists mappings."""
        written = self.written(path)
        for change in reversed(self.changes):
            if change.reaches(written):
                return f"--set {change.text}"
        return self.located.where(written, key)

    def written(self, path: KeyPath) -> KeyPath:
        """The path as the author wrote it: without the steps that validation put in."""
        value, kept = self.data, []
        for part in path:
            if isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            elif isinstance(value, Mapping) and isinstance(part, str):
                value = value.get(part)
            else:
                continue
            kept.append(part)
        return tuple(kept)


def _explained(error: ValidationError, source: _Source) -> SuiteError:
    """The most telling of pydantic's errors: an unknown key first, for a typo makes others."""
    errors = sorted(error.errors(include_url=False), key=lambda item: item["type"] != "extra_forbidden")
    first, more = errors[0], len(errors) - 1
    problem = _unknown_key(first, source) if first["type"] == "extra_forbidden" else _wrong_value(first, source)
    if more:
        problem = SuiteError(
            f"{problem.message} (and {more} more error{'s' if more > 1 else ''})",
            where=problem.where,
            received=problem.received,
            expected=problem.expected,
            remedy=problem.remedy,
        )
    return problem


def _unknown_key(item: ErrorDetails, source: _Source) -> SuiteError:
    path = item["loc"]
    parent = ".".join(str(part) for part in source.written(path[:-1])) or "the suite"
    model = _model_at(Suite, path[:-1])
    return SuiteError(
        f"unknown key {path[-1]!r} in {parent}",
        where=source.where(path, key=True),
        remedy=did_you_mean(str(path[-1]), model.model_fields if model else ()),
    )


def _wrong_value(item: ErrorDetails, source: _Source) -> SuiteError:
    path = item["loc"]
    name = ".".join(str(part) for part in source.written(path))
    if item["type"] == "missing":
        return SuiteError(f"the key {path[-1]!r} is missing", where=source.where(path[:-1], key=False))
    choices = item.get("ctx", {}).get("expected") if item["type"] == "literal_error" else None
    received = item["input"]
    remedy = None
    if choices is not None and isinstance(received, str):
        remedy = did_you_mean(received, [choice.strip("' ") for choice in choices.replace(" or ", ", ").split(",")])
    return SuiteError(
        f"the value of {name or 'the suite'} is not valid",
        where=source.where(path, key=False),
        received=repr(received),
        expected=choices or _expected(item["msg"]),
        remedy=remedy,
    )


def _expected(message: str) -> str:
    text = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return "a mapping" if text.startswith("a valid dictionary") else text


def _model_at(model: type[BaseModel], path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model class that validates the part at ``path``."""
    found: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, int):
            continue
        if found is None or part not in found.model_fields:
            return None
        found = _model_in(found.model_fields[part].annotation)
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in typing.get_args(annotation) if (model := _model_in(inner))), None)


def _rooted(suite: Suite, folder: Path) -> Suite:
    """The suite with whole paths of its networks and weights: a run of it may go on in another working folder."""

    def whole(name: str) -> str:
        return recordable(Path(os.path.abspath(folder / name)).as_posix())  # noqa: PTH100 - links stay

    def rooted(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names is None:
            return None
        return tuple(file_name(whole(str(named_file(name) or name))) if is_of_file(name) else name for name in names)

    def beside(name: str | None) -> str | None:
        return name if name is None or PackageFile.read(name) is not None else whole(name)

    def rooted_axes(axes: Axes) -> dict[str, Any]:
        return {"architectures": rooted(axes.architectures), "weights": beside(axes.weights)}

    blocks = tuple(
        block.model_copy(
            update={
                **rooted_axes(block),
                "include": tuple(axes.model_copy(update=rooted_axes(axes)) for axes in block.include),
                "exclude": tuple(
                    item.model_copy(update={"architecture": rooted(item.architecture)}) for item in block.exclude
                ),
            }
        )
        for block in suite.matrix
    )
    train = suite.train and suite.train.model_copy(update={"architectures": rooted(suite.train.architectures)})
    return suite.model_copy(update={"matrix": blocks, "train": train})


class Adjustments(Frozen):
    """What the command line changes in a suite; None leaves the suite's own.

    Args:
        quick: Smallest batch of each block, one launch, three short rounds, one epoch, few rounds of a program.
        thorough: Whether each check also does what costs much.
        precision, threads: Instead of the axes of every block. timeout_s: of any request but a worker's start.
    """

    quick: bool = False
    thorough: bool = False
    seed: Seed | None = None
    threads: PositiveInt | None = None
    precision: str | None = None
    timeout_s: PositiveFloat | None = None

    @staticmethod
    def of(**given: Any) -> Adjustments:
        """The options by name. Raises SuiteError where one is out of bounds."""
        try:
            return Adjustments(**given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise SuiteError(
                "the option is not valid",
                where=str(first["loc"][0]),
                received=repr(first["input"]),
                expected=_expected(first["msg"]),
            ) from None


def adjusted(suite: Suite, adjustments: Adjustments) -> Suite:
    """The suite with the command line's options."""
    changes: dict[str, Any] = {}
    axes: dict[str, Any] = {}
    if adjustments.seed is not None:
        changes["seed"] = adjustments.seed
    if (limit := adjustments.timeout_s) is not None:
        changes["timeouts"] = suite.timeouts.model_copy(update={"compile_s": limit, "call_s": limit})
    if adjustments.threads is not None:
        axes["threads"] = (adjustments.threads,)
    if adjustments.precision is not None:
        from cnnbench.execution.precision import precision

        axes["precision"] = (precision(adjustments.precision).name,)
    if adjustments.quick:
        changes |= _quick(suite)
    if adjustments.thorough:
        changes["checks"] = suite.checks.model_copy(update={"thorough": True})
    blocks = []
    for block in suite.matrix:
        smallest = {"batch": (min(block.batch),)} if adjustments.quick and block.batch else {}
        include = tuple(item.model_copy(update=axes) for item in block.include)
        blocks.append(block.model_copy(update={**axes, **smallest, "include": include}))
    return suite.model_copy(update={**changes, "matrix": tuple(blocks)})


def _quick(suite: Suite) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    latency = suite.measure.latency
    if latency is not None:
        short = latency.model_copy(
            update={"launches": 1, "rounds": min(latency.rounds, 3), "samples": min(latency.samples, 3)}
        )
        changes["measure"] = suite.measure.model_copy(update={"latency": short})
    if suite.train is not None:
        recipes = tuple(recipe.model_copy(update={"epochs": None}) for recipe in suite.train.recipes)
        changes["train"] = suite.train.model_copy(update={"epochs": 1, "recipes": recipes})
    return {**changes, "programs": tuple(map(shortened, suite.programs)), "claims": shortened_claims(suite.claims)}
