"""Metrics of captions: exact match, and BLEU over a whole set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.metrics.statistic import MeanStatistic

Array = NDArray[Any]
Sentence = Sequence[int]
ORDERS = 4


@dataclass(frozen=True, eq=False)
class BLEUStatistic:
    """Corpus BLEU from each image's counts.

    Args:
        matches, totals: (N, 4): n-grams of a caption, n = 1 to 4, that occur in a reference, each at most as often as
            in the reference that has it most, and all of them.
        lengths: (N, 2): of the caption, and of the reference whose length is nearest (the shorter of two).
    """

    matches: Array
    totals: Array
    lengths: Array

    def __len__(self) -> int:
        return len(self.lengths)

    def of(self, images: NDArray[np.int64]) -> float:
        """BP exp(mean_n log p_n): 0 where some order has no match, as without smoothing; NaN without any word."""
        matches, totals = self.matches[images].sum(0), self.totals[images].sum(0)
        length, reference = self.lengths[images].sum(0)
        if not length:
            return 0.0 if reference else float("nan")
        if not matches.all():
            return 0.0
        brevity = 1.0 if length > reference else math.exp(1 - reference / length)
        return float(brevity * math.exp(np.log(matches / totals).mean()))


def bleu(found: Sequence[Sentence], references: Sequence[Sequence[Sentence]]) -> BLEUStatistic:
    """Counts n-grams.

    Args:
        found: A caption for each image, words without end and padding.
        references: The right ones of each image, at least one.

    Source: Papineni et al., "BLEU: a method for automatic evaluation of machine translation" (2002), section 2;
    n-grams up to four with equal weights, no smoothing.

    Raises:
        DataError: Other numbers of images, or an image without a reference.
    """
    if len(found) != len(references) or not all(references):
        raise DataError("each image needs a caption and a reference", received=(len(found), len(references)))
    matches, totals = np.zeros((2, len(found), ORDERS), np.int64)
    lengths = np.zeros((len(found), 2), np.int64)
    for place, (mine, right) in enumerate(zip(found, references, strict=True)):
        nearest = min(map(len, right), key=lambda length: (abs(length - len(mine)), length))
        lengths[place] = len(mine), nearest
        for n in range(1, ORDERS + 1):
            most: Counter[tuple[int, ...]] = Counter()
            for sentence in right:
                most |= _grams(sentence, n)
            grams = _grams(mine, n)
            matches[place, n - 1] = (grams & most).total()
            totals[place, n - 1] = grams.total()
    return BLEUStatistic(matches, totals, lengths)


def exact_match(found: Sequence[Sentence], references: Sequence[Sequence[Sentence]]) -> MeanStatistic:
    """The share of captions that equal a reference of theirs word by word.

    Args:
        found: A caption for each image, as for ``bleu``.
        references: The right ones of each image.
    """
    if len(found) != len(references):
        raise DataError("each image needs a caption", received=(len(found), len(references)))
    equal = [list(mine) in [list(item) for item in right] for mine, right in zip(found, references, strict=True)]
    return MeanStatistic(np.array(equal, np.float64))


def _grams(sentence: Sentence, n: int) -> Counter[tuple[int, ...]]:
    words = [int(word) for word in sentence]
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
