"""The training programs that come with cnnbench; each module is one family."""

from __future__ import annotations

from cnnbench.training.programs.offered import ProgramPlugin
from cnnbench.training.programs.shipped.adversarial import adversarial_autoencoder, dcgan
from cnnbench.training.programs.shipped.cyclegan import cyclegan
from cnnbench.training.programs.shipped.likelihood import ddpm, vae

SHIPPED = (
    ProgramPlugin(
        name="adversarial_autoencoder_tiny",
        description="reconstruction, and an adversary that holds the codes to a normal distribution",
        source="arXiv:1511.05644",
        architecture="adversarial_autoencoder_tiny",
        network="autoencoder",
        build=adversarial_autoencoder,
        learning_rate=1e-3,
    ),
    ProgramPlugin(
        name="conv_vae",
        description="the evidence lower bound of a variational autoencoder",
        source="arXiv:1312.6114",
        architecture="conv_vae",
        network="vae",
        build=vae,
        learning_rate=1e-3,
    ),
    ProgramPlugin(
        name="cyclegan_tiny",
        description="two generators that translate between two domains without pairs, and their two judges",
        source="arXiv:1703.10593",
        architecture="cyclegan_generator_tiny",
        network="to_b",
        build=cyclegan,
        data={"a": "digits_a", "b": "digits_b"},
    ),
    ProgramPlugin(
        name="dcgan_tiny",
        description="a generator of images from latent vectors, against a discriminator",
        source="arXiv:1511.06434",
        architecture="dcgan_generator_tiny",
        network="generator",
        build=dcgan,
    ),
    ProgramPlugin(
        name="ddpm_tiny",
        description="the noise in noisy images, with a moving average of the weights",
        source="arXiv:2006.11239",
        architecture="ddpm_unet_tiny",
        network="denoiser",
        build=ddpm,
        learning_rate=2e-3,
    ),
)
