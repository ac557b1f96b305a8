"""What a run's controls say: cells timed twice in the same rounds, of which the truth is known to be no change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from statistics import median

from cnnbench.gates.rules import Rules
from cnnbench.harness.run.record import Control
from cnnbench.measurement.noise import NoiseFloor, noise_floor


def floor_of(controls: Iterable[Control | None], rules: Rules) -> NoiseFloor | None:
    """The noise floor of a run's controls, and how many of them the suite's threshold would call changed."""
    known = [control for control in controls if control is not None]
    if not known:
        return None
    pairs = [
        (
            {(item.launch, item.round): [item.ratio] for item in control.rounds},
            {(item.launch, item.round): [1.0] for item in control.rounds},
        )
        for control in known
    ]
    latency = rules.gates.latency
    return noise_floor(pairs, threshold=latency.threshold if latency else 0.0, confidence=rules.gates.confidence)


def floor_sentence(floor: NoiseFloor, name: str) -> str:
    """The noise floor of a run's controls in one sentence."""
    rate = floor.false_alarm_rate
    bound = f"at most {rate.high:.0%} false alarms, {rate.confidence:.0%} confidence"
    return (
        f"controls of {name}: {floor.comparisons} programs timed twice stay within {floor.floor:.1%}, "
        f"{floor.false_alarms} of them would have been called changed ({bound}); "
        f"smallest detectable change {floor.smallest_detectable_change:.1%}"
    )


def launch_differences(control: Control) -> Iterator[float]:
    """log(control / cell) of each launch: two processes of one program, drift and shared rounds taken out."""
    launches: dict[int, list[float]] = {}
    for item in control.rounds:
        launches.setdefault(item.launch, []).append(math.log(item.ratio))
    for values in launches.values():
        yield median(values)
