"""Numbers as people read them: four significant digits at most, units that fit, a dash where there is nothing."""

from __future__ import annotations

import math

from cnnbench.harness.run.record import Interval

NOTHING = "–"
_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
MEBIBYTE = 2**20
_SIZES = ((2**40, "TiB"), (2**30, "GiB"), (MEBIBYTE, "MiB"), (2**10, "KiB"), (1, "B"))


def significant(value: float, digits: int = 3) -> str:
    """At least ``digits`` significant digits without an exponent where it can be helped: 1234, 12.3, 0.00123."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if not -5 < exponent < 9:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - exponent)
    text = f"{value:.{decimals}f}"
    return f"{float(text):,.{decimals}f}" if exponent >= 4 else text


def rounded(value: float, digits: int = 4) -> float:
    """The value at that many significant digits."""
    return float(f"{value:.{digits - 1}e}") if math.isfinite(value) and value else value


def seconds(value: float | None) -> str:
    """``12.3 ms``; ``0 s`` where the clock saw nothing."""
    if value is None:
        return NOTHING
    if value == 0:
        return "0 s"
    scale, unit = _time_unit(value)
    return f"{significant(value / scale)} {unit}"


def seconds_interval(interval: Interval | None) -> str:
    """``12.3 ms [12.1, 12.6]``, the bounds in the estimate's unit; no bounds where no interval could be had."""
    if interval is None:
        return NOTHING
    scale, unit = _time_unit(interval.value)
    value = f"{significant(interval.value / scale)} {unit}"
    if interval.confidence == 0:
        return value
    return f"{value} [{significant(interval.low / scale)}, {significant(interval.high / scale)}]"


def _time_unit(value: float) -> tuple[float, str]:
    return next(((scale, unit) for scale, unit in _TIMES if abs(value) >= scale), _TIMES[-1])


def size(value: float | None) -> str:
    """``123 MiB``."""
    if value is None:
        return NOTHING
    scale, unit = next(((scale, unit) for scale, unit in _SIZES if abs(value) >= scale), _SIZES[-1])
    return f"{significant(value / scale)} {unit}"


def percent(value: float | None) -> str:
    """A fraction as ``12.3 %``; very small ones as ``<0.1 %``."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return str(value)
    if 0 < abs(value) < 0.001:
        return "<0.1 %"
    return f"{value * 100:.0f} %" if abs(value) >= 1 else f"{value * 100:.1f} %"


def budget_used(value: float | None) -> str:
    """A share of an error budget: ``12.3 %``, from tenfold on ``3.2e6 times``."""
    if value is None or not math.isfinite(value) or abs(value) < 10:
        return percent(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{value:,.0f} times" if value < 1e4 else f"{mantissa}e{int(exponent)} times"


def plain(value: float | None) -> str:
    """A figure without a unit."""
    return NOTHING if value is None else significant(value)


def with_unit(value: float | None, unit: str = "") -> str:
    """``28.3 dB``; a share of 1 without a unit."""
    return plain(value) if value is None or not unit else f"{plain(value)} {unit}"


def moved(interval: Interval | None, unit: str = "") -> str:
    """``-0.0312 [-0.0391, -0.0233]`` of a difference in a unit of its own."""
    if interval is None:
        return NOTHING
    value, low, high = (f"{bound:+.3g}" for bound in (interval.value, interval.low, interval.high))
    return f"{value}{unit and ' ' + unit} [{low}, {high}]"


def change(interval: Interval | None, scale: str) -> str:
    """``+3.1 % [-0.2 %, +6.4 %]`` of a ratio, or percentage points of a difference."""
    if interval is None:
        return NOTHING
    offset, unit = (1, "%") if scale == "ratio" else (0, "pp")
    low, value, high = (
        f"{100 * (bound - offset):+.1f}".replace("-0.0", "+0.0")
        for bound in (interval.low, interval.value, interval.high)
    )
    return f"{value} {unit} [{low}, {high}]"
