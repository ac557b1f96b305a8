"""The determinism checks: the same program twice, forward or with gradients, bit for bit or how far apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import UnavailableError
from cnnbench.numerics.calibration import Envelope, with_loss
from cnnbench.numerics.comparison import largest
from cnnbench.numerics.envelope import forward_envelope, gradient_envelope
from cnnbench.numerics.memoizing import MemoizingSubject
from cnnbench.numerics.oracle import Oracle
from cnnbench.numerics.outcome import CheckOutcome
from cnnbench.numerics.subject import Subject

Arrays = Mapping[str, NDArray[Any]]


def check_determinism(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Two runs of the timed program on the same operands.

    Different bits pass while the difference stays inside the end-to-end envelope: the outcome says how far apart.
    """
    case = oracle.case
    options = replace(case.options, training=False)
    program = (case.graph, case.stored, case.inputs, options)
    recalled = subject.latest(*program) if isinstance(subject, MemoizingSubject) else None
    first = (recalled or subject.forward(*program)).outputs
    second = subject.forward(*program).outputs
    details = {"batch": case.size}
    return _compared("determinism", "output", first, second, details, lambda: forward_envelope(oracle)[1])


def check_gradient_determinism(subject: Subject, oracle: Oracle) -> CheckOutcome:
    """Two passes for the gradients of every trainable weight, on the same operands and with the same loss.

    A sum over threads or atomic additions may end in other bits each time, which an exact repetition of a training
    would notice. Different bits pass while the difference stays inside the envelope of the gradients. A large network
    is checked on smaller images, as its gradients are; ``details`` says which.

    Raises:
        UnavailableError: The network has no loss (no images, or no floating-point output), or no trainable weights.
    """
    small = Oracle(oracle.case.reduced.with_objective, oracle.cache)
    case = small.case
    if not case.has_loss:
        raise UnavailableError("no loss can be taken of this network's output, so that it has no gradients to compare")
    options = replace(case.options, training=True, fold_batch_norm=False)
    batch = case.training_batch()
    passes = [subject.gradient(case.graph, case.stored, batch, options, case.loss) for _ in range(2)]
    if not any(found.weights for found in passes):
        raise UnavailableError("this network has no trainable weights, so that it has no gradients to compare")
    details = {"batch": case.size, "image": [list(item.shape) for item in case.graph.inputs]}
    first, second = map(with_loss, passes)
    return _compared("gradient_determinism", "gradient", first, second, details, lambda: gradient_envelope(small)[1])


def _compared(
    name: str, what: str, first: Arrays, second: Arrays, details: dict[str, Any], envelope: Callable[[], Envelope]
) -> CheckOutcome:
    """Whether two runs agree; the envelope is asked for only where they do not bit for bit."""
    same = first.keys() == second.keys() and all(_same_bits(first[key], second[key]) for key in first)
    details["bitwise"] = same
    if same:
        return CheckOutcome(name=name, status="passed", message="two runs agree bit for bit", details=details)
    if any(key not in second or first[key].shape != second[key].shape for key in first):
        details["problem"] = "wrong_shape"
        text = f"two runs give other {what}s, or in other shapes"
        return CheckOutcome(name=name, status="failed", budget_used=np.inf, message=text, details=details)
    gap = largest({key: first[key].astype(np.float64) - second[key] for key in first})
    shares = envelope().used(gap)
    worst = max(shares, key=lambda key: shares[key])
    details |= {"largest_difference": gap[worst], "output": worst}
    return CheckOutcome(
        name=name,
        status="passed" if shares[worst] <= 1 else "failed",
        budget_used=shares[worst],
        message=f"two runs differ by up to {gap[worst]:.3g} in {what} {worst!r}, {shares[worst]:.3g} of the envelope",
        details=details,
    )


def _same_bits(first: NDArray[Any], second: NDArray[Any]) -> bool:
    return first.shape == second.shape and first.dtype == second.dtype and first.tobytes() == second.tobytes()
