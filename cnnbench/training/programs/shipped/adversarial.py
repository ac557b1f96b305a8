"""Training programs with one adversary: DCGAN, and the adversarial autoencoder."""

from __future__ import annotations

from cnnbench.registry import architecture
from cnnbench.spec.composites.adversarial_loss import NonSaturatingGAN
from cnnbench.spec.composites.element_loss import MSELoss
from cnnbench.spec.graph import Builder, Graph, Value
from cnnbench.spec.layers import Add, Shape
from cnnbench.spec.optimizers import Adam, Optimizer
from cnnbench.training.programs.program import Phase, TrainingProgram
from cnnbench.training.programs.sampling import Sampling
from cnnbench.training.programs.sources import FromData, Normal

ADAM = Adam(beta1=0.5)  # of DCGAN, section 4, and CycleGAN, section 4
SPREAD = 0.02  # the same sections


def network(name: str, image: Shape | None = None) -> Graph:
    """A registered network.

    Args:
        name: Of the architecture.
        image: Its input's shape; None for its own.
    """
    found = architecture(name)
    return found.build(image or found.facts.input, found.num_classes)


def judged(b: Builder, name: str, logits: Value, *, real: bool) -> Value:
    """The non-saturating loss of logits that should judge so.

    Args:
        b: Where it goes.
        name: Of its node.
        logits: The discriminator's.
        real: Whether they should say real.
    """
    return b.add(name, NonSaturatingGAN(label=1.0 if real else 0.0), logits)


def dcgan(image: Shape | None = None, optimizer: Optimizer = ADAM) -> TrainingProgram:
    """Two phases: the discriminator on images and fakes, each a batch of its own; then the generator.

    Both have fresh latent vectors. The generator's graph is not differentiated in the discriminator's phase.

    Args:
        image: The shape of a latent vector; None for the network's own.
        optimizer: Of both phases.

    Source: arXiv:1406.2661, algorithm 1 with one step k = 1, and the non-saturating loss of section 3; Adam with
    beta1 = 0.5 and kernels from N(0, 0.02) as in arXiv:1511.06434, section 4. Its scales of batch norms start at 1.
    """
    generator, discriminator = network("dcgan_generator_tiny", image), network("dcgan_discriminator_tiny")

    def fakes(b: Builder) -> Value:
        latent = b.input("latent", generator.inputs[0].shape)
        return b.embed("generator", generator, {"latent": latent})["image"]

    b = Builder("dcgan discriminator")
    given = b.input("image", discriminator.inputs[0].shape)
    real = b.embed("discriminator", discriminator, {"image": given})["logits"]
    fake = b.embed("of_fakes", discriminator, {"image": fakes(b)}, weights_of="discriminator")["logits"]
    terms = judged(b, "loss_real", real, real=True), judged(b, "loss_fake", fake, real=False)
    first = b.build({"loss": b.add("loss", Add(), *terms), "real": terms[0], "fake": terms[1]})
    b = Builder("dcgan generator")
    fooled = b.embed("discriminator", discriminator, {"image": fakes(b)})["logits"]
    second = b.build({"loss": judged(b, "loss", fooled, real=True)})
    return TrainingProgram(
        "dcgan_tiny",
        {"generator": generator, "discriminator": discriminator},
        (
            Phase("discriminator", first, ("discriminator",), optimizer),
            Phase("generator", second, ("generator",), optimizer),
        ),
        {"image": FromData(scaled_to=(-1.0, 1.0)), "latent": Normal()},
        spread=SPREAD,
        sampling=Sampling("latents", "generator", generator),
    )


def adversarial_autoencoder(image: Shape | None = None, optimizer: Optimizer = ADAM) -> TrainingProgram:
    """Three phases: reconstruction (encoder and decoder), the discriminator of codes, the encoder as generator.

    Args:
        image: (C, H, W); None for the network's own.
        optimizer: Of all phases.

    Source: arXiv:1511.05644, section 2: two phases, the second of them with an update of each side.
    """
    name = "adversarial_autoencoder_tiny"
    whole, encoder = network(name, image), network(f"{name}_encoder", image)
    critic, decoder = network(f"{name}_discriminator"), network(f"{name}_decoder")
    shape = whole.inputs[0].shape

    b = Builder("adversarial_autoencoder reconstruction")
    given = b.input("image", shape)
    given_back = b.embed("autoencoder", whole, {"image": given})["image"]
    first = b.build({"loss": b.add("loss", MSELoss(), given_back, given)})
    b = Builder("adversarial_autoencoder discriminator")
    code = b.embed("autoencoder", encoder, {"image": b.input("image", shape)})["latent"]
    prior = b.input("prior", critic.inputs[0].shape)
    real = b.embed("critic", critic, {"latent": prior})["logits"]
    fake = b.embed("of_codes", critic, {"latent": code}, weights_of="critic")["logits"]
    terms = judged(b, "loss_real", real, real=True), judged(b, "loss_fake", fake, real=False)
    second = b.build({"loss": b.add("loss", Add(), *terms)})
    b = Builder("adversarial_autoencoder generator")
    code = b.embed("autoencoder", encoder, {"image": b.input("image", shape)})["latent"]
    fooled = b.embed("critic", critic, {"latent": code})["logits"]
    third = b.build({"loss": judged(b, "loss", fooled, real=True)})
    return TrainingProgram(
        name,
        {"autoencoder": whole, "critic": critic},
        (
            Phase("reconstruction", first, ("autoencoder",), optimizer),
            Phase("discriminator", second, ("critic",), optimizer),
            Phase("generator", third, ("autoencoder.encoder",), optimizer),
        ),
        {"image": FromData(scaled_to=(0.0, 1.0)), "prior": Normal()},
        sampling=Sampling("latents", "autoencoder", decoder, (0.0, 1.0)),
    )
