"""The process in which a user's code runs: makes the model, reads it as a graph, and runs it as it is.

``python -m cnnbench.porting.user_code FOLDER`` finds a request there and leaves its answer beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from cnnbench.errors import CnnbenchError, PluginError
from cnnbench.execution.culprits import culprit
from cnnbench.execution.own_forward import canonical, own_layout, own_outputs
from cnnbench.execution.own_model import OwnModel, make_model
from cnnbench.porting.messages import ReadAnswer, ReadFailure, ReadReply, ReadRequest
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.interchange.model_readers import ReadModel
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import save

REQUEST, ANSWER = "request.json", "answer.json"
ARRAYS, INPUTS, OUTPUTS = "arrays.safetensors", "inputs.safetensors", "outputs.safetensors"
OF_INPUTS, OF_WEIGHTS = "gradients-of-inputs.safetensors", "gradients-of-weights.safetensors"
TRAINED_OUTPUTS, TRAINED_STATE = "outputs-in-training.safetensors", "statistics-after-training.safetensors"
_NOT_DRAWN = 1e-9  # of the largest value: sums in another order differ less, other draws more
_MARK = 3.0  # a weight of the model in place of its values: an array of the graph that holds it is moved, not computed


def answer(folder: Path) -> None:
    """Answers the request of a folder: the graph and what else was asked for, or the error."""
    request = ReadRequest.model_validate_json((folder / REQUEST).read_bytes())
    found: ReadReply | ReadFailure
    try:
        found = _answered(folder, request)
    except CnnbenchError as error:
        found = ReadFailure.of(error)
    except (Exception, SystemExit) as error:  # of a plugin's reader; what is ours ends the process with its traceback
        said = culprit(error)
        if said is None:
            raise
        found = ReadFailure.of(PluginError(said, where=str(request.reference)))
    (folder / ANSWER).write_text(ReadAnswer(answer=found).model_dump_json(), encoding="utf-8")


def _answered(folder: Path, request: ReadRequest) -> ReadReply:
    reference = request.reference
    made = make_model(reference, request.image)
    try:
        read = made.reader.code().read(made.model, made.inputs)
    except CnnbenchError as error:
        raise error.at(str(reference)) from error
    read = replace(read, graph=replace(read.graph, name=reference.name))
    save(read.arrays, folder / ARRAYS)
    weights = made.reader.code().digest(made.model)
    ran = _run(folder, made, read, request) if request.batch else None
    moved, trained, untrained = None, None, ""
    if ran is not None and request.training:
        moved = _differentiate(folder, made, read, (*ran, request.seed))
        trained, untrained = _train(folder, made, read, ran[0])
    return ReadReply(
        graph=read.graph.to_json(),
        notes=tuple(read.notes),
        framework=made.reader.name,
        backend=made.reader.backend,
        weights=weights,
        inputs_last=read.inputs_last,
        outputs_last=read.outputs_last,
        only_batch=read.batch,
        noises=read.noises,
        moved_weights=moved,
        trained_outputs=trained,
        untrained=untrained,
    )


def _run(folder: Path, made: OwnModel, read: ReadModel, request: ReadRequest) -> tuple[Any, Any]:
    """(inputs that are drawn, the model's own outputs of them in float64)."""
    drawn = draw_inputs(read.graph, request.seed, request.batch, by_place=request.training)
    inputs = {name: array.astype("float64") if array.dtype.kind == "f" else array for name, array in drawn.items()}
    save(inputs, folder / INPUTS)
    runner = made.reader.code().runner(made.model, request.mode, "float64", "cpu")
    outputs = own_outputs(runner, read, inputs)
    save(outputs, folder / OUTPUTS)
    return inputs, outputs


def cotangents_of(shapes: Sequence[tuple[int, ...]], seed: int) -> list[Any]:
    """A normal cotangent for each output of a model, drawn by its place.

    Args:
        shapes: Of the outputs, with the batch and with channels first.
        seed: Of the run.
    """
    return [stream(seed, "cotangents", f"output{i}").normal(size=shape) for i, shape in enumerate(shapes)]


def _differentiate(folder: Path, made: OwnModel, read: ReadModel, ran: tuple[Any, Any, int]) -> tuple[str, ...] | None:
    """The model's own gradients, canonical: a model that has them as weights is read once more.

    Returns the names of the arrays that hold weights of the model as they are; None where it is not differentiated.
    """
    inputs, outputs, seed = ran
    cotangents = own_layout(cotangents_of([array.shape for array in outputs.values()], seed), read.outputs_last)
    names = [item.name for item in read.graph.inputs]
    batch = _batch(read, inputs)
    code = made.reader.code()
    found = code.gradients(made.model, batch, cotangents)
    if found is None:
        return None
    flags = read.inputs_last or (False,) * len(names)
    floats = [(n, g, last) for n, g, last in zip(names, found.inputs, flags, strict=True) if g is not None]
    save(canonical(floats), folder / OF_INPUTS)

    def arrays(weights: Sequence[Any]) -> Any:
        return code.read(code.with_weights(made.model, weights), made.inputs).arrays

    marked = arrays([np.full(g.shape, _MARK) for g in found.weights])
    moved = tuple(item.name for item in read.graph.named_weights() if (marked[item.name] == _MARK).all())
    of_weights = arrays(found.weights)
    save({name: of_weights[name] for name in moved}, folder / OF_WEIGHTS)
    return moved


def _batch(read: ReadModel, inputs: Any) -> list[Any]:
    return own_layout([inputs[item.name] for item in read.graph.inputs], read.inputs_last)


def _train(folder: Path, made: OwnModel, read: ReadModel, inputs: Any) -> tuple[int | None, str]:
    """One pass of the model in training mode: its outputs, and its running statistics after it, canonical.

    Two passes with other seeds show what depends on what the model draws, which is left out.

    Returns how many outputs it gives, None where it has no such mode; and why it was not run in it.
    """
    code = made.reader.code()
    try:
        passes = [code.training_pass(made.model, _batch(read, inputs), seed) for seed in (0, 1)]
    except Exception as error:  # the user's code may raise anything, such as for one value per channel
        return None, f"{type(error).__name__}: {shorten(str(error), 300)}"
    one, two = passes
    if one is None or two is None:
        return None, ""
    names = [name for name, _ in read.graph.outputs]
    alike = _alike(dict(enumerate(one.outputs)), dict(enumerate(two.outputs)))
    last = read.outputs_last or (False,) * len(names)
    if alike and len(one.outputs) == len(names):
        save(canonical((names[i], one.outputs[i], last[i]) for i in alike), folder / TRAINED_OUTPUTS)
    state = [spec.name for spec in read.graph.named_state()]
    first = code.read(one.model, made.inputs).arrays
    after = {name: first[name] for name in state}
    if len(alike) < len(one.outputs):
        second = code.read(two.model, made.inputs).arrays
        after = _alike(after, {name: second[name] for name in state})
    if after:
        save(after, folder / TRAINED_STATE)
    return len(one.outputs), ""


def _alike(one: dict[Any, Any], two: dict[Any, Any]) -> dict[Any, Any]:
    def agree(a: Any, b: Any) -> bool:
        largest = np.abs(a).max(initial=0.0)
        return np.array_equal(a, b, equal_nan=True) or bool(np.abs(a - b).max(initial=0.0) <= _NOT_DRAWN * largest)

    return {key: array for key, array in one.items() if agree(array, two[key])}


def main(arguments: Sequence[str]) -> None:
    """Answers the request in the folder that is named."""
    answer(Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
