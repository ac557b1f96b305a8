"""The driver's count of CUDA devices, with a stand-in for its library."""

from __future__ import annotations

import pytest

from cnnbench.measurement.accelerators import count_devices


class Driver:
    def __init__(self, started: int, count: int) -> None:
        self.started, self.count = started, count

    def cuInit(self, flags: int) -> int:
        return self.started

    def cuDeviceGetCount(self, reference) -> int:
        reference._obj.value = self.count
        return 0


@pytest.mark.parametrize(("started", "count", "expected"), [(0, 2, 2), (0, 0, 0), (100, 2, 0)])
def test_devices_are_those_that_an_initialised_driver_counts(started: int, count: int, expected: int) -> None:
    assert count_devices(lambda: Driver(started, count)) == expected


def test_a_machine_without_the_driver_has_none() -> None:
    def missing():
        raise OSError("libcuda.so.1: cannot open shared object file")

    assert count_devices(missing) == 0
