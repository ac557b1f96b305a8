"""The answers that images have: from the oracle, or from the first call that had them, whatever their place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.numerics.calibration import Envelope
from cnnbench.numerics.comparison import examine
from cnnbench.spec.graph import Graph

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Images = Sequence[str]  # of a batch in their order, each by a digest of what it holds


@dataclass(frozen=True)
class Disagreement:
    """What a call gave that it should not.

    Args:
        share: Of the admitted distance; infinite where nothing could be compared.
        text: In words.
        problem: ``nan``, ``wrong_shape``, ``wrong_dtype``, or None for other numbers.
        image: The place in the batch; None for an output that is not of single images.
        array: The full name of a weight or a running statistic that is wrong itself.
    """

    share: float
    text: str
    problem: str | None = None
    image: int | None = None
    array: str | None = None


@dataclass(frozen=True)
class _Known:
    """One answer of an image, or of a whole batch.

    Args:
        rows: By output.
        is_oracle: Whether the oracle gave it; else an earlier call.
        admitted: How far each output may lie from it.
    """

    rows: dict[str, Array]
    is_oracle: bool
    admitted: Mapping[str, float]


class _Part(NamedTuple):
    """What a call gave for one image.

    Args:
        image: Its place in the batch; None for what is not of single images.
        key: Of what it is the answer to.
        rows: By output.
    """

    image: int | None
    key: str
    rows: dict[str, Array]


class Answers:
    """Compares the rows of a call's outputs with the answers of its images.

    For example, of the batch (A, B, C) the oracle knows the answers of A and B. A call on (C, A, B) must give them in
    its second and third row, and in its first row the answer that C had in the call before.

    An output is compared row by row where its first axis alone grows with the batch, and as a whole elsewhere.
    At inference images do not meet. The oracle's rows admit the end-to-end envelope, and a row of an earlier call twice
    that, since both may be off. An image may have several answers, where rounding decides a discrete choice: all
    outputs of a call must then agree with the same one.

    Args:
        graph: What the program computes.
        policy: Its precision.
        envelope: Of its outputs.
    """

    def __init__(self, graph: Graph, policy: PrecisionPolicy, envelope: Envelope) -> None:
        self._graph, self._policy = graph, policy
        self._admitted = admitted_by(envelope)
        self._rows = _rows_per_image(graph)
        self._known: dict[str, list[_Known]] = {}
        self.largest_share = 0.0

    @property
    def admitted(self) -> Mapping[str, float]:
        """How far each output may lie from the oracle's."""
        return self._admitted

    def learn(self, images: Images, exact: Arrays, envelope: Envelope | None = None) -> None:
        """Takes the oracle's outputs for a batch of these images, beside those that it has.

        Args:
            images: Of the batch.
            exact: The outputs.
            envelope: Of these; None for that of all.
        """
        admitted = self._admitted if envelope is None else admitted_by(envelope)
        for part in self._parts(images, exact):
            self._known.setdefault(part.key, []).append(_Known(part.rows, True, admitted))

    def lacks(self, images: Images) -> bool:
        """Whether an output that is not of single images is unknown for a batch of these images."""
        return None in self._rows.values() and _whole(images) not in self._known

    def judge(self, images: Images, outputs: Arrays) -> Disagreement | None:
        """The worst disagreement of a call's outputs with what is known; what is new becomes known.

        ``largest_share`` is that of calls that agree.

        Args:
            images: That the call was on.
            outputs: What it gave.
        """
        shapes = self._graph.shapes(len(images) or 1)
        for name, value in self._graph.outputs:
            integers = np.zeros(0, np.int64) if self._graph.dtypes[value] == "int" else None
            problem, text = examine(outputs.get(name), shapes[value], self._policy, integers)
            if problem is None and integers is None and not np.isfinite(outputs[name]).all():
                problem, text = "nan", "a value is infinite"
            if problem is not None:
                return Disagreement(np.inf, f"output {name}: {text}", problem)
        found = [self._of_part(part) for part in self._parts(images, outputs)]
        worst = max(found, key=lambda item: item.share, default=None)
        if worst is None:
            return None
        if not worst.share <= 1:
            return worst
        self.largest_share = max(self.largest_share, worst.share)
        return None

    def _of_part(self, part: _Part) -> Disagreement:
        """The worst of its outputs, beside the answer that is nearest; the first answer is taken as it comes."""
        if part.key not in self._known:
            rows = {name: np.array(row) for name, row in part.rows.items()}
            self._known[part.key] = [_Known(rows, False, self._admitted)]
        found = [
            max((_compared(name, part.image, row, known) for name, row in part.rows.items()), key=lambda at: at.share)
            for known in self._known[part.key]
        ]
        return min(found, key=lambda item: item.share)

    def _parts(self, images: Images, outputs: Arrays) -> list[_Part]:
        """What the outputs are for each image, for the batch as a whole, and whatever the batch is."""
        every, whole = _Part(None, "whatever batch", {}), _Part(None, _whole(images), {})
        single = [_Part(i, f"image {key}", {}) for i, key in enumerate(images)]
        for name, _ in self._graph.outputs:
            rows, array = self._rows[name], outputs[name]
            if rows is None or not images:
                whole.rows[name] = array
            elif rows == 0:
                every.rows[name] = array
            else:
                for i, part in enumerate(single):
                    part.rows[name] = array[i * rows : (i + 1) * rows]
        return [part for part in (every, whole, *single) if part.rows]


def admitted_by(envelope: Envelope) -> dict[str, float]:
    """How far each value may lie from the oracle's."""
    return {name: envelope.factor * size for name, size in envelope.size.items()}


def _whole(images: Images) -> str:
    return f"batch {' '.join(images)}"


def _compared(name: str, image: int | None, row: Array, known: _Known) -> Disagreement:
    exact = known.rows[name]
    gap = float(np.abs(row.astype(np.float64) - exact).max(initial=0.0))
    share = gap / (known.admitted[name] * (1 if known.is_oracle else 2))
    where = "" if image is None else f" of image {image + 1}"
    other = "the oracle" if known.is_oracle else "an earlier call"
    text = f"output {name}{where} is {gap:.3g} from {other}'s, {share:.3g} times the envelope"
    return Disagreement(share, text, image=image)


def images_of(graph: Graph, batch: Arrays) -> Images:
    """A digest of each image of a batch, with the inputs that all share."""
    shared = [_bytes(batch[item.name]) for item in graph.inputs if not item.batched]
    arrays = [batch[item.name] for item in graph.inputs if item.batched]
    if not arrays:
        return (_digest(shared),)
    return tuple(_digest([*shared, *(_bytes(array[i]) for array in arrays)]) for i in range(len(arrays[0])))


def _rows_per_image(graph: Graph) -> dict[str, int | None]:
    """Rows of each output that belong to an image: 0 where none does, None where it cannot be cut into images."""
    one, two = graph.shapes(1), graph.shapes(2)
    rows: dict[str, int | None] = {}
    for name, value in graph.outputs:
        first, second = one[value], two[value]
        if first == second:
            rows[name] = None if _reads_inputs(graph, value) else 0
        elif first[1:] == second[1:] and second[0] == 2 * first[0]:
            rows[name] = first[0]
        else:
            rows[name] = None
    return rows


def _reads_inputs(graph: Graph, value: str) -> bool:
    part = graph.prefix([value]) if value not in {item.name for item in graph.inputs} else graph
    inputs = {item.name for item in graph.inputs}
    return value in inputs or any(inputs & set(node.inputs) for node in part.nodes)


def _bytes(array: Array) -> bytes:
    return np.ascontiguousarray(array).tobytes()


def _digest(parts: list[bytes]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.hexdigest()
