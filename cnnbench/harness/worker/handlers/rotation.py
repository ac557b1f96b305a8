"""The calls of a timed program: on one input after another, and what they gave is kept for the parent to judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from cnnbench.measurement.clock import MACHINE, Clock

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnbench.numerics.session import ProgramSession

READ_EACH_BYTES = 2**20  # of outputs: larger ones are read at the end of a round only
READ_EVERY = 8  # samples, on inputs whose output is known: the last sample is read in any case
FIRST = "first"


class Rotation:
    """Goes round over the operands that it was fed, and reads results between samples, when no clock runs.

    Example: fed the inputs 0, 1 and 2, the calls are on 0, 1, 2, 0, 1, and so on. The first output of each input is
    kept; a later one of the same input must be the same bits, or the reply says how far apart they are.

    Args:
        session: The program, its weights loaded, and its first operands uploaded as ``FIRST``.
        stock: Images by input name, of which batches are made.
        clock: By which processor time is measured.

    Attributes:
        calls: Of all samples since they were collected.
        used_s: Processor time of a call, for each sample.
        again: For each sample whether its calls were on inputs that had been called before.
    """

    def __init__(
        self, session: ProgramSession, stock: Mapping[str, NDArray[Any]] | None = None, clock: Clock = MACHINE
    ) -> None:
        self.session, self._clock = session, clock
        self._program_run = session.program.run
        self._stock = stock or {}
        self._fed = 0
        self._unread: tuple[int, Any] | None = None
        self._choose([FIRST])
        self._forget()

    def feed(self, rows: Sequence[Sequence[int]]) -> int:
        """Uploads batches of these images of the stock, and goes round over them from now on; how many there are."""
        import numpy as np

        names = [f"timed {i}" for i in range(len(rows))]
        for name, chosen in zip(names, rows, strict=True):
            order = np.asarray(chosen)
            batched = {key: array[order] for key, array in self._stock.items()}
            self.session.upload(name, {**self.session.shared, **batched})
        for i in range(len(rows), self._fed):
            self.session.forget(f"timed {i}")
        self._fed = len(rows)
        self._choose(names)
        self._forget()
        return len(rows)

    def run(self) -> Any:
        """The next call."""
        self._index, operands = next(self._operands)
        return self._program_run(operands)

    def begun(self) -> None:
        """A sample begins."""
        self._processor_s = self._clock.processor()

    def seen(self, result: Any, seconds: float, calls: int) -> None:
        """Takes a sample.

        Args:
            result: Of its last call.
            seconds: Of all its calls.
            calls: Of it.
        """
        self.used_s.append((self._clock.processor() - self._processor_s) / calls)
        self.again.append(self.calls >= self._count)
        self.calls += calls
        self._unread = (self._index, result)
        if self._reads_each and (self._index not in self._first or len(self.again) % READ_EVERY == 0):
            self._read_last()

    def collect(self) -> tuple[dict[int, Mapping[str, Any]], dict[str, float], int]:
        """First outputs by input, the largest distance from them by output, and how many results were read.

        What was kept is forgotten.
        """
        self._read_last()
        found = (self._first, self._deviation, self._num_read)
        self._forget()
        return found

    def _read_last(self) -> None:
        from cnnbench.numerics.session import digest_of, distances

        if self._unread is None:
            return
        index, result = self._unread
        self._unread = None
        outputs = self.session.download(result).outputs
        self._num_read += 1
        self._reads_each = sum(array.nbytes for array in outputs.values()) <= READ_EACH_BYTES
        digest = digest_of(outputs)
        if index not in self._first:
            self._first[index], self._digests[index] = outputs, digest
        elif digest != self._digests[index]:
            for name, gap in distances(outputs, self._first[index]).items():
                self._deviation[name] = max(self._deviation.get(name, 0.0), gap)

    def _choose(self, names: Sequence[str]) -> None:
        self._count = len(names)
        self._operands = cycle([(i, self.session.operands(name)) for i, name in enumerate(names)])
        self._index = 0

    def _forget(self) -> None:
        self.calls = 0
        self.again: list[bool] = []
        self.used_s: list[float] = []
        self._processor_s = 0.0
        self._first: dict[int, Mapping[str, Any]] = {}
        self._digests: dict[int, str] = {}
        self._deviation: dict[str, float] = {}
        self._num_read = 0
        self._unread = None
        self._reads_each = True


def feeder(rotation: Rotation, lots: Sequence[Sequence[Sequence[int]]]) -> Callable[[], int]:
    """Feeds one lot of inputs after another; gives 0 where there are no more."""
    left = iter(lots)

    def feed() -> int:
        lot = next(left, None)
        return 0 if lot is None else rotation.feed(lot)

    return feed
