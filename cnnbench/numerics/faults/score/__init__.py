"""The mutation score: drawn faults put into a backend, what the checks make of each, and clean runs beside them."""

from cnnbench.numerics.faults.score.rows import MadeFrom, ScoreFile, made_from
from cnnbench.numerics.faults.score.running import (
    CleanRow,
    FaultRow,
    Scoring,
    clean_ids,
    examine_clean,
    examine_fault,
    fault_ids,
)
from cnnbench.numerics.faults.score.summary import FaultScore, Rate

__all__ = [
    "CleanRow",
    "FaultRow",
    "FaultScore",
    "MadeFrom",
    "Rate",
    "ScoreFile",
    "Scoring",
    "clean_ids",
    "examine_clean",
    "examine_fault",
    "fault_ids",
    "made_from",
]
