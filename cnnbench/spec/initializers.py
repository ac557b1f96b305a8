"""Initialisers by name: how convolutions and fully connected layers start, by the rules of papers and of frameworks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.draws import draw
from cnnbench.spec.graph import Graph, Node
from cnnbench.spec.layers import Initializer, Linear, Shape
from cnnbench.spec.layers.arrays import ZEROS
from cnnbench.spec.layers.conv import Convolution
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.passes import lower
from cnnbench.spec.weights import initialize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Fan = Literal["in", "out", "mean", "none"]
Family = Literal["uniform", "normal", "truncated_normal", "orthogonal"]
CUT_DEVIATION = 0.87962566103423978  # standard deviation of a standard normal number that is cut at -2 and 2


class Fans(NamedTuple):
    """How many inputs meet in an output, and how many outputs an input reaches, by some convention."""

    inputs: int
    outputs: int


@dataclass(frozen=True)
class NamedInitializer:
    """A rule by which kernels are drawn; the variance is ``gain`` / fan, or ``gain`` where no fan is used.

    Args:
        name: As suites and the command line have it.
        family: The distribution: in [-sqrt(3 variance), sqrt(3 variance)], normal, normal within two standard
            deviations, or rows (columns, where there are more rows) that are orthonormal, times the root of ``gain``.
        fan: By what the gain is divided: inputs, outputs, or their mean.
        source: Paper or framework.
        convention: How fans are counted: the products of one output and those of one input (groups count), or as a
            framework does for the layout of its own kernels.
        uniform_bias: Whether biases are uniform in +-1 / sqrt(inputs); 0 otherwise.
        widened: Whether a cut distribution has the variance after it is cut; before it, otherwise.
    """

    name: str
    family: Family
    fan: Fan
    gain: float
    source: str
    convention: Literal["products", "torch", "keras", "flax"] = "products"
    uniform_bias: bool = False
    widened: bool = False

    def kernel(self, node: Node, shape: Shape) -> Initializer:
        """How the kernel of a node is drawn.

        Args:
            node: A convolution or a fully connected layer.
            shape: Of its kernel.
        """
        if self.family == "orthogonal":
            return Initializer("orthogonal", math.sqrt(self.gain))
        fans = kernel_fans(node, shape, self.convention)
        by = {"in": fans.inputs, "out": fans.outputs, "mean": (fans.inputs + fans.outputs) / 2, "none": 1}[self.fan]
        deviation = math.sqrt(self.gain / by)
        if self.family == "uniform":
            return Initializer("uniform", math.sqrt(3.0) * deviation)
        return Initializer(self.family, deviation / CUT_DEVIATION if self.widened else deviation)

    def bias(self, node: Node, shape: Shape) -> Initializer:
        """How the bias of a node is drawn. Args: node: As for ``kernel``. shape: Of its kernel."""
        if not self.uniform_bias:
            return ZEROS
        return Initializer("uniform", 1 / math.sqrt(kernel_fans(node, shape, self.convention).inputs))


def kernel_fans(node: Node, shape: Shape, convention: str) -> Fans:
    """The fans of a kernel.

    PyTorch counts by its own axes: in a transposed convolution they are exchanged, and a grouped one has all its output
    channels. Keras has a layer of its own for depthwise convolutions, whose kernel's last two axes are channels and
    multiplier.

    Args:
        node: A convolution or a fully connected layer.
        shape: Of its kernel, in the canonical layout.
        convention: As ``NamedInitializer.convention``.
    """
    first, second, taps = shape[0], shape[1], math.prod(shape[2:])
    if convention == "torch":
        return Fans(second * taps, first * taps)
    groups = getattr(node.layer, "groups", 1)
    transposed = isinstance(node.layer, ConvTranspose)
    if convention == "products":
        found = Fans(second * taps, first // groups * taps)
        return Fans(found.outputs, found.inputs) if transposed else found
    if not transposed and convention == "keras" and groups > 1 and second == 1:
        return Fans(groups * taps, first // groups * taps)
    if transposed and convention == "flax":
        return Fans(first * taps, second * groups * taps)
    return Fans(second * taps, first * taps)  # Keras' transposed kernels end in (outputs, inputs)


GLOROT = "Glorot, Bengio (2010), equation 16"
HE = "He et al. (2015), arXiv:1502.01852, equations 10 and 14"
NAMED = (
    NamedInitializer("xavier_uniform", "uniform", "mean", 1.0, GLOROT),
    NamedInitializer("xavier_normal", "normal", "mean", 1.0, GLOROT),
    NamedInitializer("he_uniform_fan_in", "uniform", "in", 2.0, HE),
    NamedInitializer("he_uniform_fan_out", "uniform", "out", 2.0, HE),
    NamedInitializer("he_normal_fan_in", "normal", "in", 2.0, HE),
    NamedInitializer("he_normal_fan_out", "normal", "out", 2.0, HE),
    NamedInitializer("truncated_normal", "truncated_normal", "none", 0.02**2, "BERT's and ViT's: 0.02, cut at 0.04"),
    NamedInitializer("orthogonal", "orthogonal", "none", 1.0, "Saxe et al. (2013), arXiv:1312.6120"),
    NamedInitializer(
        "torch_default", "uniform", "in", 1 / 3, "PyTorch 2.13: kaiming_uniform_(a=sqrt(5))", "torch", uniform_bias=True
    ),
    NamedInitializer("keras_default", "uniform", "mean", 1.0, "Keras 3.15: glorot_uniform", "keras"),
    NamedInitializer("flax_default", "truncated_normal", "in", 1.0, "Flax: lecun_normal", "flax", widened=True),
)
LSUV = "lsuv"  # by the data, in ``training.lsuv``


def named_initializers() -> dict[str, NamedInitializer]:
    """Every rule by its name."""
    return {item.name: item for item in NAMED}


def known_initializer(name: str) -> str:
    """The name, where it is one. Raises SpecError."""
    known = (*named_initializers(), LSUV)
    if name not in known:
        raise SpecError(f"unknown initializer {name!r}", remedy=did_you_mean(name, known))
    return name


def initialize_as(graph: Graph, seed: int, name: str) -> dict[str, Array]:
    """Every weight and running statistic by its full name, float32; kernels and biases by a named rule.

    It applies to convolutions, transposed ones and fully connected layers. All else, such as scales of norms,
    embeddings and recurrent weights, starts as its layer says. The random numbers are those of ``initialize``.

    Args:
        graph: The network.
        seed: Of the draws.
        name: Of the rule.

    Raises:
        SpecError: There is none of that name, or it needs data.
    """
    import numpy as np

    rules = named_initializers()
    if name not in rules:
        raise SpecError(f"unknown initializer {name!r}", remedy=did_you_mean(name, rules))
    return {
        **initialize(graph, seed),
        **{spec.name: draw(spec, seed).astype(np.float32) for spec in _drawn(graph, rules[name])},
    }


def kernel_nodes(graph: Graph) -> Mapping[str, Node]:
    """The nodes that named rules apply to, by name, in order; each that owns its weights. Args: graph: lowered."""
    kinds = (Convolution, ConvTranspose, Linear)
    return {node.name: node for node in graph.nodes if isinstance(node.layer, kinds) and node.owner == node.name}


def _drawn(graph: Graph, rule: NamedInitializer) -> list[Any]:
    lowered = lower(graph)
    found = []
    for node in kernel_nodes(lowered).values():
        specs = {spec.name: spec for spec in node.layer.weights(lowered.input_shapes(node))}
        shape = specs["weight"].shape
        for name, start in (("weight", rule.kernel), ("bias", rule.bias)):
            if name in specs and specs[name].trainable:
                full = f"{node.owner}.{name}"
                found.append(replace(specs[name], name=full, initializer=start(node, shape)))
    return found
