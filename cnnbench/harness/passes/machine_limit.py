"""The machine's limit: a program that is faster than its processors can compute is no result."""

from __future__ import annotations

from statistics import median

from cnnbench.errors import WorkerError
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.members import GroupMember
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.protocol.timing import MachineRatesRequest
from cnnbench.harness.worker.specification import WorkerSpec
from cnnbench.measurement.least_work import LeastWork, MachineRates

SLOWEST = MachineRates(2e9, 4e9)  # what any processor reaches: cells above its limit need no measurement
TRIES = 3  # measurements of a machine that may be disturbed, before a cell is called wrong
LEAST_PROCESSOR_S = 0.05  # of all rounds, below which the kernel's count says nothing


def too_little(work: Work, member: GroupMember) -> str | None:
    """Why the samples of a launch cannot be the time of the work, or None.

    Args:
        work: The pass.
        member: Whose samples they are.
    """
    cell = member.cell
    samples = [sample.latency_s for sample in member.samples]
    if cell.device != "cpu" or not samples:
        return None
    policy = precision(cell.precision)
    least = LeastWork.of(work.facts.materials.of(cell).graph, cell.batch, policy)
    took = {"a call takes": median(samples)}
    calls = sum(item.calls for item in member.rounds)
    wall = sum(item.observed.wall_s for item in member.rounds)
    if calls and wall >= LEAST_PROCESSOR_S:
        used = sum(item.observed.processor_s + item.children_s for item in member.rounds)
        took["it uses of its processors for a call"] = used / calls
    rates = SLOWEST
    for _ in range(TRIES + 1):
        limit_s = least.seconds(rates, policy)
        below = {what: value for what, value in took.items() if value < limit_s}
        if not below:
            return None
        if (measured := _rates(work, cell, again=rates is not SLOWEST)) is None:
            return None
        rates = measured
    what, value = next(iter(below.items()))
    return (
        f"{what} {value * 1e6:.3g} us, and no less than {limit_s * 1e6:.3g} us is possible here for "
        f"{least.operations / 1e6:.3g} million operations at {rates.operations_per_s / 1e9:.3g} GFLOP/s"
    )


def _rates(work: Work, cell: Cell, *, again: bool) -> MachineRates | None:
    """The best that was measured with a cell's threads so far; None where it could not be measured."""
    memo = work.facts.materials.memo
    storage = "float64" if precision(cell.precision).storage == "float64" else "float32"
    key = ("rates", cell.threads, storage)
    known: MachineRates | None = memo.get(key)
    if known is not None and not again:
        return known
    limit_s = work.facts.suite.timeouts.call_s
    try:
        with (
            work.watch.timing("yardsticks"),
            work.facts.machine.start_worker(WorkerSpec(None, threads=cell.threads)) as worker,
        ):
            found = MachineRates(**dict(worker.ask(MachineRatesRequest(storage=storage), timeout_s=limit_s)))
    except WorkerError as error:
        work.note(f"what the machine can do at best could not be measured: {error.message}")
        return None
    memo[key] = found if known is None else known.best(found)
    return memo[key]  # type: ignore[no-any-return]
