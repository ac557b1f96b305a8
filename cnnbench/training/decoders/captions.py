"""From a step function that gives the next word's log-probabilities to captions: greedy and beam search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
State = Mapping[str, Array]
Step = Callable[[State, Array], tuple[Array, State]]
"""(state whose arrays have R rows, last words (R,)) -> (log-probabilities (R, V), state of R rows)."""
END = 0


def greedy(step: Step, state: State, start: Array, length: int) -> NDArray[np.int64]:
    """The likeliest word at each step, the first of equal ones, until the end.

    Args:
        step: Of the network.
        state: What it begins with.
        start: (N,) the words before the first.
        length: The most words, T.

    Shapes: -> (N, T), 0 from the end on.
    """
    words = np.asarray(start, np.int64)
    found = np.zeros((len(words), length), np.int64)
    going = np.ones(len(words), bool)
    for place in range(length):
        scores, state = step(state, words)
        words = np.where(going, scores.argmax(-1), END)
        found[:, place] = words
        going &= words != END
        if not going.any():
            break
    return found


def beam(step: Step, state: State, start: Array, length: int, width: int = 5) -> NDArray[np.int64]:
    """The likeliest sentence that a beam of some sentences finds: the sum of its words' log-probabilities is largest.

    A sentence that has ended stays in the beam with its sum; of equal sums the sentence comes first that was so before,
    then the smaller word.

    Args:
        step: Of the network.
        state: What it begins with: one row for each caption.
        start: (N,) the words before the first.
        length: The most words, T.
        width: Sentences that are kept.

    Shapes: -> (N, T), 0 from the end on.
    """
    results = np.zeros((len(start), length), np.int64)
    for row, first in enumerate(start):
        own = {name: array[row : row + 1] for name, array in state.items()}
        results[row] = _one_beam(step, own, int(first), length, width)
    return results


def _one_beam(step: Step, state: State, first: int, length: int, width: int) -> Array:
    sums, words = np.zeros(1), np.array([first])
    sentences, ended = np.zeros((1, 0), np.int64), np.zeros(1, bool)
    for _ in range(length):
        scores, state = step(state, words)
        scores = np.asarray(scores, np.float64)
        only_end = np.full(scores.shape[1], -np.inf)
        only_end[END] = 0.0
        totals = sums[:, None] + np.where(ended[:, None], only_end, scores)
        best = np.argsort(-totals, axis=None, kind="stable")[: min(width, int(np.isfinite(totals).sum()))]
        parents, words = np.divmod(best, scores.shape[1])
        sums, ended = totals.reshape(-1)[best], ended[parents] | (words == END)
        sentences = np.concatenate([sentences[parents], words[:, None]], 1)
        state = {name: array[parents] for name, array in state.items()}
        if ended.all():
            break
    return np.pad(sentences[0], (0, length - sentences.shape[1]))
