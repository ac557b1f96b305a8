"""A cell: one point of a suite's matrix, a network on a backend under stated settings."""

from __future__ import annotations

from typing import Literal

from cnnbench.spec.frozen import Frozen


class Cell(Frozen):
    """One point of a suite's matrix: a network on a backend under stated settings.

    Args:
        id: Readable and unique in the run; also the name of its folder.
        key: Digest of what the suite asks of it (no versions, no interpreter); baselines match on it.
        group: Its comparison group: cells that share architecture, batch, image, precision, device and threads.
        architecture: A registered name, or ``file:<path>`` of a user's network.
        image: (C, H, W). fold_batch_norm: whether the timed program has its batch norms folded.
        data: The dataset that inputs come from; ``random`` for seeded normal numbers.
        weights: The file of trained weights; None for those of the network's own file, or seeded ones.
        side: ``head``, or ``base`` in an A/B run.
        skip: The reason why it is not run, or None.
        train: Whether this cell trains (its settings are the suite's).
    """

    id: str
    key: str
    group: str
    architecture: str
    backend: str
    mode: str
    layout: str = "auto"
    batch: int
    image: tuple[int, ...]
    num_classes: int | None = None
    precision: str = "float32"
    device: str = "cpu"
    threads: int | None = None
    fold_batch_norm: bool = False
    seed: int = 0
    data: str = "random"
    weights: str | None = None
    side: Literal["head", "base"] = "head"
    skip: str | None = None
    checks: tuple[str, ...] = ()
    measure: tuple[str, ...] = ("latency", "memory")
    train: bool = False

    @property
    def series(self) -> str:
        """The backend with its mode, as tables and legends name it: ``torch eager``."""
        return f"{self.backend} {self.mode}"
