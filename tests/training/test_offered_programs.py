"""Training programs by name: plugins offer them, they travel as data, and each says which network it is for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cnnbench import registry
from cnnbench.errors import SpecError
from cnnbench.hookspecs import hookimpl
from cnnbench.registry import build
from cnnbench.training.programs.offered import offered_program, training_programs
from cnnbench.training.programs.serialization import program_digest, program_from_json, program_to_json
from cnnbench.training.programs.sources import Normal

NAMES = ["adversarial_autoencoder_tiny", "conv_vae", "cyclegan_tiny", "dcgan_tiny", "ddpm_tiny"]


def test_the_core_offers_its_programs():
    assert list(training_programs()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_the_same_after_its_way_through_a_file(name):
    right = offered_program(name).build()
    found = program_from_json(json.loads(json.dumps(program_to_json(right))))
    assert program_digest(found) == program_digest(right)
    assert [phase.graph.digest for phase in found.phases] == [phase.graph.digest for phase in right.phases]
    assert [replace(phase, graph=None) for phase in found.phases] == [
        replace(phase, graph=None) for phase in right.phases
    ]
    assert found.sources == right.sources
    assert (found.average, found.spread) == (right.average, right.spread)


CHANGES = {
    "a rate": lambda p: replace(p, phases=(replace(p.phases[0], rate=0.5), *p.phases[1:])),
    "an optimiser": lambda p: replace(
        p, phases=(replace(p.phases[0], optimizer=replace(p.phases[0].optimizer, beta1=0.6)), *p.phases[1:])
    ),
    "what is trained": lambda p: replace(
        p, phases=(replace(p.phases[0], trained=("discriminator.conv1",)), *p.phases[1:])
    ),
    "the order of phases": lambda p: replace(p, phases=p.phases[::-1]),
    "a source": lambda p: replace(p, sources={**p.sources, "latent": Normal(fresh=False)}),
    "an average": lambda p: replace(p, average=0.5),
    "how pictures are made": lambda p: replace(p, sampling=replace(p.sampling, values=(0.0, 1.0))),
    "initial weights": lambda p: replace(p, spread=0.03),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_program_has_another_digest(what):
    right = offered_program("dcgan_tiny").build()
    assert program_digest(CHANGES[what](right)) != program_digest(right)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_trains_the_network_that_it_is_for(name):
    found = offered_program(name)
    assert found.require(build(found.architecture)).name == name


def test_a_program_refuses_another_network():
    with pytest.raises(SpecError, match=r"does not train this network(.|\n)*conv1.weight"):
        offered_program("dcgan_tiny").require(build("dcgan_generator"))


def test_kernels_start_with_the_spread_of_the_paper_and_nothing_else_does():
    arrays = offered_program("dcgan_tiny").build().initial(3)
    kernels = {name: array for name, array in arrays.items() if ".conv" in name}
    assert len(kernels) == 6
    for name, array in kernels.items():
        assert np.std(array) == pytest.approx(0.02, rel=0.12), name
        assert abs(np.mean(array)) < 0.002, name
    assert all((array == 1).all() for name, array in arrays.items() if ".bn" in name and name.endswith("weight"))


def test_a_program_of_another_kind_is_left_out_and_named():
    class Plugin:
        @hookimpl
        def cnnbench_training_programs(self):
            return ["dcgan"]

    registry.plugin_manager().register(Plugin(), "odd")
    try:
        assert list(training_programs()) == NAMES
        assert "'dcgan' is no ProgramPlugin" in registry.broken_plugins()["odd"]
    finally:
        registry.forget_plugins()
