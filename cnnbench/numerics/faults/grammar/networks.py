"""The networks that drawn faults are put into: one for each layer kind, small ones of several, registered ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from cnnbench.errors import SuiteError, did_you_mean
from cnnbench.execution.contract import ProgramOptions
from cnnbench.numerics.case import Case
from cnnbench.registry import architectures
from cnnbench.spec.composites import DepthwiseSeparableConv, MultiHeadAttention, SqueezeExcitation
from cnnbench.spec.draws import draw_inputs
from cnnbench.spec.examples import example_layer
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.kinds import layer_kinds
from cnnbench.spec.layers import (
    GELU,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Flatten,
    GlobalAvgPool,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    ReLU,
)
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.losses import CrossEntropy
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.weights import general_position
from cnnbench.training.steps import TrainingSteps

SUITE_LIKE = TrainingSteps(
    SGD(momentum=0.9, nesterov=True, weight_decay=0.01, decay="kernels"), CrossEntropy(label_smoothing=0.1)
)
PREFIX = "kind:"
POSITIVE = frozenset({"power", "box_encode"})  # kinds whose operands are positive: the rest gives NaN


def _of_kind(kind: type[Layer]) -> Graph:
    """An affine map before each operand, the kind's example, an affine map after it."""
    builder = Builder(f"{PREFIX}{kind.kind}")
    values = []
    for i, shape in enumerate(kind.example.inputs):
        batched, integers = shape[:1] == (1,), i in kind.int_inputs
        image = shape[1:] if batched else shape
        value = builder.input(f"input{i}", image, dtype="int" if integers else "float", batched=batched)
        if not integers:
            value = builder.add(f"before{i}", Affine(scale=0.8, shift=0.1), value)
            if kind.kind in POSITIVE:
                value = builder.add(f"positive{i}", Elementwise(function="abs"), value)
        values.append(value)
    outputs = builder.add_all("layer", example_layer(kind), *values)
    if kind.differentiable and outputs[0].dtype == "float" and len(outputs[0].shape) > 1:
        outputs = (builder.add("after", Affine(scale=1.25, shift=-0.5), outputs[0]), *outputs[1:])
    return builder.build(outputs)


def _residual() -> Graph:
    b = Builder("residual")
    x = b.add("conv", Conv(out_channels=4, kernel_size=3, padding=1, bias=False), b.input("image", (3, 9, 8)))
    x = b.add("relu", ReLU(), b.add("norm", BatchNorm(), x))
    y = b.add("block.conv1", Conv(out_channels=4, kernel_size=3, padding=((1, 2), (0, 2)), stride=(2, 1)), x)
    y = b.add("block.relu1", ReLU(), b.add("block.norm1", BatchNorm(momentum=0.2), y))
    y = b.add("block.conv2", Conv(out_channels=4, kernel_size=3, padding=2, dilation=2, groups=2), y)
    y = b.add("block.norm2", BatchNorm(), y)
    x = b.add("block.shortcut", Conv(out_channels=4, kernel_size=1, stride=(2, 1)), x)
    x = b.add("block.add", Add(), b.add("block.pool", MaxPool(kernel_size=2, stride=1, padding=((0, 1), (1, 0))), x), y)
    x = b.add("pool", GlobalAvgPool(), b.add("block.relu2", ReLU(), x))
    return b.build({"logits": b.add("fc", Linear(out_features=5), x)})


def _branches() -> Graph:
    b = Builder("branches")
    image = b.input("image", (4, 8, 7))
    x = b.add("separable", DepthwiseSeparableConv(out_channels=6, kernel_size=3, padding=1), image)
    x = b.add("relu", ReLU(), x)
    x = b.add("squeeze", SqueezeExcitation(squeeze_channels=3), x)
    y = b.add("mean", AvgPool(kernel_size=3, stride=1, padding=1), image)
    x = b.add("max", MaxPool(kernel_size=2, stride=2), b.add("both", Concat(), x, y))
    x = b.add("flatten", Flatten(), x)
    return b.build({"logits": b.add("fc", Linear(out_features=4), b.add("hidden", Linear(out_features=9), x))})


def _transformer() -> Graph:
    b = Builder("transformer")
    tokens = b.input("tokens", (5, 8))
    x = b.add("attention", MultiHeadAttention(num_heads=2), b.add("norm1", LayerNorm(), tokens))
    x = b.add("add1", Add(), x, tokens)
    y = b.add("gelu", GELU(), b.add("wide", Linear(out_features=12), b.add("norm2", LayerNorm(), x)))
    x = b.add("add2", Add(), b.add("narrow", Linear(out_features=8), y), x)
    return b.build({"logits": b.add("fc", Linear(out_features=3), b.add("flatten", Flatten(), x))})


SMALL: dict[str, Callable[[], Graph]] = {"residual": _residual, "branches": _branches, "transformer": _transformer}
REGISTERED = ("lenet5", "resnet20")


def score_networks() -> tuple[str, ...]:
    """The names of the networks: the small ones, registered ones, and ``kind:NAME`` for each kind that is shipped."""
    kinds = [kind for kind, cls in layer_kinds().items() if cls.is_shipped]
    return (*SMALL, *REGISTERED, *(f"{PREFIX}{kind}" for kind in kinds))


def kind_of(name: str) -> str:
    """The layer kind whose example a network of ``score_networks`` is; "" for the others."""
    return name.removeprefix(PREFIX) if name.startswith(PREFIX) else ""


@cache
def network(name: str) -> Graph:
    """The network of that name: of ``score_networks``, or a registered architecture.

    Raises:
        SuiteError: An unknown name.
    """
    if name in SMALL:
        return SMALL[name]()
    kinds = layer_kinds()
    if (kind := kind_of(name)) in kinds:
        return _of_kind(kinds[kind])
    known = architectures()
    if name in known:
        return known[name].build(known[name].facts.input, known[name].num_classes)
    raise SuiteError(f"unknown network {name!r}", remedy=did_you_mean(name, [*score_networks(), *known]))


def network_case(name: str, options: ProgramOptions, seed: int = 0, batch: int = 2) -> Case:
    """A network with arrays in general position and seeded inputs; classifiers are trained as a suite trains them.

    Args:
        name: As ``network`` takes it.
        options: How programs are compiled.
        seed: Of everything that is drawn.
        batch: Images.
    """
    graph = network(name)
    training = SUITE_LIKE if graph.outputs[0][0] == "logits" else TrainingSteps()
    arrays, inputs = general_position(graph, seed), draw_inputs(graph, seed, batch)
    return Case(graph, arrays, inputs, options, seed=seed, training=training)
