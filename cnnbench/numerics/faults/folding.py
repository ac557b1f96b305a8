"""Faults of folding: what a convolution that takes in its batch norm forgets of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.numerics.case import Case
from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.configurations import case_of
from cnnbench.numerics.faults.engine.programs import Compilers, Loaded, Moment, ProgramChange, changed_programs
from cnnbench.numerics.faults.loads import two_blocks
from cnnbench.spec.graph import Graph, weight_parts
from cnnbench.spec.passes.folding import foldable_batch_norms

Array = NDArray[Any]
Arrays = dict[str, Array]
EPS = 1e-3  # of ``two_blocks``


def _case(options: ProgramOptions, seed: int) -> Case:
    return case_of(two_blocks(), replace(options, fold_batch_norm=True), seed)


def _folding(change: Callable[[Arrays, str, str], None]) -> Callable[[Backend], Compilers]:
    """Programs that fold have other arrays: ``change(arrays, norm, conv)`` alters them for each folded pair."""

    def of_graph(graph: Graph) -> ProgramChange:
        pairs = foldable_batch_norms(graph)

        def load(given: Loaded, moment: Moment) -> Loaded:
            known = {**given.weights, **given.state}
            for norm, conv in pairs.items():
                change(known, norm, conv)
            return given._replace(
                weights={name: known[name] for name in given.weights}, state={name: known[name] for name in given.state}
            )

        return ProgramChange(load=load)

    def of_backend(backend: Backend) -> Compilers:
        wrong = changed_programs(of_graph, ("compile_forward",))(backend)
        right = backend.compile_forward

        def compile_forward(graph: Graph, options: ProgramOptions) -> Any:
            return (wrong["compile_forward"] if options.fold_batch_norm else right)(graph, options)

        return {**wrong, "compile_forward": compile_forward}

    return of_backend


def _at(role: str, value: float) -> Callable[[Arrays, str, str], None]:
    def change(arrays: Arrays, norm: str, conv: str) -> None:
        arrays[f"{norm}.{role}"] = np.full_like(arrays[f"{norm}.{role}"], value)

    return change


def _own_bias(arrays: Arrays, norm: str, conv: str) -> None:
    arrays[f"{conv}.bias"] = np.zeros_like(arrays[f"{conv}.bias"])


def _bias_unscaled(arrays: Arrays, norm: str, conv: str) -> None:
    """b added after the scale: the shift that makes it so."""
    factor = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + EPS)
    bias = arrays[f"{conv}.bias"]
    arrays[f"{norm}.bias"] = arrays[f"{norm}.bias"] + bias - bias * factor


def _no_eps(arrays: Arrays, norm: str, conv: str) -> None:
    arrays[f"{norm}.running_var"] = arrays[f"{norm}.running_var"] - np.float32(EPS)


def _of_the_first(arrays: Arrays, norm: str, conv: str) -> None:
    for role in ("running_mean", "running_var"):
        first = next(name for name in arrays if weight_parts(name)[1] == role)
        arrays[f"{norm}.{role}"] = arrays[first]


def _variance_as_deviation(arrays: Arrays, norm: str, conv: str) -> None:
    arrays[f"{norm}.running_var"] = arrays[f"{norm}.running_var"] ** 2


def _by_input_channels(arrays: Arrays, norm: str, conv: str) -> None:
    """The kernel scaled along its input channels, where there are as many."""
    factor = arrays[f"{norm}.weight"] / np.sqrt(arrays[f"{norm}.running_var"] + EPS)
    weight = arrays[f"{conv}.weight"]
    arrays[f"{conv}.weight"] = weight * (factor[None, :, None, None] / factor[:, None, None, None])


WRONG: dict[str, tuple[str, Callable[[Arrays, str, str], None]]] = {
    "mean_forgotten": ("the running mean left out of the folded bias", _at("running_mean", 0.0)),
    "variance_forgotten": ("the folded kernel not divided by the deviation", _at("running_var", 1.0)),
    "scale_forgotten": ("the folded kernel not multiplied by the scale", _at("weight", 1.0)),
    "shift_forgotten": ("the shift left out of the folded bias", _at("bias", 0.0)),
    "own_bias_forgotten": ("the convolution's own bias lost", _own_bias),
    "own_bias_unscaled": ("the convolution's own bias added without the scale", _bias_unscaled),
    "epsilon_forgotten": ("epsilon left out of the deviation", _no_eps),
    "statistics_of_the_first": ("every convolution folded with the statistics of the first norm", _of_the_first),
    "variance_as_deviation": ("the variance taken for the deviation", _variance_as_deviation),
    "by_input_channels": ("the kernel scaled along its input channels and not its output ones", _by_input_channels),
}

FAULTS = tuple(
    Fault(
        f"folding.{name}",
        "folding",
        what,
        _case,
        check="end_to_end",
        node="conv2" if change is _of_the_first else "conv1",  # the first convolution that is folded wrongly
        programs=_folding(change),
    )
    for name, (what, change) in WRONG.items()
)
