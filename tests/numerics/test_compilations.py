"""Checks compile little: one program answers on all operands of a layer that have the same shapes."""

from __future__ import annotations

import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.faults.grammar.networks import network_case
from cnnbench.numerics.subject import InProcessSubject

# By check: programs for layers side by side, forward and gradient, and for the whole network.
COMPILED = {"exact": 2 + 1}


def case_of(mode, network="residual"):
    return network_case(network, ProgramOptions(mode, precision("float32")), 3, 2)


@pytest.mark.jax
@pytest.mark.parametrize("check", COMPILED)
def test_jax_compiles_each_layer_once_in_a_check(check, monkeypatch):
    pytest.importorskip("jax", reason="needs jax")
    from cnnbench_jax.tracing import Compiled

    compiled = []
    prepare = Compiled.prepare

    def counted(self, operands, weights, *others):
        before = len(self.executables)
        executable = prepare(self, operands, weights, *others)
        compiled.extend([self] * (len(self.executables) - before))
        return executable

    monkeypatch.setattr(Compiled, "prepare", counted)
    (outcome,) = run_checks([check], InProcessSubject(loaded_backend("jax")), case_of("jit"))
    assert outcome.status == "passed", outcome.message
    assert len(compiled) == COMPILED[check]
