"""A training run between two epochs: saved whole or not at all, and continued bit for bit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnbench.errors import DataError
from cnnbench.execution.host import HostTraining
from cnnbench.spec import weights
from cnnbench.training.epoch import Epoch

PARTS = ("weights", "state", "slots")


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
    arrays = {f"{part}/{name}": array for part in PARTS for name, array in getattr(checkpoint.training, part).items()}
    position = {
        "task": checkpoint.task,
        "losses": checkpoint.losses,
        "epochs": [epoch.model_dump() for epoch in checkpoint.epochs],
    }
    weights.save(arrays, path, metadata={"cnnbench": json.dumps(position)})


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
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for name, array in arrays.items():
        part, _, rest = name.partition("/")
        if part not in parts:
            raise DataError("not a checkpoint", where=str(path), received=name, expected="weights/, state/ or slots/")
        parts[part][rest] = array
    return Checkpoint(task, HostTraining(**parts), losses, epochs)
