"""What was found in each image, as it is kept in records, and the statistic that follows from it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.metrics.anomaly import AUROCStatistic
from cnnbench.training.metrics.captions import BLEUStatistic
from cnnbench.training.metrics.detection import AveragePrecisionStatistic, ClassMatches
from cnnbench.training.metrics.generative import CoverageStatistic, FrechetStatistic
from cnnbench.training.metrics.keypoints import PCKStatistic
from cnnbench.training.metrics.segmentation import SegmentationStatistic
from cnnbench.training.metrics.statistic import MeanStatistic, Statistic

KINDS: Mapping[str, type[Any]] = {
    "mean": MeanStatistic,
    "auroc": AUROCStatistic,
    "bleu": BLEUStatistic,
    "average_precision": AveragePrecisionStatistic,
    "coverage": CoverageStatistic,
    "frechet": FrechetStatistic,
    "pck": PCKStatistic,
    "segmentation": SegmentationStatistic,
}


def kept(statistic: Statistic) -> dict[str, Any] | None:
    """As JSON takes it; None for a statistic that is not one of the core's."""
    kind = next((name for name, known in KINDS.items() if type(statistic) is known), None)
    return None if kind is None else {"kind": kind, **_fields(statistic)}


def restored(per_image: Mapping[str, Any]) -> Statistic:
    """The statistic that was kept. Raises DataError where it is none."""
    rest = dict(per_image)
    kind = KINDS.get(str(rest.pop("kind", None)))
    try:
        if kind is None:
            raise KeyError("kind")
        if kind is AveragePrecisionStatistic:
            matches = tuple(
                ClassMatches(**{name: _array(value) for name, value in row.items()}) for row in rest["matches"]
            )
            return AveragePrecisionStatistic(matches, int(rest["images"]))
        values = {name: value if isinstance(value, str) else _array(value) for name, value in rest.items()}
        found: Statistic = kind(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not what a metric keeps of each image: {error!r}", expected=", ".join(KINDS)) from None
    return found


def _fields(value: Any) -> dict[str, Any]:
    return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == bool and value.ndim == 2:  # one row a string: a detection's rightness at each threshold
            return ["".join("01"[item] for item in row) for row in value.astype(int)]
        return value.tolist()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return _fields(value) if is_dataclass(value) else value


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, list) and value and all(isinstance(row, str) for row in value):
        return np.array([[letter == "1" for letter in row] for row in value], bool).reshape(len(value), -1)
    found = np.asarray(value)
    return found if found.size else found.astype(np.int64)
