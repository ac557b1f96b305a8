"""Which of a user's programs a native mode runs, and why there is none of a network that is no model of the user's."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnbench.errors import UnavailableError
from cnnbench.execution.contract import BackendPlugin
from cnnbench.execution.own_program import OwnProgram
from cnnbench.execution.precision import PrecisionPolicy
from cnnbench.execution.storage import all_to_storage
from cnnbench.porting.messages import ReadRequest
from cnnbench.porting.reading import read_model
from cnnbench.porting.references import is_onnx, parse_reference, without_prefix
from cnnbench.spec.graph import Graph
from cnnbench.spec.interchange.model_readers import ModelReference
from cnnbench.spec.weights import digest

ONNX_BACKEND = "onnxruntime"

Arrays = Mapping[str, Any]


def lacks_program(name: str, plugin: BackendPlugin, image: tuple[int, ...] = ()) -> str | None:
    """Why a network has no program of its own that a backend's native modes run; None where it has one.

    Args:
        name: Of the network, as suites know it.
        plugin: The backend.
        image: (C, *spatial) of its input as it is asked for; () for its own.
    """
    reference = own_reference(name)
    if reference is None:
        return f"{without_prefix(name)} is no model of your own, which a native mode runs as it is"
    if is_onnx(reference.place):
        framework, backend = "ONNX", ONNX_BACKEND
    else:
        model = read_model(ReadRequest(reference=reference, image=image))
        framework, backend = model.framework, model.backend
    if backend != plugin.name:
        return f"{reference} is a model of {framework}, which runs as it is on {backend}"
    return None


def lacks_meaning(mode: str, asked: Mapping[str, object]) -> str | None:
    """Why a native mode cannot do what is asked of other programs; None where nothing of it is.

    Args:
        mode: The native mode.
        asked: What was asked for, by the name of its field.
    """
    given = [name for name, value in asked.items() if value]
    return f"{mode} runs your program as it is: {', '.join(given)} does not apply" if given else None


def own_reference(name: str) -> ModelReference | None:
    """What names a user's own model or ONNX file, None for any other network.

    Args:
        name: Of the network, as suites know it.
    """
    if is_onnx(name):
        return ModelReference(without_prefix(name), None)
    return parse_reference(name)


def own_program(
    name: str, mode: str, policy: PrecisionPolicy, network: tuple[Graph, Arrays], image: tuple[int, ...] = ()
) -> OwnProgram:
    """The program that a native mode runs.

    Args:
        name: Of the network, as suites know it.
        mode: As the native mode's ``OwnProgram`` has it.
        policy: Its precision.
        network: The graph that was read, and its arrays.
        image: As in ``lacks_program``.

    Raises:
        UnavailableError: The network is no model of the user's.
    """
    reference = own_reference(name)
    if reference is None:
        raise UnavailableError("a native mode runs a model of your own", received=without_prefix(name))
    graph, arrays = network
    place = reference.place if reference.path is None else os.path.abspath(reference.place)  # noqa: PTH100 - links stay
    found = {"weights": "", "inputs_last": (), "outputs_last": (), "batch": None}
    if is_onnx(place):
        with Path(place).open("rb") as file:
            found["weights"] = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        model = read_model(ReadRequest(reference=reference, image=image))
        found = {key: getattr(model, key) for key in found}
    return OwnProgram(
        place=place,
        function=reference.function,
        mode=mode,
        image=image,
        graph=graph.digest,
        arrays=digest(all_to_storage(arrays, policy)),
        **found,  # type: ignore[arg-type]
    )
