"""What a worker does for each request: loads a backend, prepares and times programs, answers checks, trains."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnbench.harness.worker.answers import Answers, Plain, Tell
from cnnbench.harness.worker.arrays import options_from_json, read_arrays, write_arrays
from cnnbench.spec.serialization import graph_from_json

if TYPE_CHECKING:
    from cnnbench.execution.compiled import ForwardProgram
    from cnnbench.measurement.sampling import SampleSettings, TimedCall
    from cnnbench.measurement.turns import Turns


@dataclass
class _Prepared:
    """A program that is ready to be timed."""

    program: ForwardProgram
    timed: TimedCall
    settings: SampleSettings
    calls_per_sample: int = 1


class Requests(Answers):
    """The requests, one method each: keyword arguments are the parameters, the result is plain data.

    ``tell`` sends an event before the reply.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cells: dict[str, _Prepared] = {}
        self._turns: Turns | None = None

    def environment(self, *, tell: Tell) -> Plain:
        """What is installed here, and for each backend that is known why it cannot be used, or None."""
        from cnnbench.execution.backends import backend_plugins
        from cnnbench.measurement.installed import installed

        return installed() | {"backends": {name: item.unavailable() for name, item in backend_plugins().items()}}

    def load(self, *, tell: Tell, backend: str, threads: int | None, device: str) -> Plain:
        """Imports and configures a backend: ``import_s`` and what it says of itself."""
        from cnnbench.execution.contract import ProcessSettings

        start = time.perf_counter()
        from cnnbench.execution.backends import load_backend

        self._backend = load_backend(backend)
        import_s = time.perf_counter() - start
        from cnnbench.measurement.environment import package_versions

        self._backend.configure(ProcessSettings(threads=threads, device=device))
        capabilities = self._backend.capabilities()
        return {
            "import_s": import_s,
            "describe": self._backend.describe(),
            "versions": package_versions(),
            "modes": list(capabilities.modes),
            "precisions": {mode: list(names) for mode, names in capabilities.precisions.items()},
            "devices": list(capabilities.devices),
            "kinds": sorted(capabilities.kinds),
            "gaps": [gap.to_json() for gap in capabilities.gaps],
        }

    def prepare(
        self,
        *,
        tell: Tell,
        cell: str,
        graph: Plain,
        options: Plain,
        arrays: str,
        batch: str,
        sampling: Plain,
        output: str | None = None,
    ) -> Plain:
        """Makes a cell's program and calls it once: seconds of each phase; its outputs go to the file ``output``."""
        from cnnbench.execution.compiled import ForwardProgram
        from cnnbench.measurement.sampling import SampleSettings, TimedCall
        from cnnbench.spec.weights import split_state

        backend = self._loaded
        built = graph_from_json(graph)
        phases: Plain = {}
        with _phase(phases, "build_s"):
            program = backend.compile_forward(built, options_from_json(options))
        host = split_state(built, _in_memory(arrays))
        with _phase(phases, "weights_s"):
            program.load(*host)
            backend.synchronize()
        del host
        operands = program.upload(_in_memory(batch))
        backend.synchronize()
        with _phase(phases, "compile_s"):
            program.prepare(operands)
        if type(program).prepare is ForwardProgram.prepare:
            phases["compile_s"] = None  # it compiles in its first call
        with _phase(phases, "first_call_s"):
            result = program.run(operands)
            backend.synchronize(result)
        if output is not None:
            write_arrays(Path(output), program.download(result).outputs)
        timed = TimedCall(lambda: program.run(operands), backend.synchronize, program.download)
        self._cells[cell] = _Prepared(program, timed, SampleSettings(**sampling))
        return {"phases": phases}

    def warm_up(self, *, tell: Tell, cell: str) -> Plain:
        """Calls a prepared program until it is steady."""
        from cnnbench.measurement.observation import wait_until_idle
        from cnnbench.measurement.sampling import warm_up

        prepared = self._cells[cell]
        result = warm_up(prepared.timed, prepared.settings)
        prepared.calls_per_sample = result.calls_per_sample
        wait_until_idle()
        return asdict(result)

    def check_synchronization(self, *, tell: Tell, cell: str, call_s: float) -> Plain:
        """Proves that the time of a call is the time of its work."""
        from cnnbench.measurement.observation import wait_until_idle
        from cnnbench.measurement.sampling import check_synchronization

        result = check_synchronization(self._cells[cell].timed, call_s)
        wait_until_idle()
        return asdict(result)

    def sample(self, *, tell: Tell, cell: str) -> Plain:
        """One round: seconds of one call for each sample, and what the machine did meanwhile."""
        from cnnbench.measurement.observation import observe, wait_until_idle
        from cnnbench.measurement.sampling import measure_round

        prepared = self._cells[cell]
        end = observe()
        samples = measure_round(prepared.timed, prepared.settings, prepared.calls_per_sample)
        observed = end()
        return {
            "samples_s": samples,
            "calls_per_sample": prepared.calls_per_sample,
            "observed": asdict(observed),
            "idle_after_s": wait_until_idle(),
        }

    def begin_turns(self, *, tell: Tell, cell: str) -> Plain:
        """Begins a round whose samples alternate with those of another process."""
        from cnnbench.measurement.turns import Turns

        if self._turns is not None:  # another cell's round that was broken off
            self._turns.end()
        prepared = self._cells[cell]
        self._turns = Turns(prepared.timed, prepared.calls_per_sample)
        return {}

    def turn(self, *, tell: Tell, cell: str, samples: int) -> Plain:
        """The next samples of such a round."""
        assert self._turns is not None, "no round was begun"
        return asdict(self._turns.take(samples))

    def end_turns(self, *, tell: Tell, cell: str) -> Plain:
        """Ends such a round: what the machine did meanwhile, and the processor time of this process in all."""
        assert self._turns is not None, "no round was begun"
        observed, used_s = self._turns.end()
        self._turns = None
        return {"observed": asdict(observed), "used_s": used_s}

    def null_memory(self, *, tell: Tell, precision: str, mode: str) -> Plain:
        """What is resident once a network of one ReLU has run: framework, runtime and threads, but no network."""
        from cnnbench.measurement import memory

        reason = memory.unavailable()
        if reason is not None:
            return {"unavailable": reason}
        self._run_null(precision, mode)
        memory.release_free_memory()
        memory.reset_peak()
        return {"null_bytes": memory.resident_bytes()}

    def _run_null(self, precision: str, mode: str) -> None:
        import numpy as np

        from cnnbench.execution.contract import ProgramOptions
        from cnnbench.execution.precision import precision as policy
        from cnnbench.spec.graph import Builder
        from cnnbench.spec.layers import ReLU

        builder = Builder("null")
        graph = builder.build(builder.add("relu", ReLU(), builder.input("image", (1, 1, 1))))
        backend = self._loaded
        program = backend.compile_forward(graph, ProgramOptions(mode=mode, precision=policy(precision)))
        program.load({}, {})
        operands = program.upload({"image": np.ones((1, 1, 1, 1), np.float32)})
        backend.synchronize(program.run(operands))

    def peak_memory(self, *, tell: Tell, cell: str, calls: int) -> Plain:
        """The peak while a prepared program is called warm; what compiling it left behind is handed back before."""
        from cnnbench.measurement import memory

        timed = self._cells[cell].timed
        timed.sample()
        memory.release_free_memory()
        self._loaded.reset_device_peak()
        memory.reset_peak()
        for _ in range(calls):
            timed.sample()
        return {"peak_bytes": memory.peak_bytes(), "device_peak_bytes": self._loaded.device_peak_bytes()}

    def yardsticks(self, *, tell: Tell) -> Plain:
        """What this machine can do at best."""
        from cnnbench.measurement.yardsticks import yardsticks

        return yardsticks()

    def release(self, *, tell: Tell, cell: str) -> Plain:
        """Forgets a prepared program."""
        import gc

        self._cells.pop(cell, None)
        gc.collect()
        return {}


class _phase:  # noqa: N801 - reads as a statement
    """Times its block into a dictionary."""

    def __init__(self, phases: Plain, name: str) -> None:
        self._phases, self._name = phases, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._phases[self._name] = time.perf_counter() - self._start


def _in_memory(path: str) -> dict[str, Any]:
    """The arrays of a file as a program's user would hold them: aligned, in memory of their own."""
    import numpy as np

    return {name: np.array(array) for name, array in read_arrays(Path(path)).items()}
