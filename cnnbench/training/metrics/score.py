"""What a metric comes to on the test images: a figure, its interval, and what each image contributed to it."""

from __future__ import annotations

from typing import Any

from cnnbench.spec.frozen import Figures


class Score(Figures):
    """A metric's figure over the test images.

    Args:
        metric: Its name.
        value: Over all images; None where it is not defined for them.
        low, high: Between which it lies with the confidence; None where no interval was asked for or it is not defined.
        confidence: Of the interval.
        images: How many there are.
        higher_is_better: Whether more is better. unit: For headings; "" for a share of 1.
        margin: How much worse it may get before gates call it a regression, in its unit.
        per_image: What was found in each image, from which the figure follows for any choice of images; for
            comparing two backends on the same ones. None where no interval was asked for, or a plugin's statistic is
            not one of the core's.
    """

    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    confidence: float = 0.95
    images: int
    higher_is_better: bool = True
    unit: str = ""
    margin: float = 0.01
    per_image: dict[str, Any] | None = None

    @property
    def in_words(self) -> str:
        """The name and the figure."""
        value = "undefined" if self.value is None else f"{self.value:.3g}{self.unit and ' ' + self.unit}"
        return f"{self.metric} {value}"
