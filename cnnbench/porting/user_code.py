"""The process in which a user's code runs: makes the model, reads it as a graph, and runs it as it is.

``python -m cnnbench.porting.user_code FOLDER`` finds a request there and leaves its answer beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnnbench.errors import CnnbenchError
from cnnbench.execution.own_forward import own_outputs
from cnnbench.execution.own_model import OwnModel, make_model
from cnnbench.porting.messages import ReadAnswer, ReadFailure, ReadReply, ReadRequest
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.interchange.model_readers import ReadModel
from cnnbench.spec.weights import save

REQUEST, ANSWER = "request.json", "answer.json"
ARRAYS, INPUTS, OUTPUTS = "arrays.safetensors", "inputs.safetensors", "outputs.safetensors"


def answer(folder: Path) -> None:
    """Answers the request of a folder: the graph and what else was asked for, or the error."""
    request = ReadRequest.model_validate_json((folder / REQUEST).read_bytes())
    found: ReadReply | ReadFailure
    try:
        found = _answered(folder, request)
    except CnnbenchError as error:
        found = ReadFailure.of(error)
    (folder / ANSWER).write_text(ReadAnswer(answer=found).model_dump_json(), encoding="utf-8")


def _answered(folder: Path, request: ReadRequest) -> ReadReply:
    reference = request.reference
    made = make_model(reference, request.image)
    try:
        read = made.reader.read(made.model, made.inputs)
    except CnnbenchError as error:
        raise error.at(str(reference)) from error
    read = replace(read, graph=replace(read.graph, name=reference.name))
    save(read.arrays, folder / ARRAYS)
    weights = made.reader.digest(made.model)
    if request.batch:
        _run(folder, made, read, request)
    return ReadReply(
        graph=read.graph.to_json(),
        notes=tuple(read.notes),
        framework=made.reader.name,
        backend=made.reader.backend,
        weights=weights,
        inputs_last=read.inputs_last,
        outputs_last=read.outputs_last,
        only_batch=read.batch,
    )


def _run(folder: Path, made: OwnModel, read: ReadModel, request: ReadRequest) -> None:
    """The model's own outputs in float64, of inputs that are drawn."""
    inputs = {
        name: array.astype("float64") if array.dtype.kind == "f" else array
        for name, array in draw_inputs(read.graph, request.seed, request.batch).items()
    }
    save(inputs, folder / INPUTS)
    runner = made.reader.runner(made.model, request.mode, "float64", "cpu")
    save(own_outputs(runner, read, inputs), folder / OUTPUTS)


def main(arguments: Sequence[str]) -> None:
    """Answers the request in the folder that is named."""
    answer(Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
