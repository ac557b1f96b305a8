"""Activations, plain, rectified and smooth, and functions of each value."""

from __future__ import annotations

from cnnbench.spec.interchange.to_onnx.writer import NodeWriter, exporter

_FUNCTIONS = {
    "abs": "Abs", "negate": "Neg", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sqrt": "Sqrt",
    "reciprocal": "Reciprocal", "exp": "Exp", "log": "Log", "erf": "Erf", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh",
    "acosh": "Acosh", "atanh": "Atanh",
}  # fmt: skip
_PLAIN = {"relu": "Relu", "sigmoid": "Sigmoid", "hard_swish": "HardSwish", "mish": "Mish", "softsign": "Softsign"}


@exporter(*_PLAIN)
def plain(node: NodeWriter) -> list[str]:
    """An operator without attributes."""
    return [node.op(_PLAIN[node.layer.kind], node.x)]


@exporter("softmax", "log_softmax", "hardmax")
def along_axis(node: NodeWriter) -> list[str]:
    """Softmax and its like along an axis."""
    operator = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "hardmax": "Hardmax"}[node.layer.kind]
    return [node.op(operator, node.x, axis=node.layer.axis)]


def scaled(node: NodeWriter, value: str, factor: float) -> str:
    """factor * value; the value itself for 1.

    Args:
        node: Being written.
        value: What is multiplied.
        factor: A fixed number.
    """
    return value if factor == 1 else node.op("Mul", value, node.constant(float(factor), "factor"))


def shifted(node: NodeWriter, value: str, shift: float) -> str:
    """value + shift; the value itself for 0.

    Args:
        node: Being written.
        value: What is added to.
        shift: A fixed number.
    """
    return value if shift == 0 else node.op("Add", value, node.constant(float(shift), "shift"))


@exporter("tanh")
def tanh(node: NodeWriter) -> list[str]:
    """A tanh(S x)."""
    return [scaled(node, node.op("Tanh", scaled(node, node.x, node.layer.input_scale)), node.layer.output_scale)]


@exporter("scalar_affine")
def affine(node: NodeWriter) -> list[str]:
    """scale * x + shift."""
    return [shifted(node, scaled(node, node.x, node.layer.scale), node.layer.shift)]


@exporter("scalar_power")
def power(node: NodeWriter) -> list[str]:
    """x ** exponent."""
    return [node.op("Pow", node.x, node.constant(float(node.layer.exponent), "exponent"))]


@exporter("clip")
def clip(node: NodeWriter) -> list[str]:
    """Clip; where the minimum lies above the maximum, the maximum wins, as in ONNX."""
    limits = [
        "" if limit is None else node.constant(float(limit), "limit")
        for limit in (node.layer.minimum, node.layer.maximum)
    ]
    return [node.op("Clip", node.x, *limits)]


@exporter("relu6")
def relu6(node: NodeWriter) -> list[str]:
    """Clip to 0 and 6."""
    return [node.op("Clip", node.x, node.constant(0.0), node.constant(6.0))]


@exporter("elementwise")
def elementwise(node: NodeWriter) -> list[str]:
    """A function by name; those that ONNX lacks in two steps."""
    function, x = node.layer.function, node.x
    if function == "square":
        return [node.op("Mul", x, x)]
    if function == "rsqrt":
        return [node.op("Reciprocal", node.op("Sqrt", x))]
    if function == "expm1":
        return [less_one(node, x)]
    if function == "log1p":
        return [_log_of_one_more(node, x)]
    return [node.op(_FUNCTIONS[function], x)]


def less_one(node: NodeWriter, value: str) -> str:
    """exp(value) - 1 as tanh(value / 2) (exp(value) + 1), which keeps the digits of small results.

    Args:
        node: Being written.
        value: Of any shape.
    """
    exponential = node.op("Add", node.op("Exp", value), node.constant(1.0, "one"))
    return node.op("Mul", node.op("Tanh", scaled(node, value, 0.5)), exponential)


def _log_of_one_more(node: NodeWriter, value: str) -> str:
    """log(1 + value), as 2 atanh(value / (value + 2)) below one, which keeps the digits of small results."""
    one = node.constant(1.0, "one")
    ratio = node.op("Div", value, node.op("Add", value, node.constant(2.0, "two")))
    small = scaled(node, node.op("Atanh", ratio), 2.0)
    return node.op("Where", node.op("Less", value, one), small, node.op("Log", node.op("Add", value, one)))


@exporter("leaky_relu")
def leaky_relu(node: NodeWriter) -> list[str]:
    """LeakyRelu."""
    return [node.op("LeakyRelu", node.x, alpha=float(node.layer.negative_slope))]


@exporter("elu", "thresholded_relu")
def with_alpha(node: NodeWriter) -> list[str]:
    """Elu, ThresholdedRelu."""
    operator = {"elu": "Elu", "thresholded_relu": "ThresholdedRelu"}[node.layer.kind]
    return [node.op(operator, node.x, alpha=float(node.layer.alpha))]


@exporter("celu")
def celu(node: NodeWriter) -> list[str]:
    """alpha Elu(x / alpha): ONNX's Celu is of float32 alone."""
    alpha = float(node.layer.alpha)
    return [scaled(node, node.op("Elu", scaled(node, node.x, 1 / alpha), alpha=1.0), alpha)]


@exporter("selu")
def selu(node: NodeWriter) -> list[str]:
    """Selu with the constants of the paper, which are ONNX's defaults."""
    return [node.op("Selu", node.x)]


@exporter("hard_sigmoid")
def hard_sigmoid(node: NodeWriter) -> list[str]:
    """HardSigmoid."""
    return [node.op("HardSigmoid", node.x, alpha=float(node.layer.slope), beta=float(node.layer.offset))]


@exporter("shrink")
def shrink(node: NodeWriter) -> list[str]:
    """Shrink."""
    return [node.op("Shrink", node.x, lambd=float(node.layer.threshold), bias=float(node.layer.bias))]


@exporter("prelu")
def prelu(node: NodeWriter) -> list[str]:
    """PRelu, its slopes along the channel axis."""
    return [node.op("PRelu", node.x, node.per_channel("weight"))]


@exporter("gelu")
def gelu(node: NodeWriter) -> list[str]:
    """Gelu, exact or by tanh."""
    return [node.op("Gelu", node.x, approximate="tanh" if node.layer.form == "tanh" else "none")]


@exporter("silu")
def silu(node: NodeWriter) -> list[str]:
    """x sigmoid(beta x)."""
    return [node.op("Mul", node.x, node.op("Sigmoid", scaled(node, node.x, node.layer.beta)))]


@exporter("softplus")
def softplus(node: NodeWriter) -> list[str]:
    """log(1 + exp(beta x)) / beta."""
    beta = node.layer.beta
    return [scaled(node, node.op("Softplus", scaled(node, node.x, beta)), 1 / beta)]
