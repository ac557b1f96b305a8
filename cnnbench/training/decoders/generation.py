"""Pictures from noise: the samplers of diffusion models, and latents. All noise is the host's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnbench.spec.streams import stream

Array = NDArray[Any]
Predict = Callable[[Array, Array], Array]
"""(pictures (N, C, H, W), times (N,)) -> the noise in them."""


@dataclass(frozen=True)
class Diffusion:
    """The way from picture to noise: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, a_t = prod over s <= t of (1 - beta_s).

    Args:
        steps: T.
        first, last: beta at the first and the last step; linear between.
        variance: Of a step back: ``beta``, or ``posterior``: beta_t (1 - a_{t-1}) / (1 - a_t).

    Source: arXiv:2006.11239, section 4 for the schedule.
    """

    steps: int = 1000
    first: float = 1e-4
    last: float = 0.02
    variance: Literal["beta", "posterior"] = "beta"

    @property
    def betas(self) -> Array:
        """(T,)."""
        return np.linspace(self.first, self.last, self.steps)

    @property
    def kept(self) -> Array:
        """a_t, (T,): what is left of the picture's variance."""
        return np.cumprod(1 - self.betas)

    def noisy(self, pictures: Array, times: Array, noise: Array) -> Array:
        """x_t of pictures (equation 4).

        Args:
            pictures: (N, C, H, W).
            times: (N,) integers from 0 to T - 1.
            noise: Normal values of the pictures' shape.
        """
        a = self.kept[times].reshape(-1, *(1,) * (pictures.ndim - 1))
        return np.asarray(np.sqrt(a) * pictures + np.sqrt(1 - a) * noise)

    def sample(self, predict: Predict, shape: Sequence[int], seed: int) -> Array:
        """Ancestral sampling (algorithm 2): x_{t-1} = (x_t - beta_t / sqrt(1 - a_t) noise) / sqrt(1 - beta_t) + s_t z.

        The last step adds no z. x_T and every z come from the host's streams of the seed, so that all backends walk
        the same way.

        Args:
            predict: The network.
            shape: (N, C, H, W).
            seed: Of the streams.
        """
        x = stream(seed, "diffusion", "start").normal(size=tuple(shape))
        before = np.concatenate([[1.0], self.kept[:-1]])
        for t in reversed(range(self.steps)):
            beta, a = self.betas[t], self.kept[t]
            noise = np.asarray(predict(x.astype(np.float32), np.full(len(x), t, np.float32)), np.float64)
            x = (x - beta / np.sqrt(1 - a) * noise) / np.sqrt(1 - beta)
            if t:
                spread = beta if self.variance == "beta" else beta * (1 - before[t]) / (1 - a)
                x = x + np.sqrt(spread) * stream(seed, "diffusion", "step", t).normal(size=x.shape)
        return np.asarray(x)

    def sample_fast(
        self,
        predict: Predict,
        shape: Sequence[int],
        seed: int,
        count: int = 50,
        between: tuple[float, float] | None = None,
    ) -> Array:
        """DDIM without noise: from step to step of a few, the picture that the noise implies and the noise again.

        x_s = sqrt(a_s) x_0 + sqrt(1 - a_s) noise, x_0 = (x_t - sqrt(1 - a_t) noise) / sqrt(a_t).

        Args:
            predict: The network.
            shape: (N, C, H, W).
            seed: Of the start.
            count: Steps, evenly spread over T.
            between: The smallest and the largest value of pictures, to which x_0 is clipped at each step, and the noise
                is what then remains of x_t; None for no clipping.

        Source: arXiv:2010.02502, equation 12 with sigma 0.
        """
        x = stream(seed, "diffusion", "start").normal(size=tuple(shape))
        times = np.unique(np.rint(np.linspace(0, self.steps - 1, min(count, self.steps))).astype(int))[::-1]
        for i, t in enumerate(times):
            noise = np.asarray(predict(x.astype(np.float32), np.full(len(x), t, np.float32)), np.float64)
            picture = (x - np.sqrt(1 - self.kept[t]) * noise) / np.sqrt(self.kept[t])
            if between is not None:
                picture = np.clip(picture, *between)
                noise = (x - np.sqrt(self.kept[t]) * picture) / np.sqrt(1 - self.kept[t])
            a = self.kept[times[i + 1]] if i + 1 < len(times) else 1.0
            x = np.sqrt(a) * picture + np.sqrt(1 - a) * noise
        return np.asarray(x)


def latents(count: int, shape: Sequence[int], seed: int) -> NDArray[np.float32]:
    """Draws of a standard normal prior, each of its own stream, so that more draws leave the first as they are.

    Args:
        count: N.
        shape: Of one latent.
        seed: Of the streams.

    Shapes: -> (N, *shape).
    """
    drawn = [stream(seed, "latents", step=i).normal(size=tuple(shape)) for i in range(count)]
    return np.array(drawn, np.float32).reshape(count, *shape)
