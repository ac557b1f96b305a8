"""The silent defects of ONNX Runtime that cnnbench's checks find."""

from __future__ import annotations

from typing import Any

from known_defect import Defect, near, with_nans

from cnnbench.conformance import LayerCase
from cnnbench.spec.layers import GlobalMaxPool, GroupNorm, LocalResponseNorm, MaxPool, Sigmoid
from cnnbench.spec.layers.activation import Hardmax
from cnnbench.spec.layers.reduction import ArgReduce
from cnnbench.spec.layers.smooth import ELU, SELU, SiLU


def _one_large(generator: Any, shape: tuple[int, ...]) -> Any:
    """Normal values, the first channel a thousand times as large."""
    values = generator.normal(size=shape)
    values[:, 0] *= 1000
    return values


EXPORTED = "plain_onnxruntime.exported"
IMAGE = ((4, 6, 6),)
PASSES_OVER = "compares by `>` alone, and so passes over NaN"
DEFECTS = (
    *(
        Defect(
            name=f"onnxruntime_{layer.kind}_near_zero",
            backend="onnxruntime",
            mode="optimized",
            call=EXPORTED,
            case=LayerCase(layer, ((64,),), draws=(near(-1e-6, 9e-7),)),
            check="local",
            what=f"`{name}` subtracts one from the exponential, which cancels near 0.",
            size=size,
            workaround="tanh(x / 2) (exp(x) + 1) for exp(x) - 1",
        )
        for layer, name, size in ((ELU(), "Elu", "-1.19e-7 for -1.46e-7"), (SELU(), "Selu", "-2.10e-7 for -2.56e-7"))
    ),
    Defect(
        name="onnxruntime_sigmoid_of_negative_values",
        backend="onnxruntime",
        mode="optimized",
        call=EXPORTED,
        case=LayerCase(Sigmoid(), ((64,),), draws=(near(-20.0, 10.0),)),
        check="local",
        what="`Sigmoid` is a rational function that is right to 6e-8 of one: small results lose their digits, and "
        "below -18 it gives 0.",
        size="6.0e-8 for 1.6e-8",
        workaround="1 / (1 + exp(-x)) by `Exp`",
    ),
    Defect(
        name="onnxruntime_silu_of_negative_values",
        backend="onnxruntime",
        mode="optimized",
        call=EXPORTED,
        case=LayerCase(SiLU(), ((64,),), draws=(near(-20.0, 10.0),)),
        check="local",
        what="x `Sigmoid`(x), which the graph optimisation makes one kernel of, for the same reason.",
        size="-1.07e-6 for -2.81e-7",
        workaround="x / (1 + exp(-x)) by `Exp`",
    ),
    Defect(
        name="onnxruntime_group_norm_of_a_large_mean",
        backend="onnxruntime",
        mode="optimized",
        call=EXPORTED,
        case=LayerCase(GroupNorm(groups=2), IMAGE, shift=1000.0),
        check="local",
        what="`GroupNormalization` runs as ONNX's own function of it, with the variance as E[x^2] - E[x]^2, "
        "which cancels where the mean is large against the deviation; NaN where it comes out below minus epsilon.",
        size="0.034 for -0.040 at mean 1000, deviation 1",
        workaround="`InstanceNormalization` of the groups, which centres first",
    ),
    Defect(
        name="onnxruntime_lrn_slides_its_sum",
        backend="onnxruntime",
        mode="optimized",
        call=EXPORTED,
        case=LayerCase(LocalResponseNorm(size=3, alpha=1.0), ((8, 4, 4),), draws=(_one_large,)),
        check="local",
        what="`LRN` adds the next channel's square to its sum and subtracts the last one's: behind a large value the "
        "rest of its rounding stays, and behind an infinite one NaN.",
        size="0.210 for 0.185",
        workaround="`AveragePool` of the squares along the channels",
    ),
    *(
        Defect(
            name=f"onnxruntime_{layer.kind}_of_nan",
            backend="onnxruntime",
            mode="optimized",
            call=EXPORTED,
            case=LayerCase(layer, IMAGE, draws=(with_nans,)),
            check=check,
            what=f"`{name}` {PASSES_OVER}{more}.",
            size=size,
            workaround="nothing: the backend declares it",
            declared=True,
        )
        for layer, name, check, more, size in (
            (MaxPool(kernel_size=2), "MaxPool", "special", "", "the largest other value for NaN"),
            (GlobalMaxPool(), "GlobalMaxPool", "special", "", "the largest other value for NaN"),
            (
                ArgReduce(function="argmax"),
                "ArgMax",
                "local",
                ", which NumPy, PyTorch and JAX take for the largest",
                "another position",
            ),
            (Hardmax(), "Hardmax", "local", "", "1 at another position"),
        )
    ),
)
