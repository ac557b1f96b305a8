"""Reads a user's model in a process of its own, once for each state of its code."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cnnbench.errors import WorkerError
from cnnbench.porting import user_code
from cnnbench.porting.messages import ReadAnswer, ReadFailure, ReadRequest
from cnnbench.porting.references import code_of
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.model_readers import ModelReference
from cnnbench.spec.serialization import graph_from_json
from cnnbench.spec.weights import load

TIMEOUT_S = 600.0
_LINES = 12  # of what the user's code printed, in the message of a process that ended

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class OwnGradients:
    """The gradients of a user's model by its own framework, canonical, at inference in float64.

    Args:
        inputs: By the graph's names, of inputs that hold floats.
        weights: By full name. Weights that the graph computes from the model's are left out.
    """

    inputs: Arrays
    weights: Arrays


@dataclass(frozen=True)
class OwnTraining:
    """One forward pass of a user's model in training mode by its own framework, in float64, canonical.

    Args:
        count: How many outputs the model gives in training mode.
        outputs: By the graph's names. Those that depend on what the model draws are left out; all are where the model
            gives another number of outputs than its graph has.
        state: Its running statistics after the pass, by full name, but for those that depend on what it draws.
    """

    count: int
    outputs: Arrays
    state: Arrays


@dataclass(frozen=True)
class UserModel:
    """A user's model as a graph with its arrays, and the outputs of its own run.

    Args:
        graph: The network.
        arrays: Its weights and running statistics by full name.
        notes: What the graph does not show.
        framework, backend: Whose model it is, and in which backend's process it was read.
        inputs, outputs: Of the run that was asked for, else empty.
        weights: The digest of its weights as its framework holds them.
        inputs_last, outputs_last, batch, noises: As ``ReadModel`` has them.
        gradients: Of the run; None where they are not asked for, or the model has none.
        trained: Of the run in training mode; None where it is not asked for, or the model has no such mode.
        untrained: Why a model that has one was not run in it.
    """

    graph: Graph
    arrays: Arrays
    notes: tuple[str, ...]
    framework: str
    backend: str
    inputs: Arrays
    outputs: Arrays
    weights: str
    inputs_last: tuple[bool, ...]
    outputs_last: tuple[bool, ...]
    batch: int | None
    noises: tuple[tuple[str, str], ...] = ()
    gradients: OwnGradients | None = None
    trained: OwnTraining | None = None
    untrained: str = ""


_READ: dict[tuple[Any, ...], UserModel] = {}


def read_model(asked: ReadRequest) -> UserModel:
    """The model that a request names.

    Raises:
        CnnbenchError: What the process found wrong.
        WorkerError: It crashed, or took longer than ``TIMEOUT_S``.
    """
    key = (asked, _state(asked.reference))
    if key not in _READ:
        with tempfile.TemporaryDirectory(prefix="cnnbench-model-") as folder:
            _READ[key] = _read(asked, Path(folder))
    return _READ[key]


def _state(reference: ModelReference) -> tuple[tuple[str, int, int], ...]:
    """The files that a reading depends on, as they are now."""
    found = [(str(item.resolve()), item.stat()) for item in code_of(reference) if item.is_file()]
    return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in found))


def _read(asked: ReadRequest, folder: Path) -> UserModel:
    reference = asked.reference
    (folder / user_code.REQUEST).write_text(asked.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", user_code.__name__, str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise WorkerError(f"the model was not read within {TIMEOUT_S:g} s", where=str(reference)) from None
    path = folder / user_code.ANSWER
    if not path.is_file():
        raise WorkerError(
            "the process that reads the model ended without an answer",
            where=str(reference),
            received=f"exit code {done.returncode}: " + "\n".join(done.stderr.splitlines()[-_LINES:]),
        )
    found = ReadAnswer.model_validate_json(path.read_bytes()).answer
    if isinstance(found, ReadFailure):
        raise found.error()
    inputs, outputs = (load(folder / name) if asked.batch else {} for name in (user_code.INPUTS, user_code.OUTPUTS))
    graph = graph_from_json(found.graph)
    arrays = load(folder / user_code.ARRAYS) if graph.named_weights() or graph.named_state() else {}
    return UserModel(
        graph,
        arrays,
        found.notes,
        found.framework,
        found.backend,
        inputs,
        outputs,
        found.weights,
        found.inputs_last,
        found.outputs_last,
        found.only_batch,
        found.noises,
        _gradients(folder, found.moved_weights),
        _trained(folder, found.trained_outputs),
        found.untrained,
    )


def _gradients(folder: Path, moved: tuple[str, ...] | None) -> OwnGradients | None:
    if moved is None:
        return None
    of_inputs = folder / user_code.OF_INPUTS
    return OwnGradients(load(of_inputs), load(folder / user_code.OF_WEIGHTS) if moved else {})


def _trained(folder: Path, count: int | None) -> OwnTraining | None:
    if count is None:
        return None
    outputs, state = (folder / name for name in (user_code.TRAINED_OUTPUTS, user_code.TRAINED_STATE))
    return OwnTraining(count, *(load(path) if path.exists() else {} for path in (outputs, state)))
