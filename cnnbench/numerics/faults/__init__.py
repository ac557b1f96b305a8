"""Real historical defects that can be injected into any backend, to prove that the checks find and locate them."""

from cnnbench.numerics.faults.engine.base import Fault
from cnnbench.numerics.faults.engine.injection import examined, faulty_backend, faulty_subject, inject
from cnnbench.numerics.faults.engine.kills import Kill, kill_table
from cnnbench.numerics.faults.engine.reach import require_reach
from cnnbench.numerics.faults.engine.registry import fault, faults

__all__ = [
    "Fault",
    "Kill",
    "examined",
    "fault",
    "faults",
    "faulty_backend",
    "faulty_subject",
    "inject",
    "kill_table",
    "require_reach",
]
