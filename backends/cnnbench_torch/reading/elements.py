"""Element-wise operations, reductions and softmax, as ``torch.export`` writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnbench.spec.graph import Value
from cnnbench.spec.layers import (
    ELU,
    GELU,
    SELU,
    Add,
    Dropout,
    HardSigmoid,
    HardSwish,
    Layer,
    LeakyReLU,
    LogSoftmax,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from cnnbench.spec.layers.arithmetic import Affine, Clip, Elementwise, Power
from cnnbench.spec.layers.merge import Divide, Maximum, Minimum, Multiply, PowerOf, Subtract
from cnnbench.spec.layers.smooth import CELU, Mish
from cnnbench_torch.reading.call import AtenCall, FixedTensor, NotReadError, reads

_FUNCTIONS = {
    "abs": "abs",
    "neg": "negate",
    "sign": "sign",
    "floor": "floor",
    "ceil": "ceil",
    "square": "square",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "reciprocal": "reciprocal",
    "exp": "exp",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "erf": "erf",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "atan": "atan",
    "sinh": "sinh",
    "cosh": "cosh",
}
_PLAIN: dict[str, Callable[[AtenCall], Layer]] = {
    "relu": lambda call: ReLU(),
    "relu6": lambda call: ReLU6(),
    "sigmoid": lambda call: Sigmoid(),
    "tanh": lambda call: Tanh(),
    "silu": lambda call: SiLU(),
    "mish": lambda call: Mish(),
    "hardswish": lambda call: HardSwish(),
    "hardsigmoid": lambda call: HardSigmoid(),
    "selu": lambda call: SELU(),
    "leaky_relu": lambda call: LeakyReLU(negative_slope=float(call["negative_slope"])),
    "celu": lambda call: CELU(alpha=float(call["alpha"])),
    "gelu": lambda call: GELU(form="tanh" if call["approximate"] == "tanh" else "exact"),
}


def _plain(call: AtenCall) -> Value:
    op = call.op.rstrip("_")
    layer = _PLAIN[op](call) if op in _PLAIN else Elementwise(function=_FUNCTIONS[op])  # type: ignore[arg-type]
    return call.add(layer, call.value("self"))


reads(*(name + end for name in (*_PLAIN, *_FUNCTIONS) for end in ("", "_")))(_plain)


@reads("elu", "elu_")
def elu(call: AtenCall) -> Value:
    """With PyTorch's two further scales of 1 only."""
    if (call["scale"], call["input_scale"]) != (1, 1):
        raise NotReadError("scale or input_scale other than 1")
    return call.add(ELU(alpha=float(call["alpha"])), call.value("self"))


@reads("softplus")
def softplus(call: AtenCall) -> Value:
    """Beyond PyTorch's threshold of 20 it gives the operand itself, which is the same but for rounding."""
    if call["threshold"] < 20:
        raise NotReadError(f"a threshold of {call['threshold']:g}, beyond which it is another function")
    return call.add(Softplus(beta=float(call["beta"])), call.value("self"))


@reads("prelu")
def prelu(call: AtenCall) -> Value:
    """One slope, or one for each channel."""
    weight = call.weight("weight")
    if weight is None:
        raise NotReadError("it has no weight")
    slopes = "one" if weight.tensor.numel() == 1 else "channel"
    return call.weighted(PReLU(slopes=slopes), call.value("self"), weight=weight)  # type: ignore[arg-type]


@reads("hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min", "clamp_max", "clamp_min_", "clamp_max_")
def clip(call: AtenCall) -> Value:
    """0 to 6 is ReLU6."""
    lows = [call.arguments.get(name) for name in ("min_val", "min")]
    highs = [call.arguments.get(name) for name in ("max_val", "max")]
    low, high = (next((_limit(n) for n in found if n is not None), None) for found in (lows, highs))
    layer: Layer = Clip(minimum=low, maximum=high)
    layer = ReLU6() if (low, high) == (0.0, 6.0) else ReLU() if (low, high) == (0.0, None) else layer
    return call.add(layer, call.value("self"))


def _limit(found: Any) -> float:
    single = isinstance(found, FixedTensor) and found.tensor.numel() == 1 and not found.name
    if not single and not isinstance(found, int | float):
        raise NotReadError("limits that are not numbers")
    return float(found.tensor if isinstance(found, FixedTensor) else found)


def _operands(call: AtenCall) -> list[Value]:
    return call.aligned([call.value("self"), call.value("other")])


def _scaled_other(call: AtenCall) -> tuple[float | None, float]:
    return call.number("other"), float(call.arguments.get("alpha", 1))


@reads("add", "add_")
def add(call: AtenCall) -> Value:
    """``alpha`` scales the second operand."""
    number, alpha = _scaled_other(call)
    if number is not None:
        return call.add(Affine(shift=alpha * number), call.value("self"))
    if (first := call.number("self")) is not None and alpha == 1:
        return call.add(Affine(shift=first), call.value("other"))
    one, two = _operands(call)
    two = two if alpha == 1 else call.add(Affine(scale=alpha), two, part="alpha")
    return call.add(Add(broadcast=one.shape != two.shape), one, two)


@reads("sub", "sub_")
def subtract(call: AtenCall) -> Value:
    """``alpha`` scales the second operand."""
    number, alpha = _scaled_other(call)
    if number is not None:
        return call.add(Affine(shift=-alpha * number), call.value("self"))
    if (first := call.number("self")) is not None and alpha == 1:
        return call.add(Affine(scale=-1.0, shift=first), call.value("other"))
    one, two = _operands(call)
    two = two if alpha == 1 else call.add(Affine(scale=alpha), two, part="alpha")
    return call.add(Subtract(), one, two)


@reads("rsub")
def subtract_from(call: AtenCall) -> Value:
    """other - alpha self."""
    number, alpha = _scaled_other(call)
    if number is None or alpha != 1:
        raise NotReadError("of two tensors, or with alpha")
    return call.add(Affine(scale=-1.0, shift=number), call.value("self"))


@reads("mul", "mul_")
def multiply(call: AtenCall) -> Value:
    """By a number it is an affine map."""
    for one, other in (("other", "self"), ("self", "other")):
        if (number := call.number(one)) is not None:
            return call.add(Affine(scale=number), call.value(other))
    return call.add(Multiply(), *_operands(call))


@reads("addcmul", "addcmul_")
def add_product(call: AtenCall) -> Value:
    """self + value tensor1 tensor2."""
    x, one, two = call.aligned([call.value(name) for name in ("self", "tensor1", "tensor2")])
    made = call.add(Multiply(), one, two, part="product")
    if call["value"] != 1:
        made = call.add(Affine(scale=float(call["value"])), made, part="scale")
    return call.add(Add(broadcast=x.shape != made.shape), x, made)


@reads("div", "div_")
def divide(call: AtenCall) -> Value:
    """By a number it is an affine map."""
    if call.arguments.get("rounding_mode") is not None:
        raise NotReadError("a division that rounds")
    if (number := call.number("other")) is not None:
        return call.add(Affine(scale=1 / number), call.value("self"))
    return call.add(Divide(), *_operands(call))


@reads("pow", "pow_")
def power(call: AtenCall) -> Value:
    """Of a value by a number, or of two values."""
    if (number := call.number("exponent")) is not None:
        return call.add(Power(exponent=number), call.value("self"))
    one, two = call.aligned([call.value("self"), call.value("exponent")])
    return call.add(PowerOf(), one, two)


@reads("copy_")
def copied(call: AtenCall) -> Any:
    """What is written over a whole tensor: the tensor holds it from then on."""
    source = call["src"]
    if not isinstance(source, Value) or source.shape != call.value("self").shape:
        raise NotReadError("a constant, or a value of another shape, that is written into a tensor")
    return source


@reads("maximum", "minimum", "max", "min")
def extremes(call: AtenCall) -> Any:
    """Of two values, element by element; along an axis without the places."""
    if "dim" in call.arguments and not call["states_are_read"]:
        from cnnbench_torch.reading.reductions import extreme_along

        return extreme_along(call), None
    if "other" not in call.arguments:
        raise NotReadError("of all elements, or with its index: use amax or amin along an axis")
    layer = Maximum() if call.op.startswith("max") else Minimum()
    return call.add(layer, *_operands(call))


@reads("dropout", "dropout_", "alpha_dropout", "feature_dropout", "feature_dropout_")
def dropout(call: AtenCall) -> Value:
    """Its rate is kept; of whole channels there is no such layer here, and it does nothing at inference."""
    x = call.value("input" if "input" in call.arguments else "self")
    if call["train"] and call["p"]:
        raise NotReadError("a dropout that drops at inference too")
    if "feature" in call.op or "alpha" in call.op:
        what = "alpha dropout" if "alpha" in call.op else "dropout of whole channels"
        call.reading.noises += [(call.path, f"{what}, p {call['p']:g}")] if call["p"] else []
        call.reading.notes.append(f"{call.path}: {call.op} with p={call['p']:g} is left out: it acts in training only")
        return x
    return x if call["p"] == 0 else call.add(Dropout(p=float(call["p"])), x)


@reads("softmax", "_softmax", "log_softmax", "_log_softmax")
def softmax(call: AtenCall) -> Value:
    """Along one axis."""
    kind = LogSoftmax if "log" in call.op else Softmax
    return call.add(kind(axis=call["dim"]), call.value("self"))
