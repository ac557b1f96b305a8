"""Losses of several outputs within the graph, held by the gradient and training checks on every backend."""

from __future__ import annotations

import pytest
from loaded_backends import loaded_backend

from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.numerics.case import Case
from cnnbench.numerics.checks import run_checks
from cnnbench.numerics.subject import InProcessSubject
from cnnbench.registry import build
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.losses import VAE, KeypointHeatmaps
from cnnbench.spec.weights import general_position
from cnnbench.training.steps import TrainingSteps

BACKENDS = [
    pytest.param("numpy", "fast", marks=pytest.mark.slow),
    pytest.param("torch", "eager", marks=[pytest.mark.torch, pytest.mark.slow]),
    pytest.param("jax", "jit", marks=[pytest.mark.jax, pytest.mark.slow]),
    pytest.param("tensorflow", "graph", marks=[pytest.mark.tensorflow, pytest.mark.slow]),
]


def case(graph, loss, mode):
    options = ProgramOptions(mode, precision("float32"))
    return Case(graph, general_position(graph, 0), draw_inputs(graph, 0, 2), options, training=TrainingSteps(loss=loss))


@pytest.mark.parametrize(("name", "mode"), BACKENDS)
def test_a_variational_autoencoder_passes_the_checks(name, mode):
    if name != "numpy":
        pytest.importorskip(name, reason=f"needs {name}")
    asked = case(build("conv_vae"), VAE(beta=2.0), mode)
    found = run_checks(("gradient", "training"), InProcessSubject(loaded_backend(name)), asked)
    assert {item.name: item.status for item in found} == {"gradient": "passed", "training": "passed"}


def test_targets_that_a_batch_does_not_hold_are_drawn_from_the_seed():
    asked = case(build("hrnet_pose_tiny"), KeypointHeatmaps(), "fast")
    trained = asked.with_objective
    assert {"targets", "visible"} <= set(trained.inputs)
    assert (trained.inputs["targets"] == asked.with_objective.inputs["targets"]).all()
    assert trained.graph.outputs[0][0] == "loss"
    assert trained.with_objective is trained
