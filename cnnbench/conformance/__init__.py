"""Is it a backend: shared cases that every backend author can run against the float64 reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnbench.conformance.cases import LayerCase, layer_cases
from cnnbench.conformance.run import CaseResult, run_cases

__all__ = ["CaseResult", "LayerCase", "conformance_tests", "layer_cases", "run_cases"]


def conformance_tests(
    backend: str,
    *,
    modes: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    kinds: Sequence[str] | None = None,
    onnx: bool = True,
    faults: bool = True,
) -> dict[str, Callable[..., None]]:
    """The whole test set for a backend, as pytest functions: ``globals().update(conformance_tests("mybackend"))``.

    Every shared case in every mode and precision (forward, exact on integers, gradients); programs that keep weights,
    state and slots, resume, take indices and no images, and whose nodes share weights; determinism; losses and update
    rules against the reference; each registered fault injected into this backend and caught at its node; ONNX's own
    cases where ``onnx`` is installed. A kind without an op and a declared gap are skips with their reason.

    Args:
        backend: Its name, found through its entry point or ``CNNBENCH_PLUGINS``.
        modes: Only these; all that the plugin names where None. Faults and ONNX's cases run in the first.
        precisions: Only these; all that the plugin names for a mode where None.
        kinds: Only the shared cases of these layer kinds.
        onnx: Whether ONNX's cases are among them.
        faults: Whether the injected faults are.

    Raises:
        UnavailableError: An unknown backend. One that is not installed here skips instead.
    """
    from cnnbench.conformance.kit import build

    return build(backend, modes=modes, precisions=precisions, kinds=kinds, onnx=onnx, with_faults=faults)
