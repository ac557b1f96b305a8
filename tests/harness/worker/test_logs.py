"""What a worker prints, read by a clock that stands still but for sleeping."""

import os

from cnnbench.harness.worker.logs import POLL_EVERY_S, QUIET_POLLS, LogCapture
from cnnbench.measurement.clock import ManualClock


def test_text_waits_by_its_clock_and_ends_with_the_pipe() -> None:
    time, (reading, writing) = ManualClock(), os.pipe()
    log = LogCapture(reading, time.clock)
    os.write(writing, b"before\n")
    log.text()
    assert time.slept >= QUIET_POLLS * POLL_EVERY_S
    os.write(writing, b"after\n")
    os.close(writing)
    log.finish(10.0)
    slept = time.slept
    assert log.text() == "before\nafter\n"
    assert time.slept == slept  # nothing comes from a pipe that has ended
