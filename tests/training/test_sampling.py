"""Pictures of trained networks: from latent vectors, and from noise step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cnnbench.errors import SpecError
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.harness.passes.program_pictures import translation_scores
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.weights import split_state
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.decoders.generation import Diffusion, latents
from cnnbench.training.programs.offered import offered_program
from cnnbench.training.programs.sampling import Sampling, sampling_from_json, sampling_to_json


def loaded(sampling: Sampling, arrays=None):
    options = ProgramOptions("reference", precision("float64"))
    program = load_backend("numpy").compile_forward(sampling.graph, options)
    program.load(*split_state(sampling.graph, arrays or {}))
    return program


def scaled(scale: float, inputs: dict[str, tuple[int, ...]]):
    """A network that multiplies its first input."""
    b = Builder("scaled")
    first, *_ = [b.input(name, shape) for name, shape in inputs.items()]
    return b.build({"out": b.add("scale", Affine(scale=scale), first)})


def out_of(graph):
    """The graph, whose output is a picture."""
    return replace(graph, outputs=(("image", graph.outputs[0][1]),))


def test_a_latent_vector_becomes_a_picture_within_its_values():
    sampling = Sampling("latents", "maker", scaled(0.5, {"z": (1, 2, 2)}))
    found = sampling.pictures(loaded(sampling), 60, 7)
    assert found == pytest.approx(np.clip(0.5 * latents(60, (1, 2, 2), 7), -1, 1))
    assert (np.abs(found) == 1).any()


@pytest.mark.parametrize("way", ["latents", "diffusion"])
def test_the_first_pictures_are_the_same_however_many_there_are(way):
    inputs = {"z": (1, 2, 2)} if way == "latents" else {"image": (1, 2, 2), "time": ()}
    sampling = Sampling(way, "maker", scaled(0.5, inputs), (-9.0, 9.0), steps=5)
    few, many = (sampling.pictures(loaded(sampling), count, 7) for count in (3, 55))
    assert np.array_equal(few, many[:3])


def test_a_translation_is_made_of_each_given_image():
    sampling = Sampling("translation", "to_b", scaled(0.5, {"image": (1, 2, 2)}), source="a")
    given = np.random.default_rng(0).normal(size=(7, 1, 2, 2)).astype(np.float32)
    assert sampling.pictures(loaded(sampling), 5, 3, given) == pytest.approx(np.clip(0.5 * given[:5], -1, 1))
    assert sampling_from_json(sampling_to_json(sampling)).source == "a"
    for way, source in (("translation", ""), ("latents", "a")):
        with pytest.raises(SpecError, match="has a source"):
            Sampling(way, "to_b", sampling.graph, source=source)


def test_a_translation_is_held_against_the_counterparts_and_not_against_the_image():
    sampling = Sampling("translation", "to_b", out_of(scaled(0.5, {"image": (3, 8, 8)})), source="a")
    images = load_dataset("digits_a", DataRequest("test", (3, 8, 8)))
    right = images.truth["counterparts"]
    found = {score.metric: score.value for score in translation_scores(sampling, images, right[:9])}
    assert found["reconstruction_error"] == 0
    wrong = {score.metric: score.value for score in translation_scores(sampling, images, images.images[:9])}
    assert wrong["reconstruction_error"] == pytest.approx(np.mean((images.images[:9] - right[:9]) ** 2), rel=1e-5)
    unknown = replace(images, truth={})
    assert translation_scores(sampling, unknown, right[:9]) == ()


def test_noise_is_taken_out_step_by_step():
    """Where the network takes all of its input for noise, each step divides by sqrt(a), as the sampler has it."""
    sampling = Sampling("diffusion", "denoiser", scaled(1.0, {"image": (1, 2, 2), "time": ()}), (-1e9, 1e9), steps=4)
    right = Diffusion().sample_fast(lambda x, times: x, (5, 1, 2, 2), 3, 4)
    assert sampling.pictures(loaded(sampling), 5, 3) == pytest.approx(right, rel=1e-5)


def test_arrays_are_those_of_the_network_in_the_program():
    program = offered_program("adversarial_autoencoder_tiny").build()
    assert program.sampling is not None
    held = program.initial(3)
    found = program.sampling.arrays(held)
    assert found
    assert all(np.array_equal(array, held[f"autoencoder.{name}"]) for name, array in found.items())
    made = program.sampling.pictures(loaded(program.sampling, found), 2, 0)
    assert made.shape == (2, 1, 28, 28)


def test_it_is_the_same_after_its_way_through_plain_data():
    right = Sampling("diffusion", "d", scaled(0.5, {"image": (1, 2, 2), "time": ()}), (0.0, 1.0), 7)
    found = sampling_from_json(sampling_to_json(right))
    assert sampling_to_json(found) == sampling_to_json(right)
    assert found.graph.digest == right.graph.digest


def test_what_cannot_be_is_refused():
    graph = scaled(1.0, {"z": (1, 2, 2)})
    with pytest.raises(SpecError, match="way is not valid"):
        Sampling("magic", "m", graph)
    with pytest.raises(SpecError, match="values are not valid"):
        Sampling("latents", "m", graph, (1.0, 1.0))
