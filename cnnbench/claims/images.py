"""Claims about translation, scaling and sampling of images: equivariance, image sizes, aliasing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.claims.laboratory import Laboratory, apart, network
from cnnbench.spec.composites.filters import BlurPool, Downsample
from cnnbench.spec.layers import Conv, MaxPool
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.streams import stream

Array = NDArray[Any]
SIZE = 24
BORDER = 6  # zeros around an image that is shifted, so that nothing leaves it


def equivariance(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """Smooth images between zeros, shifted by one position and by two."""
    conv = partial(Conv, out_channels=4, kernel_size=3, padding="same", bias=False)
    plain, strided = (conv(),), (conv(stride=2),)
    pooled, blurred = (
        (conv(), MaxPool(kernel_size=2, stride=2)),
        (conv(), MaxPool(kernel_size=2), BlurPool(filter_size=5)),
    )
    moved = partial(_moved, laboratory)
    yield ClaimEvidence("what a shift by one changes beyond shifting, without stride", moved(plain, 1, 1), most=1e-12)
    yield ClaimEvidence("the same with stride 2 and a shift by two", moved(strided, 2, 1), most=1e-12)
    yield ClaimEvidence("change of the output by a shift by one, without pooling", moved(plain, 1, 0), least=0.1)
    ratio = _over(moved(pooled, 1, 0), moved(plain, 1, 0))
    yield ClaimEvidence("the same with max pooling of 2, over that without", ratio, least=0.02, most=0.95)
    broken = laboratory.over_seeds(lambda seed: min(_change(laboratory, strided, seed, 1, by) for by in (0, 1)))
    yield ClaimEvidence(
        "what a shift by one changes with stride 2, at the better of both positions", broken, least=0.05
    )
    ratio = _over(moved(blurred, 1, 0), moved(pooled, 1, 0))
    yield ClaimEvidence("change by a shift by one with blur pooling, over that with max pooling", ratio, most=0.9)
    yield ClaimEvidence(
        "match of a pattern with itself at twice the size", _matches(laboratory, pyramid=False), most=0.95
    )
    yield ClaimEvidence("the same in a pyramid of two sizes", _matches(laboratory, pyramid=True), least=0.95)


def _smooth(seed: int, size: int) -> Array:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(stream(seed, "claims", "image").normal(size=(size, size)), 1.0))


def _moved(laboratory: Laboratory, layers: tuple[Any, ...], shift: int, by: int) -> tuple[float, ...]:
    return laboratory.over_seeds(lambda seed: _change(laboratory, layers, seed, shift, by))


def _change(laboratory: Laboratory, layers: tuple[Any, ...], seed: int, shift: int, by: int) -> float:
    """How far the output of a shifted image lies from the output, itself shifted by ``by`` positions."""
    image = np.zeros((1, 1, SIZE + 2 * BORDER, SIZE + 2 * BORDER))
    image[..., BORDER:-BORDER, BORDER:-BORDER] = _smooth(seed, SIZE)
    graph = network(image.shape[1:], *layers)
    weights = {"0.weight": stream(seed, "claims", "weights").normal(size=(4, 1, 3, 3))}
    first = laboratory.output(graph, weights, x=image)
    second = laboratory.output(graph, weights, x=np.roll(image, shift, axis=3))
    return apart(np.roll(first, by, axis=3), second)


def _over(some: tuple[float, ...], others: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(one / other for one, other in zip(some, others, strict=True))


def _matches(laboratory: Laboratory, *, pyramid: bool) -> tuple[float, ...]:
    """The largest cosine of a pattern of 8 x 8 and the windows of it at twice the size, or of that and half of it."""
    double = network((1, 8, 8), Resize(scale=2, mode="linear"))
    half = network((1, 16, 16), Resize(size=8, mode="linear"))

    def match(seed: int) -> float:
        pattern = _smooth(seed, 8)
        pattern = (pattern - pattern.mean())[None, None]
        image = laboratory.output(double, {}, x=pattern)
        levels = [image, laboratory.output(half, {}, x=image)] if pyramid else [image]
        return max(_best_cosine(laboratory, level, pattern) for level in levels)

    return laboratory.over_seeds(match)


def _best_cosine(laboratory: Laboratory, image: Array, pattern: Array) -> float:
    graph = network(image.shape[1:], Conv(out_channels=1, kernel_size=pattern.shape[2], bias=False))
    products = laboratory.output(graph, {"0.weight": pattern}, x=image)
    squares = laboratory.output(graph, {"0.weight": np.ones_like(pattern)}, x=image**2)
    return float((products / np.sqrt(squares)).max() / np.linalg.norm(pattern))


def checkerboards(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """A constant image made twice as large, and waves of which every second sample is kept."""
    deconv = partial(ConvTranspose, out_channels=1, stride=2, bias=False)
    resized = (Resize(scale=2), Conv(out_channels=1, kernel_size=3, padding="same", bias=False))
    uneven = partial(_unevenness, laboratory)
    for what, layers in (
        ("3x3", (deconv(kernel_size=3),)),
        ("4x4, whose windows overlap evenly", (deconv(kernel_size=4),)),
    ):
        values = laboratory.over_seeds(lambda seed, layers=layers: uneven(layers, _drawn(layers, seed)))  # type: ignore[misc]
        yield ClaimEvidence(f"unevenness of a constant image after transposed convolution {what}", values, least=0.1)
    equal = uneven((deconv(kernel_size=4),), np.ones((1, 1, 4, 4)))
    yield ClaimEvidence("the same of 4x4 with equal weights", (equal,), most=1e-12)
    values = laboratory.over_seeds(lambda seed: uneven(resized, _drawn(resized, seed)))
    yield ClaimEvidence("the same after resizing and a convolution 3x3", values, most=1e-12)
    blur = Downsample(method="blur", filter_size=5)
    for what, cycles, layer, least, most in (
        ("a wave of 0.4 cycles, every second sample kept", 0.4, Downsample(method="decimate"), 0.9, None),
        ("the same after a low-pass filter", 0.4, blur, None, 0.3),
        ("a wave of 0.05 cycles after that filter", 0.05, blur, 0.8, None),
    ):
        value = _amplitude(laboratory, layer, cycles)
        yield ClaimEvidence(f"share of the amplitude left of {what}", (value,), least, most)


def _drawn(layers: tuple[Any, ...], seed: int) -> Array:
    size = layers[-1].kernel_size
    return stream(seed, "claims", "weights").normal(size=(1, 1, size, size))


def _unevenness(laboratory: Laboratory, layers: tuple[Any, ...], weight: Array) -> float:
    """The standard deviation of the output of a constant image, border left out, over its root mean square.

    Args:
        laboratory: Where.
        layers: The last one takes the weight.
        weight: (1, 1, F, F).
    """
    graph = network((1, 12, 12), *layers)
    inner = laboratory.output(graph, {f"{len(layers) - 1}.weight": weight}, x=np.ones((1, 1, 12, 12)))[..., 4:-4, 4:-4]
    return float(inner.std() / np.sqrt(np.mean(inner**2)))


def _amplitude(laboratory: Laboratory, layer: Any, cycles: float) -> float:
    """Of a wave along rows, the root mean square of what is left over that of the wave, borders left out."""
    wave = np.cos(2 * np.pi * cycles * np.arange(80) + 0.3)
    image = np.broadcast_to(wave, (1, 1, 80, 80)).copy()
    found = laboratory.output(network((1, 80, 80), layer), {}, x=image)[..., 8:-8, 8:-8]
    return float(np.sqrt(np.mean(found**2)) / np.sqrt(np.mean(wave**2)))


CLAIMS = (
    NetworkClaim(
        "equivariance",
        7,
        "Convolution is translation-equivariant; pooling makes it partly invariant, stride breaks it, blur pooling "
        "mends some of that; it is not scale-invariant, and a pyramid helps.",
        "Zhang (2019), arXiv:1904.11486; Azulay, Weiss (2018), arXiv:1805.12177",
        equivariance,
        ("nothing is moved across the image's border", "shifts by a multiple of the stride are kept"),
    ),
    NetworkClaim(
        "checkerboards",
        12,
        "Transposed convolution makes checkerboards and resizing before a convolution does not; subsampling aliases "
        "and a low-pass filter before it prevents that.",
        "Odena, Dumoulin, Olah (2016), doi:10.23915/distill.00003; Zhang (2019), arXiv:1904.11486",
        checkerboards,
        ("weights whose sums over each phase of the stride are equal make none",),
    ),
)
