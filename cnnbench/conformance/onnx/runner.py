"""Runs the cases on a backend in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cnnbench.conformance.onnx.judge import RELATIVE, CaseVerdict, judge
from cnnbench.conformance.onnx.lists import Group, skip_reason
from cnnbench.conformance.onnx.loader import Array, DataSet, OnnxCase
from cnnbench.conformance.onnx.naive import ROUNDED
from cnnbench.errors import CnnbenchError, UnavailableError
from cnnbench.spec.interchange.onnx_file import OnnxFile, prepare
from cnnbench.spec.interchange.onnx_import import OnnxNetwork, import_model

if TYPE_CHECKING:
    from cnnbench.execution.contract import Backend, ProgramOptions

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class OnnxResult:
    """What became of a case.

    Args:
        name, group, operator: As in the list.
        status: ``skipped`` where the skip list or a gap that the backend declares has a reason.
        message: The reason, or what is wrong.
        error: The largest difference as a share of the largest expected value; None where nothing was compared.
    """

    name: str
    group: Group
    operator: str
    status: Status
    message: str = ""
    error: float | None = None


def run_onnx_cases(
    backend: Backend,
    options: ProgramOptions,
    cases: Sequence[OnnxCase],
    on_progress: Callable[[str], None] | None = None,
    *,
    run_skipped: bool = False,
) -> list[OnnxResult]:
    """One result a case.

    Args:
        backend: Loaded and configured.
        options: Mode, precision and layout.
        cases: As ``load_cases`` gives them.
        on_progress: Called with each case's name as it starts.
        run_skipped: Run the cases of the skip list too, to see whether their reasons still hold.
    """
    results = []
    for case in cases:
        if on_progress is not None:
            on_progress(case.name)
        reason = None if run_skipped else skip_reason(case.listed)
        item = case.listed
        if reason is not None:
            results.append(OnnxResult(item.name, item.group, item.operator, "skipped", reason))
            continue
        status, message, error = _outcome(backend, options, case)
        results.append(OnnxResult(item.name, item.group, item.operator, status, message, error))
    return results


def _outcome(backend: Backend, options: ProgramOptions, case: OnnxCase) -> tuple[Status, str, float | None]:
    try:
        verdict = _run(backend, options, case)
    except UnavailableError as error:
        return "skipped", str(error), None
    except CnnbenchError as error:
        return "failed", str(error), None
    except Exception as error:  # a framework's own error is the case's failure, not the run's
        return "failed", f"{type(error).__name__}: {error}".strip()[:500], None
    return ("failed" if verdict.problem else "passed"), verdict.problem, verdict.error


def _run(backend: Backend, options: ProgramOptions, case: OnnxCase) -> CaseVerdict:
    model = case.model()
    file = prepare(model, case.name)
    verdicts = []
    for data in case.data_sets(model):
        received = run_model(backend, options, file, data.inputs)
        verdict = judge(_expected(case, model, data), received)
        if verdict.problem:
            return verdict
        verdicts.append(verdict)
    return CaseVerdict("", max(verdict.error for verdict in verdicts))


def _expected(case: OnnxCase, model: object, data: DataSet) -> list[Array]:
    """The case's own expected values, or ours where those are rounded: both must agree to four digits."""
    naive = ROUNDED.get(case.name)
    if naive is None:
        return data.outputs
    computed = [naive(model.graph.node[0], *data.inputs.values())]  # type: ignore[attr-defined]
    verdict = judge(data.outputs, computed, relative=100 * RELATIVE)
    if verdict.problem:
        raise UnavailableError(f"the values computed for this case are not its own: {verdict.problem}", where=case.name)
    return computed


def run_model(backend: Backend, options: ProgramOptions, file: OnnxFile, inputs: dict[str, Array]) -> list[Array]:
    """The outputs of a model, in its order, for the data of its inputs. Raises CnnbenchError.

    Args:
        backend: Loaded and configured.
        options: Mode, precision and layout.
        file: The model.
        inputs: Their data by the model's names.
    """
    return run_network(backend, options, import_model(file, inputs), inputs)


def _plain(array: Array) -> Array:
    """Numbers of a type that NumPy has not by itself (integers of 4 bits, floats of 8) as float32, which holds them."""
    return array if array.dtype.isbuiltin == 1 else array.astype("float32")


def run_network(
    backend: Backend, options: ProgramOptions, network: OnnxNetwork, inputs: dict[str, Array]
) -> list[Array]:
    """The outputs of an imported model, in its order.

    Args:
        backend: Loaded and configured.
        options: Mode, precision and layout.
        network: The imported model.
        inputs: Their data by the model's names.
    """
    from cnnbench.spec.weights import split_state

    if network.graph is None:
        return network.results({})
    program = backend.compile_forward(network.graph, options)
    program.load(*split_state(network.graph, network.arrays))
    batch = {ours: _plain(inputs[theirs]) for ours, theirs in network.inputs.items()}
    results = program.run(program.upload(batch))
    backend.synchronize()
    host = program.download(results)
    return network.results(host.outputs)
