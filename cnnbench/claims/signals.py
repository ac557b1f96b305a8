"""Claims about convolution as a linear operation: its Toeplitz matrix, its gradients, edge detection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.claims.laboratory import Laboratory, network
from cnnbench.spec.layers import Conv
from cnnbench.spec.streams import stream

Array = NDArray[Any]


def _integers(seed: int, name: str, *shape: int) -> Array:
    """Small integers, on which float64 is exact."""
    return stream(seed, "claims", name).integers(-4, 5, shape).astype(np.float64)


def toeplitz_matrix(kernel: Array, height: int, width: int) -> Array:
    """The matrix T for which T vec(x) is the cross-correlation of an image with a kernel, valid positions alone.

    T = sum over i of S_i (x) T_i: S_i takes rows y + i, T_i is the Toeplitz matrix of the kernel's row i.

    Args:
        kernel: (F, F).
        height: Of the image.
        width: Of the image.
    """
    from scipy.linalg import toeplitz

    rows, columns = kernel.shape
    out_height, out_width = height - rows + 1, width - columns + 1
    total = np.zeros((out_height * out_width, height * width))
    for i, row in enumerate(kernel):
        first = np.zeros(width)
        first[:columns] = row
        total += np.kron(np.eye(out_height, height, i), toeplitz(np.eye(1, out_width)[0] * row[0], first))
    return total


def toeplitz(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """Compares convolution with its Toeplitz matrix on integers, so that all results are exact."""
    plain, flipped = (Conv(out_channels=1, kernel_size=3, bias=False, flip_kernel=flip) for flip in (False, True))
    graph, other = network((1, 9, 8), plain), network((1, 9, 8), flipped)

    def of_matrix(seed: int) -> float:
        x, kernel = _integers(seed, "x", 1, 1, 9, 8), _integers(seed, "kernel", 1, 1, 3, 3)
        found = laboratory.output(graph, {"0.weight": kernel}, x=x)
        return float(np.abs(found.ravel() - toeplitz_matrix(kernel[0, 0], 9, 8) @ x.ravel()).max())

    def of_flip(seed: int) -> float:
        x, kernel = _integers(seed, "x", 1, 1, 9, 8), _integers(seed, "kernel", 1, 1, 3, 3)
        one = laboratory.output(graph, {"0.weight": kernel}, x=x)
        two = laboratory.output(other, {"0.weight": kernel[:, :, ::-1, ::-1].copy()}, x=x)
        return float(np.abs(one - two).max())

    def of_order(seed: int) -> float:
        signals = _integers(seed, "f", 1, 1, 9), _integers(seed, "g", 1, 1, 5)
        return float(np.abs(_convolved(laboratory, *signals) - _convolved(laboratory, *signals[::-1])).max())

    yield ClaimEvidence(
        "largest difference of convolution and its Toeplitz matrix", laboratory.over_seeds(of_matrix), 0, 0
    )
    yield ClaimEvidence(
        "the same of correlation and convolution with the flipped kernel", laboratory.over_seeds(of_flip), 0, 0
    )
    yield ClaimEvidence("the same of f*g and g*f", laboratory.over_seeds(of_order), 0, 0)
    for what, position in (("input", 0), ("kernel", 1)):
        values = laboratory.over_seeds(lambda seed, i=position: _gradients_apart(laboratory, seed)[i])  # type: ignore[misc]
        yield ClaimEvidence(f"the same of the {what}'s gradient and a convolution", values, 0, 0)


def _convolved(laboratory: Laboratory, f: Array, g: Array) -> Array:
    """f * g with all positions at which they meet."""
    size = g.shape[2]
    layer = Conv(out_channels=1, kernel_size=size, padding=size - 1, bias=False, flip_kernel=True)
    return laboratory.output(network(f.shape[1:], layer), {"0.weight": g}, x=f)


def _gradients_apart(laboratory: Laboratory, seed: int) -> tuple[float, float]:
    """The input's gradient against a full convolution, the kernel's against a correlation of input and cotangent."""
    x, kernel = _integers(seed, "x", 1, 1, 9, 8), _integers(seed, "kernel", 1, 1, 3, 3)
    cotangent = _integers(seed, "cotangent", 1, 1, 7, 6)
    graph = network((1, 9, 8), Conv(out_channels=1, kernel_size=3, bias=False))
    found = laboratory.gradients(graph, {"0.weight": kernel}, {graph.outputs[0][0]: cotangent}, x=x)
    full = Conv(out_channels=1, kernel_size=3, padding=2, bias=False, flip_kernel=True)
    of_input = laboratory.output(network((1, 7, 6), full), {"0.weight": kernel}, x=cotangent)
    correlation = network((1, 9, 8), Conv(out_channels=1, kernel_size=(7, 6), bias=False))
    of_kernel = laboratory.output(correlation, {"0.weight": cotangent}, x=x)
    return (
        float(np.abs(found.inputs["x"] - of_input).max()),
        float(np.abs(found.weights["0.weight"] - of_kernel).max()),
    )


def edge_kernel(laboratory: Laboratory) -> Iterator[ClaimEvidence]:
    """A bright bar in a dark image, whose edges are known."""
    image = np.zeros((1, 1, 6, 12))
    image[..., 4:9] = 1
    kernel = np.array([1.0, -1.0]).reshape(1, 1, 1, 2)
    graph = network((1, 6, 12), Conv(out_channels=1, kernel_size=(1, 2), bias=False))
    edges = laboratory.output(graph, {"0.weight": kernel}, x=image)
    expected = np.zeros_like(edges)
    expected[..., 3], expected[..., 8] = -1, 1
    yield ClaimEvidence(
        "positions at which the response is not that of an edge", (float((edges != expected).sum()),), 0, 0
    )

    def distance(seed: int) -> float:
        start = stream(seed, "claims", "start").normal(size=(1, 1, 1, 2))
        found = laboratory.fitted(graph, {"0.weight": start}, {"x": image, "targets": edges}, (0.5,) * 200)
        return float(np.abs(found["0.weight"] - kernel).max())

    values = laboratory.over_seeds(distance)
    yield ClaimEvidence(
        "distance of the kernel that 200 steps of gradient descent find from [1, -1]", values, most=0.01
    )


CLAIMS = (
    NetworkClaim(
        "toeplitz",
        4,
        "Convolution is a Toeplitz matrix product; cross-correlation is convolution with the flipped kernel; f*g = "
        "g*f; the gradients of convolution are convolutions.",
        "Dumoulin, Visin (2016), arXiv:1603.07285, section 4; Goodfellow, Bengio, Courville (2016), section 9.1",
        toeplitz,
    ),
    NetworkClaim(
        "edge_kernel",
        6,
        "The kernel [1, -1] finds edges, and gradient descent recovers it from one image.",
        "Zhang et al., Dive into Deep Learning, section 7.2",
        edge_kernel,
        ("the image has an edge and the rate lets the descent converge",),
    ),
)
