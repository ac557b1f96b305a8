"""``verify`` and ``replay``: numerical checks in this process, with or without an injected fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision as find_precision
from cnnbench.face.backends import chosen_backend, chosen_backends
from cnnbench.face.keywords import VerifyKeywords, takes
from cnnbench.face.native import lacks_native, with_own
from cnnbench.face.networks import Network, load_examined
from cnnbench.face.program_verification import ProgramChecks, asked_checks
from cnnbench.face.verify_result import VerifiedBackend, VerifyResult, with_suspicion
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import CHECKS, run_checks
from cnnbench.numerics.faults import examined, faulty_subject, require_reach
from cnnbench.numerics.faults import fault as find_fault
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.subject import InProcessSubject, Subject
from cnnbench.spec.draws import draw_inputs

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend
    from cnnbench.numerics.faults import Fault

BATCH = 2


@takes(VerifyKeywords)
def verify(
    network: Network,
    *,
    backends: Sequence[str] = (),
    checks: Sequence[str] = (),
    precision: str = "float32",
    fault: str | None = None,
    **how: Unpack[VerifyKeywords],
) -> VerifyResult:
    """Checks a network's numbers on each backend against the float64 reference.

    Args:
        network: A registered name, the path of a YAML or ONNX file, a graph or a model; or a training program's name.
        backends: ``NAME`` or ``NAME:MODE`` each; () for every one that is here.
        checks: ``local``, ``exact``, ``end_to_end``, ``gradient`` ..., ``program``; () for all.
        precision: The policy: ``float64``, ``float32``, ``tf32``, ``bfloat16``, ``float16``.
        fault: A name of ``cnnbench list faults``, which is injected into each backend first.
        how: The keywords below.

    Raises:
        SuiteError: An unknown check or fault, a mode that a backend has not, a fault that the network cannot show.
        UnavailableError: An unknown backend or precision.
        SpecError, DataError: As ``load``.
    """
    chosen = chosen_backends(backends, precision, native=fault is None)
    found = None if fault is None else find_fault(fault)
    seed = how.get("seed", 0)
    image, num_classes = how.get("image"), how.get("num_classes")
    names, plugins = asked_checks(network, checks) if fault is None else (tuple(checks) or tuple(CHECKS), ())
    examined_network = network if names else plugins[0].architecture
    model = load_examined(examined_network, how.get("weights"), seed=seed, image=image, num_classes=num_classes)
    programs = ProgramChecks(plugins, model.graph.inputs[0].shape, seed, how.get("batch", BATCH))
    inputs = draw_inputs(model.graph, seed, how.get("batch", BATCH))
    results = []
    for item in chosen:
        reason = item.reason or lacks_native(item, network, how)
        if reason is not None:
            results.append(VerifiedBackend(item.plugin.name, item.mode, reason, ()))
            continue
        if (on_backend := how.get("on_backend")) is not None:
            on_backend(item.series)
        options = ProgramOptions(
            item.mode, find_precision(precision), fold_batch_norm=how.get("fold_batch_norm", False)
        )
        options = with_own(options, item, model, {**how, "network": network})
        case = Case(model.graph, model.arrays, inputs, options, seed=seed, thorough=how.get("thorough", False))
        case = _case(case, found)
        if (folder := how.get("folder")) is not None:
            case = replace(case, folder=Path(folder) / f"{model.graph.name}-{item.plugin.name}-{item.mode}")
        backend = item.load(ProcessSettings(threads=how.get("threads")))
        outcomes = run_checks(names, _subject(backend, found), case) if names else []
        outcomes += programs.outcomes(backend, replace(options, fold_batch_norm=False))
        results.append(VerifiedBackend(item.plugin.name, item.mode, "", tuple(outcomes)))
    name = model.graph.name if names else plugins[0].name
    return VerifyResult(name, precision, fault, tuple(results if found else with_suspicion(results)))


def _case(case: Case, fault: Fault | None) -> Case:
    """The question, in the form in which a fault that is to be found can show."""
    if fault is None:
        return case
    case = examined(case, fault)
    require_reach(case, fault)
    return case


def _subject(backend: Backend, fault: Fault | None) -> Subject:
    """A loaded backend, or a faulty one."""
    return InProcessSubject(backend) if fault is None else faulty_subject(backend, fault.name)


def replay(
    file: Path | str, *, backend: str = "numpy", fault: str | None = None, threads: int | None = None
) -> CheckOutcome:
    """Runs the one node of a reproducer file again, and judges it as the check did that wrote the file.

    Args:
        file: What ``VerifyResult`` and a cell's record call ``reproducer``.
        backend: ``NAME`` or ``NAME:MODE``.
        fault: A fault that is injected first.
        threads: Computing threads.

    Raises:
        DataError: The file does not exist, or is no reproducer.
        UnavailableError, SuiteError: As ``verify``.
    """
    from cnnbench.numerics.replay import replay as run_again

    chosen = chosen_backend(backend)
    found = None if fault is None else find_fault(fault)
    return run_again(Path(file), _subject(chosen.load(ProcessSettings(threads=threads)), found), mode=chosen.mode)
