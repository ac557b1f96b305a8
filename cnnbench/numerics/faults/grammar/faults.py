"""A drawn fault: a place, a moment and a change, from a seed, in one line, and reproducible by its id."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from cnnbench.errors import SuiteError
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.switching import When, from_call, from_load, on_images, on_sizes, on_values
from cnnbench.numerics.faults.grammar.arithmetic import in_training
from cnnbench.numerics.faults.grammar.drawing import Chance, DrawnChange, Ground
from cnnbench.numerics.faults.grammar.loading import draw_fold, draw_load, draw_narrow, stale_load
from cnnbench.numerics.faults.grammar.networks import network_case
from cnnbench.numerics.faults.grammar.ops import draw_op
from cnnbench.numerics.faults.grammar.terms import draw_loss, draw_optimizer
from cnnbench.numerics.faults.grammar.whole import draw_fused, draw_input, draw_output, draw_repetition
from cnnbench.numerics.subject import composites_among
from cnnbench.spec.passes import lower
from cnnbench.spec.streams import stream

_ID = re.compile(r"(?P<network>.+)/(?P<seed>\d+)/(?P<number>\d+)")
TRIES = 200  # draws until one fits; a network without a loss refuses those of training


class FaultId(NamedTuple):
    """What a drawn fault is drawn from: the network, the seed and the number of the draw."""

    network: str
    seed: int
    number: int

    def __str__(self) -> str:
        return f"{self.network}/{self.seed}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> FaultId:
        """The id of this text. Raises SuiteError where it is none."""
        found = _ID.fullmatch(text)
        if found is None:
            raise SuiteError("not the id of a drawn fault", received=text, expected="NETWORK/SEED/NUMBER")
        return cls(found["network"], int(found["seed"]), int(found["number"]))


class Occasion(NamedTuple):
    """When a fault shows.

    Args:
        when: Its class. text: in words.
        moments: Of a program's life; None for all.
        training: Whether it shows in training passes alone.
        images: A batch on which it shows.
    """

    when: str
    text: str
    moments: When | None = None
    training: bool = False
    images: int = 2


@dataclass(frozen=True)
class DrawnFault:
    """A fault from the grammar.

    Args:
        id: What it is drawn from.
        where: ``op``, ``load``, ``fold``, ``program``, ``fusion``, ``loss``, ``optimizer`` or ``repetition``.
        occasion: When it shows.
        change: What is changed.
        case: The question on which it is to be found.
    """

    id: FaultId
    where: str
    occasion: Occasion
    change: DrawnChange
    case: Case

    @property
    def fault(self) -> Fault:
        """What is injected."""
        change, operation = self.change, self.change.operation
        if operation is not None and self.occasion.training:
            operation = in_training(operation)
        return Fault(
            name=str(self.id),
            kind=change.kind,
            description=self.text,
            case=lambda options, seed: self.case,
            operation=operation,
            loss=change.loss,
            optimizer=change.optimizer,
            programs=change.programs,
            when=self.occasion.moments,
        )

    @property
    def always(self) -> Fault:
        """The same fault at every moment, and not in training alone."""
        return replace(self, occasion=Occasion("always", "always")).fault

    @property
    def text(self) -> str:
        """In one line: where, when, what."""
        when = "" if self.occasion.when == "always" else f", {self.occasion.text}"
        return f"{self.where}: {self.change.text}{when}"


PLACES: tuple[tuple[str, Callable[[Chance, Ground], DrawnChange | None], float], ...] = (
    ("op", draw_op, 48),
    ("load", draw_load, 8),
    ("load", stale_load, 3),
    ("load", draw_narrow, 1),
    ("fold", draw_fold, 7),
    ("program", draw_output, 5),
    ("program", draw_input, 5),
    ("fusion", draw_fused, 8),
    ("loss", draw_loss, 5),
    ("optimizer", draw_optimizer, 7),
    ("repetition", draw_repetition, 4),
)


def draw_fault(name: FaultId, backend: Backend, options: ProgramOptions) -> DrawnFault:
    """The fault of an id, for a backend in a mode and precision.

    Args:
        name: What it is drawn from.
        backend: Whose own composite ops are places of faults, too.
        options: Of the programs.
    """
    chance = Chance(stream(name.seed, "drawn fault", name.network, name.number))
    case = network_case(name.network, options)
    own = composites_among(backend.operations)
    ground = Ground(replace(case, whole=own), lower(case.graph, native=tuple(own)))
    places = [((where, draw), weight) for where, draw, weight in PLACES]
    for _ in range(TRIES):
        where, draw = chance.weighted(places)
        change = draw(chance, ground)
        if change is not None:
            folded = where == "fold" or (bool(ground.batch_norms) and chance.share() < 0.3)
            own_case = replace(ground.case, options=replace(options, fold_batch_norm=folded))
            return DrawnFault(name, where, _occasion(chance, where, change, ground), change, own_case)
    raise SuiteError("no fault fits this network", received=name.network)


def _occasion(chance: Chance, where: str, change: DrawnChange, ground: Ground) -> Occasion:
    always = Occasion("always", "always")
    steps = where in ("loss", "optimizer")
    if change.kept and where == "load":
        return always
    first = chance.whole(2, 4) if steps else chance.of((2, 3, 5))
    choices = [(always, 50.0), (Occasion("call", f"from run {first} on", from_call(first)), 12.0)]
    if where in ("op", "fusion", "program", "fold"):
        choices += [(item, 8.0) for item in _of_batches(chance, ground)]
    if where == "load":
        choices.append((Occasion("load", "from the second load on", from_load(2)), 12.0))
    if where == "op" and change.what not in ("gradient", "state", "field"):
        choices.append((Occasion("training", "in training", training=True), 6.0))
    return chance.weighted(choices)


def _of_batches(chance: Chance, ground: Ground) -> list[Occasion]:
    """Occasions that depend on the batch, each of which some checked program meets."""
    sizes = sorted({item.shape[1] for item in ground.graph.inputs if len(item.shape) > 1})
    values: dict[str, Callable[[Any], bool]] = {
        "where a value exceeds 2": lambda a: a.max() > 2,
        "where the mean is positive": lambda a: a.mean() > 0,
        "where the first value is negative": lambda a: a.reshape(-1)[0] < 0,
        "where not all values are whole": lambda a: not np.array_equal(a, np.round(a)),
    }
    text = chance.of(list(values))
    found = [Occasion("values", text, on_values(values[text]))]
    if sizes:
        size = chance.of(sizes)
        found.append(Occasion("size", f"for {size} rows and more", on_sizes(lambda shape: shape[0] >= size)))
    counts: dict[str, tuple[int, Callable[[int], bool]]] = {
        "for one image": (1, lambda count: count == 1),
        "for 2 images and more": (2, lambda count: count >= 2),
        "for 3 images and more": (3, lambda count: count >= 3),
        "for odd numbers of images": (3, lambda count: count % 2 == 1),
    }
    text = chance.of(list(counts))
    images, test = counts[text]
    return [*found, Occasion("batch", text, on_images(test), images=images)]
