"""What a worker answers to checks and to training: graphs run on arrays that come and go as files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.harness.worker.arrays import (
    loss_from_json,
    optimizer_from_json,
    options_from_json,
    read_arrays,
    write_arrays,
)
from cnnbench.spec.serialization import graph_from_json

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend
    from cnnbench.training.settings import TrainSettings
    from cnnbench.training.task import TrainingTask

Tell = Callable[[dict[str, Any]], None]
Plain = dict[str, Any]
SIGN_OF_LIFE_S = 1.0


class Answers:
    """Requests on whole graphs, one method each, for the backend that is loaded."""

    def __init__(self) -> None:
        self._backend: Backend | None = None

    @property
    def _loaded(self) -> Backend:
        if self._backend is None:
            raise RuntimeError("no backend is loaded")
        return self._backend

    def forward(self, *, tell: Tell, graph: Plain, arrays: str, batch: str, options: Plain, output: str) -> Plain:
        """One forward pass for a check; arrays by ``outputs/`` and ``state/`` in the file ``output``."""
        from cnnbench.numerics.subject import InProcessSubject

        result = InProcessSubject(self._loaded).forward(
            graph_from_json(graph), read_arrays(Path(arrays)), read_arrays(Path(batch)), options_from_json(options)
        )
        write_arrays(Path(output), _joined({"outputs": result.outputs, "state": result.state}))
        return {}

    def gradient(
        self, *, tell: Tell, graph: Plain, arrays: str, batch: str, options: Plain, loss: Plain | None, output: str
    ) -> Plain:
        """One gradient pass for a check."""
        from cnnbench.numerics.subject import InProcessSubject

        result = InProcessSubject(self._loaded).gradient(
            graph_from_json(graph),
            read_arrays(Path(arrays)),
            read_arrays(Path(batch)),
            options_from_json(options),
            loss_from_json(loss),
        )
        groups = {"weights": result.weights, "inputs": result.inputs, "state": result.state}
        write_arrays(Path(output), _joined(groups))
        return {"loss": float(result.loss)}

    def steps(
        self,
        *,
        tell: Tell,
        graph: Plain,
        arrays: str,
        batches: Sequence[str],
        options: Plain,
        training: Plain,
        output: str,
    ) -> Plain:
        """Optimiser steps for a check: the losses, and every state in the file ``output``."""
        from cnnbench.numerics.subject import InProcessSubject, Updates

        loss = loss_from_json(training["loss"])
        if loss is None:
            raise ValueError("steps need a loss")
        losses, states = InProcessSubject(self._loaded).steps(
            graph_from_json(graph),
            read_arrays(Path(arrays)),
            [read_arrays(Path(path)) for path in batches],
            options_from_json(options),
            Updates(loss, optimizer_from_json(training["optimizer"]), training["learning_rates"]),
        )
        groups = {
            f"{i}/{part}": getattr(state, part)
            for i, state in enumerate(states)
            for part in ("weights", "state", "slots")
        }
        write_arrays(Path(output), _joined(groups))
        return {"losses": losses, "states": len(states)}

    def foresee(
        self,
        *,
        tell: Tell,
        graph: Plain,
        options: Plain,
        arrays: str,
        batch: str,
        seed: int,
        steps: int,
        check: str,
    ) -> Plain:
        """Has the oracle make what a check will ask it for, into the user's cache; no backend need be loaded."""
        from cnnbench.measurement.memory import release_free_memory
        from cnnbench.numerics.case import Case, TrainingSteps
        from cnnbench.numerics.checks import prefetch

        case = Case(
            graph=graph_from_json(graph),
            arrays=read_arrays(Path(arrays)),
            batch=read_arrays(Path(batch)),
            options=options_from_json(options),
            seed=seed,
            training=TrainingSteps.of_steps(steps),
        )
        prefetch(check, case)
        release_free_memory()
        return {}

    def _task(self, graph: Plain, arrays: str, settings: Plain, options: Plain) -> TrainingTask:
        from cnnbench.training.task import TrainingTask

        parts = (graph_from_json(graph), read_arrays(Path(arrays)), _train_settings(settings))
        return TrainingTask(self._loaded, *parts, options_from_json(options))

    def losses(
        self, *, tell: Tell, graph: Plain, arrays: str, options: Plain, settings: Plain, beside: Sequence[float]
    ) -> Plain:
        """Trains beside a curve until the two have parted; gives the losses, and tells that it lives."""
        from cnnbench.numerics.training_envelope import parted
        from cnnbench.training.loop import losses_until

        found = losses_until(
            self._task(graph, arrays, settings, options),
            lambda step, loss: parted(step, loss, beside),
            on_step=_signs_of_life(tell),
        )
        return {"losses": list(found)}

    def train(self, *, tell: Tell, graph: Plain, arrays: str, options: Plain, settings: Plain) -> Plain:
        """Trains a network; tells each epoch's result, and at least once a second that it lives."""
        from cnnbench.training.loop import train

        result = train(
            self._task(graph, arrays, settings, options),
            on_epoch=lambda epoch: tell({"epoch": epoch.model_dump()}),
            on_step=_signs_of_life(tell),
        )
        return {
            "losses": list(result.losses),
            "predictions": list(result.predictions),
            "targets": list(result.targets),
        }


def _signs_of_life(tell: Tell) -> Callable[[int, float], None]:
    """Tells a step and its loss, but not more often than needed."""
    told = time.monotonic()

    def on_step(step: int, loss: float) -> None:
        nonlocal told
        if time.monotonic() - told > SIGN_OF_LIFE_S:
            told = time.monotonic()
            tell({"step": step, "loss": loss})

    return on_step


def _train_settings(plain: Plain) -> TrainSettings:
    from cnnbench.training.augmentation import Augmentation
    from cnnbench.training.schedules import schedule_from_fields
    from cnnbench.training.settings import TrainSettings

    rest = dict(plain)
    schedule, loss = rest.pop("schedule"), loss_from_json(rest.pop("loss"))
    if loss is None:
        raise ValueError("training needs a loss")
    return TrainSettings(
        loss=loss,
        optimizer=optimizer_from_json(rest.pop("optimizer")),
        augmentation=Augmentation(**rest.pop("augmentation", {})),
        schedule=schedule_from_fields(schedule["kind"], schedule["fields"]),
        **rest,
    )


def _joined(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}
