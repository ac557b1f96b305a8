"""The file of a network that fails a check: its graph, weights, inputs and options, from which the check runs again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cnnbench.errors import CnnbenchError, DataError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.spec.serialization import graph_from_json
from cnnbench.spec.weights import load, save

FORMAT = "cnnbench-network-1"
Array = NDArray[Any]


def write_network(path: Path, case: Case, check: str) -> None:
    """Writes the question and the name of the check that it fails.

    Args:
        path: The file, which is replaced.
        case: Graph, arrays, inputs, options and seed.
        check: Of ``CHECKS``.
    """
    header = {
        "graph": case.graph.to_json(),
        "mode": case.options.mode,
        "precision": case.policy.name,
        "layout": case.options.layout,
        "fold_batch_norm": case.options.fold_batch_norm,
        "seed": case.seed,
        "positive": case.positive,
        "check": check,
    }
    arrays = {f"array.{name}": array for name, array in case.stored.items()}
    arrays |= {f"batch.{name}": array for name, array in case.inputs.items()}
    save(arrays, path, metadata={"format": FORMAT, "case": json.dumps(header)})


def read_network(path: Path, metadata: Mapping[str, str], mode: str | None = None) -> tuple[Case, str]:
    """The question of such a file, and the check's name.

    Args:
        path: The file.
        metadata: Of its header.
        mode: Instead of the one that failed.

    Raises:
        DataError: The file is damaged.
    """
    arrays = load(path)

    def group(prefix: str) -> dict[str, Array]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    try:
        header = json.loads(metadata["case"])
        options = ProgramOptions(
            mode or header["mode"],
            precision(header["precision"]),
            header["layout"],
            fold_batch_norm=header["fold_batch_norm"],
        )
        graph = graph_from_json(header["graph"])
        case = Case(graph, group("array."), group("batch."), options, seed=header["seed"], positive=header["positive"])
        return case, str(header["check"])
    except (CnnbenchError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            "the reproducer is damaged", where=str(path), received=f"{type(error).__name__}: {error}"
        ) from None
