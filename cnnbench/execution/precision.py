"""Precision policies: what is stored, what sums accumulate in, the unit roundoff of each, and admitted algorithms."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cnnbench.errors import SuiteError, did_you_mean


@dataclass(frozen=True, slots=True)
class PrecisionPolicy:
    """A declared arithmetic.

    Args:
        name: What suites and ``--precision`` call it.
        storage: The dtype of weights and activations.
        storage_roundoff: Unit roundoff u of a stored value (half the gap above 1): 2^-24 for float32.
        product_roundoff: Unit roundoff to which a product's operands are rounded before they are multiplied.
        accumulator_roundoff: Unit roundoff of the accumulator of a sum of products.
        winograd: Whether convolutions may run at inference as ``execution.winograd`` declares, which errs more than
            the direct sum.
    """

    name: str
    storage: str
    storage_roundoff: float
    product_roundoff: float
    accumulator_roundoff: float
    winograd: bool = False

    @property
    def direct(self) -> PrecisionPolicy:
        """The registered policy that is the same but for Winograd, which it does not admit; itself where it is that."""
        return next(p for p in PRECISIONS.values() if p == replace(self, name=p.name, winograd=False))


PRECISIONS = {
    policy.name: policy
    for policy in (
        PrecisionPolicy("float64", "float64", 2.0**-53, 2.0**-53, 2.0**-53),
        PrecisionPolicy("float32", "float32", 2.0**-24, 2.0**-24, 2.0**-24),
        PrecisionPolicy("float32-winograd", "float32", 2.0**-24, 2.0**-24, 2.0**-24, winograd=True),
        PrecisionPolicy("tf32", "float32", 2.0**-24, 2.0**-11, 2.0**-24),
        PrecisionPolicy("bfloat16", "bfloat16", 2.0**-8, 2.0**-8, 2.0**-24),
        PrecisionPolicy("float16", "float16", 2.0**-11, 2.0**-11, 2.0**-24),
    )
}


def precision(name: str) -> PrecisionPolicy:
    """The policy of that name; raises SuiteError with the nearest name where there is none."""
    try:
        return PRECISIONS[name]
    except KeyError:
        raise SuiteError(f"unknown precision {name!r}", remedy=did_you_mean(name, PRECISIONS)) from None
