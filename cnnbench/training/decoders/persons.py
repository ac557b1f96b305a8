"""From OpenPose's heatmaps and part-affinity fields to persons: peaks, line integrals, greedy matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Limb(NamedTuple):
    """A limb from one keypoint to another, and the number of its field: channels 2 f and 2 f + 1 hold its x and y."""

    first: int
    last: int
    field: int


# nose, neck, right and left arm (shoulder, elbow, wrist), right and left leg (hip, knee, ankle), eyes, ears: the limbs
# of the authors' model COCO, in the order in which persons are put together.
COCO_LIMBS = tuple(
    Limb(*row)
    for row in (
        (1, 2, 6), (1, 5, 10), (2, 3, 7), (3, 4, 8), (5, 6, 11), (6, 7, 12), (1, 8, 0), (8, 9, 1), (9, 10, 2),
        (1, 11, 3), (11, 12, 4), (12, 13, 5), (1, 0, 14), (0, 14, 15), (14, 16, 17), (0, 15, 16), (15, 17, 18),
        (2, 16, 9), (5, 17, 13),
    )
)  # fmt: skip


class Peak(NamedTuple):
    """A candidate for a keypoint, in cells."""

    x: float
    y: float
    score: float


@dataclass(frozen=True)
class PersonDecoder:
    """How persons are put together.

    Args:
        limbs: In the order in which they join.
        peak_threshold: The least value of a peak.
        field_threshold: A sample of the field along a limb counts above it.
        samples: Along a limb, its ends among them.
        share: Of the samples that must count.
        least_keypoints: Of a person.
        least_score: Of a person: the mean of its keypoints' and limbs' scores over its keypoints.
        stride: Pixels of the image from one cell to the next.

    Source: arXiv:1611.08050, sections 2.2 to 2.4; thresholds of the authors' demonstration.
    """

    limbs: Sequence[Limb] = COCO_LIMBS
    peak_threshold: float = 0.1
    field_threshold: float = 0.05
    samples: int = 10
    share: float = 0.8
    least_keypoints: int = 4
    least_score: float = 0.4
    stride: float = 8.0

    def decode(self, heatmaps: Array, fields: Array) -> list[Array]:
        """(N, K + 1, H, W) with the background last, (N, 2 L, H, W) -> for each image persons (P, K, 3): x, y, score.

        A keypoint that a person lacks is zeros.
        """
        return [self._persons(*image) for image in zip(heatmaps, fields, strict=True)]

    def _persons(self, heatmaps: Array, fields: Array) -> Array:
        peaks = [peaks_of(heatmap, self.peak_threshold) for heatmap in heatmaps[:-1]]
        persons: list[dict[int, int]] = []
        scores: list[float] = []
        for limb in self.limbs:
            field = fields[2 * limb.field : 2 * limb.field + 2]
            for score, i, j in self._connections(peaks[limb.first], peaks[limb.last], field):
                _join(persons, scores, limb, (i, j, score))
        found = []
        for person, score in zip(persons, scores, strict=True):
            total = score + sum(peaks[kind][at].score for kind, at in person.items())
            if len(person) >= self.least_keypoints and total / len(person) >= self.least_score:
                rows = np.zeros((len(peaks), 3))
                for kind, at in person.items():
                    x, y, value = peaks[kind][at]
                    rows[kind] = x * self.stride, y * self.stride, value
                found.append(rows)
        return np.array(found).reshape(-1, len(peaks), 3)

    def _connections(self, first: list[Peak], last: list[Peak], field: Array) -> list[tuple[float, int, int]]:
        """The limbs between candidates, the best first; each candidate is used once (section 2.4)."""
        candidates = []
        for i, a in enumerate(first):
            for j, b in enumerate(last):
                values = along(field, a, b, self.samples)
                if (values > self.field_threshold).mean() >= self.share:
                    candidates.append((float(values.mean()), i, j))
        taken: list[tuple[float, int, int]] = []
        for score, i, j in sorted(candidates, key=lambda item: -item[0]):
            if all(i != other[1] and j != other[2] for other in taken):
                taken.append((score, i, j))
        return taken


def peaks_of(heatmap: Array, threshold: float) -> list[Peak]:
    """Cells above a threshold that are above their left and upper neighbours, and not below the right and lower ones.

    Args:
        heatmap: (H, W).
        threshold: The least value.
    """
    padded = np.pad(np.asarray(heatmap, np.float64), 1, constant_values=-np.inf)
    inner = padded[1:-1, 1:-1]
    is_peak = (inner > padded[1:-1, :-2]) & (inner >= padded[1:-1, 2:]) & (inner > padded[:-2, 1:-1])
    is_peak &= (inner >= padded[2:, 1:-1]) & (inner > threshold)
    return [Peak(float(x), float(y), float(inner[y, x])) for y, x in np.argwhere(is_peak)]


def along(field: Array, first: Peak, last: Peak, samples: int) -> Array:
    """The field at points from one keypoint to another, projected on the direction between them (equation 10).

    Args:
        field: (2, H, W): x and y.
        first: Where the limb starts.
        last: Where it ends; 0 everywhere if that is the same place.
        samples: Number of points, each at its nearest cell.
    """
    way = np.array([last.x - first.x, last.y - first.y])
    length = np.hypot(*way)
    if not length:
        return np.zeros(samples)
    shares = np.linspace(0, 1, samples)
    x, y = (np.rint(start + shares * step).astype(int) for start, step in zip((first.x, first.y), way, strict=True))
    return np.asarray(field[0, y, x] * way[0] / length + field[1, y, x] * way[1] / length)


def _join(persons: list[dict[int, int]], scores: list[float], limb: Limb, found: tuple[int, int, float]) -> None:
    """Adds a limb to the person that has one of its ends; joins two persons that share no kind of keypoint."""
    i, j, score = found
    having = [n for n, person in enumerate(persons) if person.get(limb.first) == i or person.get(limb.last) == j]
    if not having:
        persons.append({limb.first: i, limb.last: j})
        scores.append(score)
    elif len(having) == 1:
        person = persons[having[0]]
        if person.setdefault(limb.first, i) == i and person.setdefault(limb.last, j) == j:
            scores[having[0]] += score
    else:
        kept, other = having[:2]
        if not set(persons[kept]) & set(persons[other]):
            persons[kept] |= persons.pop(other)
            scores[kept] += scores.pop(other) + score
