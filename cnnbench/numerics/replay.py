"""Runs the node or the network of a reproducer file again, on any subject."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.budgets import Budget, budget_form
from cnnbench.numerics.checks.run import run_checks
from cnnbench.numerics.checks.verdict import judge
from cnnbench.numerics.comparison import Place, compare
from cnnbench.numerics.divergence import FORMAT, Reproduction, run
from cnnbench.numerics.network_file import FORMAT as NETWORK_FORMAT
from cnnbench.numerics.network_file import read_network
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.quantity import Quantity
from cnnbench.numerics.subject import Subject
from cnnbench.numerics.ties import Hull
from cnnbench.spec.serialization import graph_from_json
from cnnbench.spec.weights import load

Array = NDArray[Any]


def replay(path: Path, subject: Subject, *, mode: str | None = None) -> CheckOutcome:
    """Runs the node of a reproducer on ``subject``, in the mode that failed or another, and judges it again.

    Of a file that holds a network, the check that failed is run again.

    Args:
        path: The reproducer.
        subject: Who runs it.
        mode: Instead of the one that failed.

    Raises:
        DataError: The file is no reproducer.
    """
    from safetensors import SafetensorError, safe_open

    arrays = load(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"the file cannot be read: {error}", where=str(path)) from None
    if metadata.get("format") == NETWORK_FORMAT:
        case, check = read_network(path, metadata, mode)
        return run_checks([check], subject, case)[0]
    if metadata.get("format") != FORMAT:
        raise DataError("the file is no reproducer", where=str(path), received=metadata.get("format"), expected=FORMAT)
    try:
        item, header = _reproduction(metadata, arrays, mode)
        kind = item.graph.node(header["node"]).layer.kind
        place = Place(header["node"], kind, Quantity(**header["quantity"]), budget_form(kind, whole=True))
    except (KeyError, ValueError, TypeError) as error:  # json's errors are ValueErrors
        raise DataError(
            "the reproducer is damaged", where=str(path), received=f"{type(error).__name__}: {error}"
        ) from None
    comparison = compare(place, run(item, subject), item.exact, item.budget, item.options.precision, item.hull)
    return judge(header["check"], [comparison], {"replayed": str(path)})


def _reproduction(
    metadata: Mapping[str, str], arrays: Mapping[str, Array], mode: str | None
) -> tuple[Reproduction, dict[str, Any]]:
    header = json.loads(metadata["case"])
    graph = graph_from_json(header["graph"])
    options = ProgramOptions(
        mode or header["mode"],
        precision(header["precision"]),
        header["layout"],
        training=header["training"],
        fold_batch_norm=header.get("fold_batch_norm", False),
    )
    item = Reproduction(
        graph=graph,
        arrays={n.removeprefix("array."): a for n, a in arrays.items() if n.startswith("array.")},
        batch={n.removeprefix("batch."): a for n, a in arrays.items() if n.startswith("batch.")},
        options=options,
        gradient=header["gradient"],
        result=header["result"],
        exact=arrays["exact"],
        budget=Budget(arrays["sharp"], arrays["worst"]),
        hull=_hull(arrays),
    )
    return item, header


def _hull(arrays: Mapping[str, Array]) -> Hull | None:
    if "ties.tied" not in arrays:
        return None
    tied, low, high, axes = (arrays[f"ties.{name}"] for name in Hull._fields)
    return Hull(tied, low, high, tuple(map(int, axes)))
