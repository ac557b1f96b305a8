"""The determinism check: the same program twice, bit for bit or how far apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cnnbench.numerics.comparison import largest
from cnnbench.numerics.envelope import forward_envelope
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import Outcome
from cnnbench.numerics.subject import Recalling, Subject

NAME = "determinism"


def check_determinism(subject: Subject, oracle: Oracle) -> Outcome:
    """Two runs of the timed program on the same operands.

    Different bits pass while the difference stays inside the end-to-end envelope: the outcome says how far apart.
    """
    case = oracle.case
    options = replace(case.options, training=False)
    program = (case.graph, case.stored, case.inputs, options)
    recalled = subject.latest(*program) if isinstance(subject, Recalling) else None
    first = (recalled or subject.forward(*program)).outputs
    second = subject.forward(*program).outputs
    same = all(name in second and _same_bits(first[name], second[name]) for name in first)
    details: dict[str, Any] = {"batch": case.size, "bitwise": same}
    if same:
        return Outcome(NAME, "passed", message="two runs agree bit for bit", details=details)
    if any(name not in second or first[name].shape != second[name].shape for name in first):
        details["problem"] = "wrong_shape"
        return Outcome(NAME, "failed", np.inf, message="two runs give outputs of other shapes", details=details)
    gap = largest({name: first[name].astype(np.float64) - second[name] for name in first})
    shares = forward_envelope(oracle)[1].used(gap)
    worst = max(shares, key=lambda name: shares[name])
    details |= {"largest_difference": gap[worst], "output": worst}
    text = f"two runs differ by up to {gap[worst]:.3g} in output {worst}, {shares[worst]:.3g} of the envelope"
    return Outcome(NAME, "passed" if shares[worst] <= 1 else "failed", shares[worst], message=text, details=details)


def _same_bits(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> bool:
    return first.shape == second.shape and first.dtype == second.dtype and first.tobytes() == second.tobytes()
