"""What a program gives once other weights are loaded, beside another program with these weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.answers import Disagreement
from cnnbench.numerics.case import Case
from cnnbench.numerics.comparison import largest
from cnnbench.numerics.forced_choices import ForcedChoices
from cnnbench.numerics.noise import perturbed_precision
from cnnbench.numerics.reference import reference
from cnnbench.numerics.session import distances
from cnnbench.numerics.subject import Subject

Arrays = Mapping[str, NDArray[Any]]


def outputs_of_another(subject: Subject, case: Case, arrays: Arrays, batch: Arrays) -> Arrays:
    """The outputs of another program with other weights.

    It is NumPy's, or the subject's own, compiled for these weights, in thorough checks and if the network chooses.

    Args:
        subject: That is examined.
        case: Of the program.
        arrays: The other weights.
        batch: The inputs.
    """
    if case.thorough or ForcedChoices(case).nodes:  # another's rounding may choose otherwise
        return subject.forward(case.graph, arrays, batch, replace(case.options, training=False)).outputs
    plain = ProgramOptions("fast", precision(perturbed_precision(case)))
    return reference().subject.forward(case.lowered, arrays, batch, plain).outputs


def unlike_another(
    found: Arrays, fresh: Arrays, usual: Mapping[str, float], admitted: Mapping[str, float]
) -> Disagreement | None:
    """Outputs that are not those of another program, such as where some arrays were not taken.

    Args:
        found: The outputs.
        fresh: Those of another program.
        usual: The largest value of each output with the case's own weights.
        admitted: How far each output may be off then.
    """
    if not all(np.isfinite(value).all() for value in fresh.values()):
        return None
    sizes = largest(fresh)
    for name, gap in distances(found, fresh).items():
        allowed = 2 * admitted[name] * max(1.0, sizes[name] / max(usual.get(name, 1.0), 2.0**-126))
        if not gap <= allowed:
            return Disagreement(gap / allowed, f"output {name} is {gap:.3g} from that of another program with them")
    return None
