"""Training programs as plain data, from which the same program is made again: for workers, files and digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cnnbench.spec.content import content_digest
from cnnbench.spec.optimizers import optimizer_from_fields
from cnnbench.spec.serialization import graph_from_json
from cnnbench.training.programs.program import Phase, TrainingProgram
from cnnbench.training.programs.sampling import sampling_from_json, sampling_to_json
from cnnbench.training.programs.sources import source_from_fields


def program_to_json(program: TrainingProgram) -> dict[str, Any]:
    """Plain data that ``program_from_json`` reads. Raises SpecError where a source has no registered kind."""
    return {
        "name": program.name,
        "networks": {prefix: graph.to_json() for prefix, graph in program.networks.items()},
        "phases": [_phase_to_json(phase) for phase in program.phases],
        "sources": {name: _component(source) for name, source in program.sources.items()},
        "average": program.average,
        "spread": program.spread,
        "sampling": None if program.sampling is None else sampling_to_json(program.sampling),
    }


def program_from_json(data: Mapping[str, Any]) -> TrainingProgram:
    """The program of plain data.

    Raises:
        SpecError: An unknown kind, a field of another type, or a program that cannot be.
        LookupError, TypeError: Data of another form.
    """
    return TrainingProgram(
        name=data["name"],
        networks={prefix: graph_from_json(graph) for prefix, graph in data["networks"].items()},
        phases=tuple(_phase_from_json(phase) for phase in data["phases"]),
        sources={name: source_from_fields(**source) for name, source in data["sources"].items()},
        average=data["average"],
        spread=data["spread"],
        sampling=None if data["sampling"] is None else sampling_from_json(data["sampling"]),
    )


def program_digest(program: TrainingProgram) -> str:
    """SHA-256 of all that makes a program what it is; its networks and phases count by the digests of their graphs."""
    data = program_to_json(program)
    data["networks"] = {prefix: graph.digest for prefix, graph in program.networks.items()}
    for phase, found in zip(program.phases, data["phases"], strict=True):
        found["graph"] = phase.graph.digest
    if program.sampling is not None:
        data["sampling"]["graph"] = program.sampling.graph.digest
    return content_digest(data)


def _phase_to_json(phase: Phase) -> dict[str, Any]:
    return {
        "name": phase.name,
        "graph": phase.graph.to_json(),
        "trained": list(phase.trained),
        "optimizer": _component(phase.optimizer),
        "rate": phase.rate,
    }


def _phase_from_json(data: Mapping[str, Any]) -> Phase:
    return Phase(
        name=data["name"],
        graph=graph_from_json(data["graph"]),
        trained=tuple(data["trained"]),
        optimizer=optimizer_from_fields(**data["optimizer"]),
        rate=data["rate"],
    )


def _component(value: Any) -> dict[str, Any]:
    return {"kind": value.kind, "fields": asdict(value)}
