"""Training programs of one phase whose inputs are drawn: the variational autoencoder, and the diffusion model."""

from __future__ import annotations

import numpy as np

from cnnbench.spec.architectures.autoencoder import build_conv_vae_decoder
from cnnbench.spec.composites.element_loss import MSELoss
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import Add, Shape
from cnnbench.spec.layers.merge import Multiply
from cnnbench.spec.layers.shape import Unsqueeze
from cnnbench.spec.losses import VAE, objective_graph
from cnnbench.spec.optimizers import Adam, Optimizer
from cnnbench.training.decoders.generation import Diffusion
from cnnbench.training.programs.program import Phase, TrainingProgram
from cnnbench.training.programs.sampling import Sampling
from cnnbench.training.programs.shipped.adversarial import network
from cnnbench.training.programs.sources import FromData, Integers, Normal, TableAt

DIFFUSION = Diffusion()
AVERAGE = 0.995  # the paper's 0.9999 is for 800,000 steps; after a few thousand it would still hold the first weights
SPREAD = 0.03  # of kernels: with the layers' own draws the loss begins at 9 and not at 1, and falls late
ADAM = Adam()


def vae(image: Shape | None = None, optimizer: Optimizer = ADAM) -> TrainingProgram:
    """One phase: reconstruction and divergence, with the noise of the code as an input.

    Args:
        image: (C, H, W); None for the network's own.
        optimizer: Of the phase.
    """
    alone = network("conv_vae", image)
    ending = objective_graph(alone, VAE())
    b = Builder("conv_vae training")
    given = {item.name: b.input(item.name, item.shape) for item in ending.inputs}
    outputs = b.embed("vae", ending, given)
    graph = b.build({name: outputs[name] for name, _ in ending.outputs})
    sources = {"image": FromData(scaled_to=(0.0, 1.0)), "noise": Normal()}
    phase = Phase("bound", graph, ("vae",), optimizer)
    drawn = Sampling("latents", "vae", build_conv_vae_decoder(alone.inputs[0].shape), (0.0, 1.0))
    return TrainingProgram("conv_vae", {"vae": alone}, (phase,), sources, sampling=drawn)


def schedule() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """By time, the shares of image and noise: sqrt(a) and sqrt(1 - a), with the a of ``Diffusion``, which samples."""
    left = DIFFUSION.kept
    return tuple(np.sqrt(left).tolist()), tuple(np.sqrt(1 - left).tolist())


def ddpm(image: Shape | None = None, optimizer: Optimizer = ADAM) -> TrainingProgram:
    """One phase: the noise that was put into images at drawn times, by mean squared error; the weights are averaged.

    The host draws the times and the noise and looks up sqrt(a) and sqrt(1 - a) of each image's time. The noisy image
    sqrt(a) x + sqrt(1 - a) noise is computed in the graph.

    Args:
        image: (C, H, W); None for the network's own.
        optimizer: Of the phase.

    Source: arXiv:2006.11239, algorithm 1 and section 4 (T = 1000, linear betas, Adam).
    """
    denoiser = network("ddpm_unet_tiny", image)
    b = Builder("ddpm training")
    shape = denoiser.inputs[0].shape
    given, noise, time = b.input("image", shape), b.input("noise", shape), b.input("time", ())
    signal, spread = b.input("signal", ()), b.input("spread", ())
    parts = []
    for name, value, share in (("left", given, signal), ("added", noise, spread)):
        wide = b.add(f"noisy.{name}_share", Unsqueeze(axes=(1, 2, 3)), share)
        parts.append(b.add(f"noisy.{name}", Multiply(), value, wide))
    noisy = b.add("noisy.image", Add(), *parts)
    found = b.embed("denoiser", denoiser, {"image": noisy, "time": time})["noise"]
    graph = b.build({"loss": b.add("loss", MSELoss(), found, noise)})
    of_image, of_noise = schedule()
    sources = {
        "image": FromData(scaled_to=(-1.0, 1.0)),
        "noise": Normal(),
        "time": Integers(0, DIFFUSION.steps),
        "signal": TableAt(of_image, "time"),
        "spread": TableAt(of_noise, "time"),
    }
    phase = Phase("denoising", graph, ("denoiser",), optimizer)
    drawn = Sampling("diffusion", "denoiser", denoiser)
    return TrainingProgram("ddpm_tiny", {"denoiser": denoiser}, (phase,), sources, AVERAGE, SPREAD, drawn)
