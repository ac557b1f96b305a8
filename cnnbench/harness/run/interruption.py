"""Interruptions: Ctrl-C, a job that is cancelled (SIGTERM) and a terminal that is closed (SIGHUP) end a run alike."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Iterator

from cnnbench.measurement.clock import MACHINE, Clock

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is not known everywhere
DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
GRACE_S = 3.0  # after a signal: a second one that follows at once must not cut short what the first one ends


class _Handler:
    """Raises KeyboardInterrupt, but not again within ``GRACE_S``. Args: clock: by which seconds pass."""

    def __init__(self, clock: Clock = MACHINE) -> None:
        self._now = clock.now
        self._last_s = -math.inf

    def __call__(self, number: int, frame: object) -> None:
        now_s = self._now()
        if now_s - self._last_s < GRACE_S:
            return
        self._last_s = now_s
        raise KeyboardInterrupt


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within it each of these signals raises KeyboardInterrupt, so that records are written and scratch files removed.

    A signal that is ignored (``nohup``), or that somebody else handles, is left to them; so are all outside of the main
    thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Handler()
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    ours = {n: before for n in numbers if (before := signal.getsignal(n)) in DEFAULTS}
    try:
        for number in ours:
            signal.signal(number, handler)
        yield
    finally:
        for number, before in ours.items():
            signal.signal(number, before)
