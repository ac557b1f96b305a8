"""The calls of one gradient program that its checks compare: the first, others in between, and the first ones again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.host import HostGradients, cotangent_name
from cnnbench.numerics.memoizing import opens_gradients
from cnnbench.numerics.other_operands import in_reverse
from cnnbench.numerics.session import OpensGradientSessions, as_gradients
from cnnbench.numerics.subject import Subject

if TYPE_CHECKING:
    from cnnbench.execution.contract import ProgramOptions
    from cnnbench.spec.graph import Graph
    from cnnbench.spec.losses import Loss

Array = NDArray[Any]
Arrays = Mapping[str, Array]

FIRST = "the first call"
AGAIN = "the same call again, after others and after other weights"
OPPOSITE = "a call with the opposite cotangents"
OTHER = "a call on another batch"
STALE = "a call with other weights"
AGAIN_CALLS, FEW_AGAIN = 4, 1  # the first call again, so often; where a call takes long
LITTLE_MACS = 50_000_000  # of a forward pass, up to which so many are made


@dataclass(frozen=True)
class GradientProgramCalls:
    """One gradient program and what it is called with.

    Args:
        graph, options, loss: Of the program, as ``Subject.gradient`` takes them.
        arrays: Its weights and running statistics.
        batch: Of its first call.
        other: Of another call.
    """

    graph: Graph
    options: ProgramOptions
    loss: Loss | None
    arrays: Arrays
    batch: Arrays
    other: Arrays

    @property
    def takes_little(self) -> bool:
        """Whether many calls are made."""
        return self.graph.macs() * self._images <= LITTLE_MACS

    @property
    def _images(self) -> int:
        return max((len(self.batch[item.name]) for item in self.graph.inputs if item.batched), default=1)

    @property
    def other_arrays(self) -> dict[str, Array]:
        """Other weights and running statistics: each array in reverse."""
        return {name: in_reverse(array) for name, array in self.arrays.items()}

    @property
    def has_other_arrays(self) -> bool:
        """Whether any array is another one in reverse."""
        return any(in_reverse(array).tobytes() != array.tobytes() for array in self.arrays.values())


class GradientCall(NamedTuple):
    """One call: which it is, what it gave, and whether it gave the bits of the first."""

    name: str
    result: HostGradients
    same_bits: bool = False


def gradient_calls(subject: Subject, asked: GradientProgramCalls) -> Iterator[GradientCall]:
    """The first call, others, and the first again, left out where it gives the bits of the first.

    The others are one on another batch and one with other weights. Where a call takes long, there is one: without a
    loss that on the other batch, with a loss one that has other weights as well. Where the subject keeps no program,
    there is the first call alone.
    """
    if not (opens_gradients(subject) and isinstance(subject, OpensGradientSessions)):
        first = subject.gradient(asked.graph, asked.arrays, asked.batch, asked.options, asked.loss)
        yield GradientCall(FIRST, first)
        return
    with closing(subject.open_gradient(asked.graph, asked.options, asked.loss)) as session:
        session.load(asked.arrays)
        session.upload("first", asked.batch)
        begun = session.run("first")
        yield GradientCall(FIRST, as_gradients(begun.result))
        session.upload("other", asked.other)
        if asked.takes_little or asked.loss is None:
            between = session.run("other")
            yield GradientCall(OTHER, as_gradients(between.result), between.digests == begun.digests)
        if asked.has_other_arrays and (asked.takes_little or asked.loss is not None):
            session.load(asked.other_arrays)
            with np.errstate(all="ignore"):
                moved = session.run("first" if asked.takes_little else "other")
            yield GradientCall(STALE, as_gradients(moved.result), moved.digests == begun.digests)
            session.load(asked.arrays)
        again = session.run("first", AGAIN_CALLS if asked.takes_little else FEW_AGAIN)
        if {*again.digests} != {*begun.digests}:
            yield GradientCall(AGAIN, as_gradients(again.result))


def opposite(batch: Arrays, graph: Graph) -> dict[str, Array]:
    """A batch with the opposite cotangents: gradients are linear in them, so that each is the opposite, too."""
    cotangents = {cotangent_name(name) for name, _ in graph.outputs}
    return {name: -array if name in cotangents else array for name, array in batch.items()}


def negated(result: HostGradients) -> HostGradients:
    """The opposite gradients."""
    weights, inputs = ({name: -array for name, array in part.items()} for part in (result.weights, result.inputs))
    return result._replace(weights=weights, inputs=inputs)
