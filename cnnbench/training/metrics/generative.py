"""Metrics of generated and reconstructed images: Fréchet distance, recognised samples, reconstruction error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import DataError
from cnnbench.training.metrics.statistic import MeanStatistic, finite, same_images

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class FrechetStatistic:
    """The Fréchet distance of normal distributions fitted to generated features and to real ones.

    Args:
        generated: (N, F). mean, covariance: Of the real ones.
    """

    generated: Array
    mean: Array
    covariance: Array

    def __len__(self) -> int:
        return len(self.generated)

    def of(self, images: NDArray[np.int64]) -> float:
        """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with covariances by N - 1; NaN below two images."""
        if len(images) < 2:
            return float("nan")
        features = self.generated[images]
        covariance = _covariance(features)
        root = _root(self.covariance)
        mixed = np.linalg.eigvalsh(root @ covariance @ root)
        cross = np.sqrt(np.maximum(mixed, 0)).sum()
        gap = features.mean(0) - self.mean
        distance = gap @ gap + np.trace(covariance) + np.trace(self.covariance) - 2 * cross
        return float(max(distance, 0.0))


def frechet_distance(generated: Array, real: Array) -> FrechetStatistic:
    """Compares features of generated images with those of real ones.

    The trace of the root is taken from the eigenvalues of C1^(1/2) C2 C1^(1/2), which are real and not negative even
    where a covariance is singular. The distance of few images is too large: compare equal numbers only.

    Args:
        generated: (N, F) features, at least two.
        real: (M, F) features by the same network, at least two.

    Source: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium" (2017).

    Raises:
        DataError: Too few images, other features, or values that are not finite.
    """
    generated, real = finite(generated, "features"), finite(real, "features")
    if generated.ndim != 2 or generated.shape[1:] != real.shape[1:] or min(len(generated), len(real)) < 2:
        raise DataError("features of two images at least are expected", received=(generated.shape, real.shape))
    return FrechetStatistic(generated, real.mean(0), _covariance(real))


def recognised(probabilities: Array, confidence: float = 0.8) -> MeanStatistic:
    """The share of samples that a classifier takes for some class with at least this confidence.

    Args:
        probabilities: (N, K) by the classifier.
        confidence: From 0 to 1.
    """
    return MeanStatistic((_distributions(probabilities).max(1) >= confidence).astype(np.float64))


@dataclass(frozen=True, eq=False)
class CoverageStatistic:
    """How many classes occur among images. There is no interval: a choice of the images can only show fewer.

    Args:
        classes: (N,) the class of each, -1 for an image of none.
    """

    classes: Array
    is_enough: ClassVar[bool] = False

    def __len__(self) -> int:
        return len(self.classes)

    def of(self, images: NDArray[np.int64]) -> float:
        """The number of different classes."""
        found = self.classes[images]
        return float(len(np.unique(found[found >= 0])))


def covered_classes(probabilities: Array, confidence: float = 0.8) -> CoverageStatistic:
    """The number of classes for which at least one sample is taken with this confidence.

    Args:
        probabilities: (N, K) by the classifier.
        confidence: From 0 to 1.
    """
    found = _distributions(probabilities)
    return CoverageStatistic(np.where(found.max(1) >= confidence, found.argmax(1), -1))


def reconstruction_error(found: Array, truth: Array) -> MeanStatistic:
    """The mean over an image's values of (x - y)^2, averaged over images.

    Args:
        found: (N, ...) reconstructions.
        truth: (N, ...) what was reconstructed.
    """
    same_images(found=found, truth=truth)
    if found.shape != truth.shape:
        raise DataError("reconstructions have another shape", received=found.shape, expected=truth.shape)
    gaps = finite(found, "images") - finite(truth, "images")
    return MeanStatistic((gaps**2).reshape(len(gaps), -1).mean(1))


def psnr(found: Array, truth: Array, peak: float = 1.0) -> MeanStatistic:
    """The mean over images of 10 log10(peak^2 / MSE), in decibels; infinite for an image that is equal.

    Args:
        found: (N, ...) reconstructions.
        truth: (N, ...) what was reconstructed.
        peak: The largest value minus the smallest that an image can have.
    """
    errors = reconstruction_error(found, truth).figures
    with np.errstate(divide="ignore"):
        return MeanStatistic(10 * np.log10(peak**2 / errors))


def _distributions(probabilities: Array) -> Array:
    found = finite(probabilities, "probabilities")
    if found.ndim != 2 or (found < 0).any() or not np.allclose(found.sum(1), 1, atol=1e-3):
        raise DataError("rows of probabilities that sum to 1 are expected", received=found.shape)
    return found


def _covariance(features: Array) -> Array:
    return np.atleast_2d(np.cov(features, rowvar=False))


def _root(matrix: Array) -> Array:
    """The symmetric root of a matrix without negative eigenvalues, small ones by rounding taken for 0."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T)
