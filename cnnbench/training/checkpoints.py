"""A training run between two epochs: saved whole or not at all, and continued bit for bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from cnnbench.errors import DataError
from cnnbench.execution.host import HostTraining, grouped, joined
from cnnbench.spec import weights
from cnnbench.training.epoch import Epoch


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Where a run stands after an epoch.

    Args:
        task: What was trained: a digest of the network, the settings and the program's options.
        training: Weights, running statistics and slots.
        losses: Of every step so far. epochs: the epochs so far.
    """

    task: str
    training: HostTraining
    losses: tuple[float, ...]
    epochs: tuple[Epoch, ...]


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Writes a checkpoint as safetensors; a reader sees the old file or the new one."""
    position = {
        "task": checkpoint.task,
        "losses": checkpoint.losses,
        "epochs": [epoch.model_dump() for epoch in checkpoint.epochs],
    }
    weights.save(joined(checkpoint.training._asdict()), path, metadata={"cnnbench": json.dumps(position)})


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint. Raises DataError where the file is not one."""
    from safetensors import SafetensorError, safe_open

    arrays = weights.load(path)
    try:
        with safe_open(path, framework="numpy") as file:
            position = json.loads((file.metadata() or {})["cnnbench"])
        epochs = tuple(Epoch(**epoch) for epoch in position["epochs"])
        losses = tuple(float(loss) for loss in position["losses"])
        task = str(position["task"])
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"not a checkpoint: {error!r}", where=str(path)) from None
    unknown = grouped(arrays).keys() - {*HostTraining._fields}
    if unknown:
        expected = "weights/, state/ or slots/"
        raise DataError("not a checkpoint", where=str(path), received=", ".join(sorted(unknown)), expected=expected)
    return Checkpoint(task, HostTraining.read(arrays), losses, epochs)
