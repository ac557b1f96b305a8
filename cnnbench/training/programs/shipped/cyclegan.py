"""CycleGAN as a training program: two generators, then two discriminators."""

from __future__ import annotations

from cnnbench.spec.composites.adversarial_loss import LeastSquaresGAN
from cnnbench.spec.composites.element_loss import L1Loss
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Shape
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.optimizers import Optimizer
from cnnbench.training.programs.program import Phase, TrainingProgram
from cnnbench.training.programs.sampling import Sampling
from cnnbench.training.programs.shipped.adversarial import ADAM, SPREAD, network
from cnnbench.training.programs.sources import FromData

CYCLE, IDENTITY = 10.0, 5.0  # identity has half of the cycle's weight


def cyclegan(image: Shape | None = None, optimizer: Optimizer = ADAM) -> TrainingProgram:
    """Two phases: both generators (adversarial, cycle and identity losses), then both discriminators.

    The discriminators judge translations made by the generators as the first phase left them. Images of the two domains
    come in orders of their own, so that there are no pairs; their values lie from -1 to 1, as a generator's. There is
    no pool of earlier translations.

    Args:
        image: (C, H, W) of both domains; None for the networks' own.
        optimizer: Of both phases.

    Source: arXiv:1703.10593, equations 1 to 3, section 5.2 for the identity loss; least squares as in section 4.
    """
    generator, patches = network("cyclegan_generator_tiny", image), network("patchgan_tiny", image)
    return TrainingProgram(
        "cyclegan_tiny",
        {"to_b": generator, "to_a": generator, "judge_a": patches, "judge_b": patches},
        (
            Phase("generators", _generators(generator, patches), ("to_b", "to_a"), optimizer),
            Phase("discriminators", _discriminators(generator, patches), ("judge_a", "judge_b"), optimizer),
        ),
        {name: FromData(dataset=name) for name in ("a", "b")},
        spread=SPREAD,
        sampling=Sampling("translation", "to_b", generator, source="a"),
    )


def _images(b: Builder, generator: Graph) -> dict[str, Value]:
    return {name: b.input(name, generator.inputs[0].shape) for name in ("a", "b")}


def _generators(generator: Graph, patches: Graph) -> Graph:
    b = Builder("cyclegan generators")
    images = _images(b, generator)
    terms = []
    for own, other in (("a", "b"), ("b", "a")):
        fake = b.embed(f"to_{other}", generator, {"image": images[own]})["image"]
        judged = b.embed(f"judge_{other}", patches, {"image": fake})["logits"]
        terms.append(b.add(f"loss.fooled_{other}", LeastSquaresGAN(label=1.0, scale=1.0), judged))
        images[f"fake_{other}"] = fake
    for own, other in (("a", "b"), ("b", "a")):
        given = {"image": images[f"fake_{other}"]}
        back = b.embed(f"back_{own}", generator, given, weights_of=f"to_{own}")["image"]
        cycle = b.add(f"loss.cycle_{own}", L1Loss(), back, images[own])
        terms.append(b.add(f"loss.weighted_cycle_{own}", Affine(scale=CYCLE), cycle))
        same = b.embed(f"same_{own}", generator, {"image": images[own]}, weights_of=f"to_{own}")["image"]
        identity = b.add(f"loss.identity_{own}", L1Loss(), same, images[own])
        terms.append(b.add(f"loss.weighted_identity_{own}", Affine(scale=IDENTITY), identity))
    return b.build({"loss": _total(b, terms)})


def _discriminators(generator: Graph, patches: Graph) -> Graph:
    b = Builder("cyclegan discriminators")
    images = _images(b, generator)
    terms = []
    for own, other in (("a", "b"), ("b", "a")):
        fake = b.embed(f"to_{other}", generator, {"image": images[own]})["image"]
        real = b.embed(f"judge_{other}", patches, {"image": images[other]})["logits"]
        of_fake = b.embed(f"of_fakes_{other}", patches, {"image": fake}, weights_of=f"judge_{other}")["logits"]
        for name, logits, label in (("real", real, 1.0), ("fake", of_fake, 0.0)):
            terms.append(b.add(f"loss.{name}_{other}", LeastSquaresGAN(label=label, scale=0.5), logits))
    return b.build({"loss": _total(b, terms)})


def _total(b: Builder, terms: list[Value]) -> Value:
    total = terms[0]
    for i, term in enumerate(terms[1:], 1):
        total = b.add(f"loss.sum{i}", Add(), total, term)
    return total
