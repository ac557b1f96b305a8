"""What a worker prints: read so that it never blocks, kept up to a limit."""

from __future__ import annotations

import os
import select
import threading

from cnnbench.harness.worker.plain_text import plain_text
from cnnbench.measurement.clock import MACHINE, Clock

KEPT_BYTES = 256 * 1024
QUIET_POLLS = 2  # the reading thread may hold a block that it has not kept yet
POLL_EVERY_S = 0.005


class LogCapture:
    """Reads a pipe in a thread and keeps its last ``KEPT_BYTES``.

    Args:
        descriptor: The pipe's read end, which it closes at the end of the file.
        clock: By which it waits for what was printed.
    """

    def __init__(self, descriptor: int, clock: Clock = MACHINE) -> None:
        self._descriptor, self._clock = descriptor, clock
        self._kept = bytearray()
        self._total = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="worker log", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while block := os.read(self._descriptor, 65536):
                with self._lock:
                    self._total += len(block)
                    self._kept += block
                    if len(self._kept) > 2 * KEPT_BYTES:
                        del self._kept[:-KEPT_BYTES]
        except OSError:
            return
        finally:
            os.close(self._descriptor)

    def mark(self) -> int:
        """How much was printed so far: ``text`` from here on is what comes later."""
        with self._lock:
            return self._total

    def text(self, since: int = 0) -> str:
        """What was printed since a mark; a first line says how much is missing where it was too much."""
        self._catch_up()
        with self._lock:
            wanted = self._total - since
            kept = bytes(self._kept[-min(wanted, KEPT_BYTES) :]) if wanted else b""
        text = plain_text(kept.decode(errors="replace"))
        return text if len(kept) == wanted else f"[{wanted - len(kept)} bytes left out]\n{text}"

    def _catch_up(self, timeout_s: float = 0.5) -> None:
        """Waits until what was printed so far is read: the reply of a worker may overtake what it printed before."""
        end = self._clock.now() + timeout_s
        quiet = 0
        while quiet < QUIET_POLLS and self._thread.is_alive() and self._clock.now() < end:
            try:
                readable, _, _ = select.select([self._descriptor], [], [], 0)
            except (OSError, ValueError):  # the thread has just closed it
                return
            quiet = 0 if readable else quiet + 1
            self._clock.sleep(POLL_EVERY_S)

    def finish(self, timeout_s: float = 1.0) -> None:
        """Waits for the end of what a dead worker printed."""
        self._thread.join(timeout_s)
