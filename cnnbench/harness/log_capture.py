"""What a worker prints: read so that it never blocks, kept up to a limit."""

from __future__ import annotations

import os
import threading

from cnnbench.harness.plain_text import plain_text

KEPT_BYTES = 256 * 1024


class LogCapture:
    """Reads a pipe in a thread and keeps its last ``KEPT_BYTES``.

    Args:
        descriptor: The pipe's read end, which it closes at the end of the file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
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
        with self._lock:
            wanted = self._total - since
            kept = bytes(self._kept[-min(wanted, KEPT_BYTES) :]) if wanted else b""
        text = plain_text(kept.decode(errors="replace"))
        return text if len(kept) == wanted else f"[{wanted - len(kept)} bytes left out]\n{text}"

    def finish(self, timeout_s: float = 1.0) -> None:
        """Waits for the end of what a dead worker printed."""
        self._thread.join(timeout_s)
