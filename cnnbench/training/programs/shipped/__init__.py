"""The training programs that come with cnnbench, by name; each module is one family."""

from __future__ import annotations

from collections.abc import Callable

from cnnbench.errors import UnavailableError, did_you_mean
from cnnbench.training.programs.program import TrainingProgram
from cnnbench.training.programs.shipped.adversarial import adversarial_autoencoder, dcgan
from cnnbench.training.programs.shipped.cyclegan import cyclegan
from cnnbench.training.programs.shipped.likelihood import ddpm, vae

PROGRAMS: dict[str, Callable[[], TrainingProgram]] = {
    "adversarial_autoencoder_tiny": adversarial_autoencoder,
    "conv_vae": vae,
    "cyclegan_tiny": cyclegan,
    "dcgan_tiny": dcgan,
    "ddpm_tiny": ddpm,
}


def training_program(name: str) -> TrainingProgram:
    """A shipped training program. Raises UnavailableError with the nearest name where there is none of that name."""
    if name not in PROGRAMS:
        raise UnavailableError(f"unknown training program {name!r}", remedy=did_you_mean(name, PROGRAMS))
    return PROGRAMS[name]()
