"""Where each input of a training program comes from: a dataset, or the host's random streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError, SpecError, did_you_mean
from cnnbench.spec.fields import construct
from cnnbench.spec.layers import Shape
from cnnbench.spec.streams import stream
from cnnbench.training.batches import epoch_batches
from cnnbench.training.dataset import Dataset

Array = NDArray[Any]


@dataclass(frozen=True)
class Draw:
    """One array that is wanted.

    Args:
        input: The name of the program input. phase: of the phase that reads it.
        shape: With the batch axis.
        seed: Of the run. round: from 0.
    """

    input: str
    phase: str
    shape: Shape
    seed: int
    round: int


class Source:
    """Where an input comes from; each kind is a frozen dataclass of plain fields.

    Class attributes:
        kind: Its name in files, given with the base class: ``class Normal(Source, kind="normal")``.
    """

    kind: ClassVar[str] = ""

    def __init_subclass__(cls, *, kind: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind:
            cls.kind = kind
            _SOURCES[kind] = cls

    def read(self, draw: Draw, data: Mapping[str, Dataset], drawn: Mapping[str, Array]) -> Array:
        """The array.

        Args:
            draw: What is wanted.
            data: The datasets by the names that sources use.
            drawn: The inputs of the phase that were drawn before, by name.
        """
        raise NotImplementedError


_SOURCES: dict[str, type[Source]] = {}


def source_from_fields(kind: str, fields: Mapping[str, Any]) -> Source:
    """A source from plain data.

    Args:
        kind: Its registered name.
        fields: By name; sequences may be lists.

    Raises:
        SpecError: An unknown kind or field, or a field of another type.
    """
    if kind not in _SOURCES:
        raise SpecError(f"unknown source {kind!r}", remedy=did_you_mean(kind, _SOURCES))
    return construct(_SOURCES[kind], kind, fields)


@dataclass(frozen=True)
class FromData(Source, kind="data"):
    """An array of a dataset, the same images for all phases of a round, in an order of its own for each dataset.

    Args:
        what: ``images``, ``labels``, or the name of a truth.
        dataset: Which of the program's datasets.
        scaled_to: The values to which the smallest and the largest of the whole array are mapped; None: as they are.
    """

    what: str = "images"
    dataset: str = "data"
    scaled_to: tuple[float, float] | None = None

    def read(self, draw: Draw, data: Mapping[str, Dataset], drawn: Mapping[str, Array]) -> Array:
        if self.dataset not in data:
            raise DataError(
                f"the input {draw.input!r} needs a dataset {self.dataset!r}", remedy=did_you_mean(self.dataset, data)
            )
        found = data[self.dataset]
        known: dict[str, Array] = {"images": found.images, "labels": found.labels, **found.truth}
        if self.what not in known:
            raise DataError(
                f"{found.name} has no {self.what!r}, which the input {draw.input!r} needs",
                remedy=did_you_mean(self.what, known),
            )
        values, batch = known[self.what], draw.shape[0]
        steps = len(found) // batch
        if not steps:
            raise DataError("the batch is larger than the dataset", received=batch, expected=f"at most {len(found)}")
        epoch, step = divmod(draw.round, steps)
        own = int(stream(draw.seed, "dataset", self.dataset).integers(2**31))
        chosen = values[epoch_batches(len(found), batch, own, epoch)[step]]
        if self.scaled_to is None:
            return np.asarray(chosen)
        (low, high), least, most = self.scaled_to, float(values.min()), float(values.max())
        return np.asarray(low + (chosen - least) * ((high - low) / (most - least)), np.float32)


@dataclass(frozen=True)
class _Random(Source):
    """Draws from a stream keyed by the seed, the input and the round, and the phase unless they share the draw.

    Args:
        fresh: Whether each phase of a round has a draw of its own.
    """

    fresh: bool = field(default=True, kw_only=True)

    def read(self, draw: Draw, data: Mapping[str, Dataset], drawn: Mapping[str, Array]) -> Array:
        name = f"{draw.phase}/{draw.input}" if self.fresh else draw.input
        return self.sample(stream(draw.seed, "program", name, draw.round), draw.shape)

    def sample(self, generator: np.random.Generator, shape: Shape) -> Array:
        """The draw.

        Args:
            generator: Of this input at this round.
            shape: With the batch axis.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Normal(_Random, kind="normal"):
    """Standard normal values."""

    def sample(self, generator: np.random.Generator, shape: Shape) -> Array:
        return generator.standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class Uniform(_Random, kind="uniform"):
    """Values between two bounds."""

    low: float = 0.0
    high: float = 1.0

    def sample(self, generator: np.random.Generator, shape: Shape) -> Array:
        return generator.uniform(self.low, self.high, shape).astype(np.float32)


@dataclass(frozen=True)
class Integers(_Random, kind="integers"):
    """Integers from ``low`` to below ``high``; an input of floats gets them as floats."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise SpecError("there is no integer to draw", received=(self.low, self.high), expected="low < high")

    def sample(self, generator: np.random.Generator, shape: Shape) -> Array:
        return generator.integers(self.low, self.high, shape)


@dataclass(frozen=True)
class TableAt(Source, kind="table"):
    """The entries of a table at the integers of another input of the phase.

    Args:
        table: The values.
        at: The input that holds the positions; it must come before this one among the graph's inputs.
    """

    table: tuple[float, ...]
    at: str

    def read(self, draw: Draw, data: Mapping[str, Dataset], drawn: Mapping[str, Array]) -> Array:
        if self.at not in drawn:
            raise SpecError(f"the input {draw.input!r} reads {self.at!r}, which must be declared before it")
        return np.asarray(self.table, np.float32)[np.asarray(drawn[self.at], np.int64)]
