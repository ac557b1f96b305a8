"""Reads a live module and holds the float64 outputs of its graph against the framework's own: a row."""

from __future__ import annotations

import re
import time
import traceback
from typing import Any, NamedTuple

import numpy as np
from subjects import Subject, TooLargeError, subject

from cnnbench.errors import CnnbenchError
from cnnbench.execution.own_forward import own_outputs
from cnnbench.execution.precision import precision
from cnnbench.porting.normal_form import PlainNetwork
from cnnbench.porting.rounding import NetworkValues
from cnnbench.porting.values_apart import distance, values_of
from cnnbench.registry import model_readers
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.interchange.model_readers import GivenInputs, ReadModel
from cnnbench.spec.passes import lower

EQUAL = 1e-10  # of the largest output
FLOAT32 = 1e-6  # the same where the framework computes a part in float32, whatever it is asked
BATCH = 2
TRIED = ("equal", "equal in float32", "unequal", "refused", "traceback", "too slow")
RESULTS = (*TRIED, "not built", "left out")


class Row(NamedTuple):
    """What became of a network.

    Args:
        image: The shape of an image, in the model's own layout.
        nodes, parameters: Of the graph that was read; 0 where there is none.
        result: Of ``RESULTS``.
        apart: The largest difference, relative to the largest output; None where none was measured.
        reason: Of a result other than ``equal``; or what the graph does not show.
        seconds: What reading and comparing took, under whatever load there was.
    """

    source: str
    network: str
    image: str
    nodes: int
    parameters: int
    result: str
    apart: float | None
    reason: str
    seconds: float


def row_of(source: str, name: str) -> Row:
    """The row of a network."""
    begun = time.perf_counter()
    image, found = "", (0, 0, "not built", None, "")
    try:
        made = subject(source, name)
        image = "x".join(map(str, made.shape))
        found = _judged(made)
    except TooLargeError as error:
        found = (0, 0, "left out", None, str(error))
    except Exception as error:
        found = (0, 0, "not built", None, short(error))
    return Row(source, name, image, *found, round(time.perf_counter() - begun, 1))


def _judged(made: Subject) -> tuple[int, int, str, float | None, str]:
    code = next(reader for reader in model_readers() if reader.name == made.framework).code()
    try:
        read = code.read(made.model, GivenInputs((made.shape,)))
    except CnnbenchError as error:
        return 0, 0, "refused", None, short(error)
    except Exception as error:
        return 0, 0, "traceback", None, f"{short(error)} at {_place(error)}"
    size = (len(read.graph.nodes), sum(int(np.prod(item.shape)) for item in read.graph.named_weights()))
    try:
        worst, share = _apart(code, made, read)
    except Exception as error:
        return *size, "traceback", None, f"{short(error)} at {_place(error)}"
    notes = list(read.notes)
    if worst > EQUAL:
        notes.insert(0, f"{share:.2g} of what float32 explains")
    result = "equal" if worst <= EQUAL else "equal in float32" if share <= 1 and worst <= FLOAT32 else "unequal"
    return *size, result, worst, "; ".join(notes)[:300] if result != "unequal" else f"{share:.3g} of float32's"


def _apart(code: Any, made: Subject, read: ReadModel) -> tuple[float, float]:
    """(the largest difference, where it is not 0 its share of what float32 explains).

    Both on the same two images in float64; as ``cnnbench port`` proves that a graph is its model."""
    drawn = draw_inputs(read.graph, 0, BATCH)
    batch = {name: array.astype("float64") for name, array in drawn.items()}
    if made.pixels:
        batch = {name: np.clip(127.5 + 60 * array, 0, 255) for name, array in batch.items()}
    own = own_outputs(code.runner(made.model, "eager", "float64", "cpu"), read, batch)
    plain = PlainNetwork(lower(read.graph), read.arrays, {})
    values = values_of(plain, [batch[item.name] for item in plain.graph.inputs])
    if not all(np.isfinite(array).all() and array.any() for array in own.values()):
        raise ValueError("the model's own outputs are 0 or not finite, so that nothing is compared")
    worst = max(distance(own[name], values[value]) for name, value in plain.graph.outputs)
    if worst <= EQUAL:
        return worst, 0.0
    explained = NetworkValues(plain, [batch[item.name] for item in plain.graph.inputs], precision("float32"))
    return worst, max(explained.share(value, own[name]) for name, value in plain.graph.outputs)


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{re.sub(r'.*/', '', last.filename)}:{last.lineno}"


def short(error: Exception) -> str:
    """An error's text on one line, not too long."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|/tmp/[\w/.-]+/", "", str(error)).split())
    return f"{'' if isinstance(error, CnnbenchError) else type(error).__name__ + ': '}{text}"[:500]
