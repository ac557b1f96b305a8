"""What a dataset is: labelled images, a request for some of them, and how a plugin offers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnbench.spec.layers import Shape
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images, normalised.

    Args:
        name, split: What it is.
        images: (N, C, *spatial) float32. labels: (N,) int64.
        classes: The names of the classes, in the order of the labels.
        licence: Whose it is, and under which licence.
    """

    name: str
    split: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    licence: str

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DataRequest:
    """What is wanted of a dataset.

    Args:
        split: ``train`` or ``test``, as the plugin has it.
        image: The shape (C, *spatial) to which images are brought.
        limit: At most so many images, chosen by the seed; None for all in their order.
        seed: Of that choice.
    """

    split: str
    image: Shape
    limit: int | None = None
    seed: int = 0

    def choose(self, count: int) -> NDArray[np.int64]:
        """The positions of the wanted images among ``count``."""
        import numpy as np

        if self.limit is None:
            return np.arange(count)
        return stream(self.seed, "images", self.split).permutation(count)[: self.limit]


def always_available() -> str | None:
    """The reason why a dataset that every installation has is not here: none."""
    return None


@dataclass(frozen=True)
class DatasetPlugin:
    """A dataset that is loaded when used.

    Args:
        name: What suites call it.
        description: One line.
        splits: What ``load`` takes as split, the one for inputs of timed cells last.
        load: The dataset for a request.
        unavailable: Why it cannot be loaded here, or None.
    """

    name: str
    description: str
    splits: tuple[str, ...]
    load: Callable[[DataRequest], Dataset]
    unavailable: Callable[[], str | None] = always_available
