"""A cache too small for the answers of one network: each is made again where it has gone, and none is missing."""

from __future__ import annotations

from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import CHECKS, run_checks
from cnnbench.numerics.faults.grammar.networks import network_case
from cnnbench.numerics.subject import InProcessSubject


def outcomes(monkeypatch, folder, limit):
    monkeypatch.setenv("CNNBENCH_CACHE", str(folder))
    monkeypatch.setenv("CNNBENCH_CACHE_BYTES", limit)
    case = network_case("residual", ProgramOptions("reference", precision("float32")), 3, 2)
    found = run_checks(list(CHECKS), InProcessSubject(loaded_backend("numpy")), case)
    return [(item.name, item.status, item.budget_used, item.message, len(item.nodes)) for item in found]


def test_checks_compare_the_same_where_answers_are_removed_meanwhile(monkeypatch, tmp_path):
    ample = outcomes(monkeypatch, tmp_path / "ample", "1000000000")
    assert outcomes(monkeypatch, tmp_path / "small", "1") == ample
