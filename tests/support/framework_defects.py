"""The silent defects of released frameworks that cnnbench's checks find when a framework's own call is used plainly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from cnnbench.conformance import LayerCase
from cnnbench.execution.contract import Backend, ProgramOptions
from cnnbench.execution.operations import Operation, Operations
from cnnbench.spec.layers import AvgPool, BatchNorm, Composite, Conv, Linear, MaxPool, Softmax
from cnnbench.spec.layers.arithmetic import Affine
from cnnbench.spec.layers.indexing import GatherIndices
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.resize import Resize


@dataclass(frozen=True, kw_only=True)
class PlainAttention(Composite, kind="plain_attention_of_defects"):
    """softmax(q k^T / sqrt(d)) v of queries, keys and values (N, T, H, d). Shapes: three alike -> (N, T, H, d)."""

    num_inputs = (3, 3)

    def expand(self, builder: Any, *inputs: Any) -> Any:
        from cnnbench.spec.layers.shape import Transpose

        heads = [builder.add(f"heads{i}", Transpose(permutation=(0, 2, 1, 3)), x) for i, x in enumerate(inputs)]
        scores = builder.add("scores", MatMul(transpose_b=True), heads[0], heads[1])
        scaled = builder.add("scaled", Affine(scale=1 / math.sqrt(8)), scores)
        mixed = builder.add("mixed", MatMul(), builder.add("weights", Softmax(axis=-1), scaled), heads[2])
        return builder.add("joined", Transpose(permutation=(0, 2, 1, 3)), mixed)


@dataclass(frozen=True)
class Defect:
    """One defect.

    Args:
        name: Of its test and its reproducer.
        backend, mode, precision: Where it shows. framework, seen: the distribution and the version it was measured in.
        call: The plain op, ``module.function`` of this folder; ``layout`` its weight layout there.
        case: The layer and data on which it shows. check: the check that finds it.
        what: In words. size: of the error, as measured. workaround: what a user does, and what our backend does.
        slow: Whether a compiler is waited for. raises: whether the framework stops instead of answering wrongly.
    """

    name: str
    backend: str
    mode: str
    call: str
    case: LayerCase
    check: str
    what: str
    size: str
    workaround: str
    precision: str = "float32"
    framework: str = ""
    seen: str = ""
    layout: str = ""
    slow: bool = False

    @property
    def options(self) -> ProgramOptions:
        """Of the program."""
        from cnnbench.execution.precision import precision

        return ProgramOptions(self.mode, precision(self.precision))

    @property
    def installed(self) -> str:
        """The version that is here."""
        return version(self.framework)

    def plain(self, backend: Backend) -> Operations:
        """The backend's table with the plain call in place of its own op."""
        module_name, _, function = self.call.partition(".")
        module = import_module(module_name)
        kind = self.case.layer.kind
        own = backend.operations
        layout = getattr(module, self.layout) if self.layout else None
        if kind in own:
            layout = layout or own[kind].weight_layout
        arguments = (getattr(module, function), None, *([layout] if layout else []))
        return own.replace(kind, Operation(*arguments))


def _with_nans(generator: Any, shape: tuple[int, ...]) -> Any:
    return np.where(generator.random(shape) < 0.2, np.nan, generator.normal(size=shape))


def _of_two_rows(generator: Any, shape: tuple[int, ...]) -> Any:
    return generator.integers(0, 2, shape)


DEPTHWISE = Conv(out_channels=4, kernel_size=2, stride=2, dilation=2, groups=4)
ROWS = LayerCase(GatherIndices(), ((3, 4), (700,)), draws=(None, _of_two_rows), batched=(False, True), positive=True)
FAR = LayerCase(BatchNorm(), ((4, 8, 10),), shift=300.0)

_TORCH = (
    Defect(
        name="torch_compiled_avg_pool_gradient",
        backend="torch",
        mode="compile",
        call="plain_torch.avg_pool2d",
        case=LayerCase(AvgPool(kernel_size=3, stride=2, padding=1, ceil_mode=True), ((3, 6, 8),)),
        check="gradient",
        what="`avg_pool2d` with `ceil_mode` and `count_include_pad`: under `torch.compile` the gradient divides the "
        "windows that reach beyond the padding by another count than the forward pass. Eager is right.",
        size="0.124 for 0.306",
        workaround="pad first, sum with `divisor_override=1` and divide by the counts",
        slow=True,
    ),
    Defect(
        name="torch_conv2d_without_mkldnn",
        backend="torch",
        mode="eager",
        call="plain_torch.conv2d_without_mkldnn",
        case=LayerCase(Conv(out_channels=8, kernel_size=3, padding=1), ((64, 8, 8),), batch=16),
        check="exact",
        what="`conv2d` of 16 images and more where oneDNN is off (`torch.backends.mkldnn`): another algorithm "
        "(Winograd) answers, which is not exact on small integers and errs ten times as much.",
        size="7.9972 for 8; 1.4 times the sharp budget, where oneDNN uses 0.07",
        workaround="leave oneDNN on, or admit a Winograd constant",
    ),
    Defect(
        name="torch_embedding_gradient_in_bfloat16",
        backend="torch",
        mode="eager",
        call="plain_torch.rows_by_embedding",
        case=ROWS,
        check="gradient",
        precision="bfloat16",
        what="`functional.embedding` in bfloat16: the gradient of a row that is read often is summed in bfloat16.",
        size="478 for 541 after 700 positive terms",
        workaround="read a float32 table and cast the rows: the gradient is then summed in float32",
    ),
)
_JAX = (
    Defect(
        name="jax_reduce_window_in_bfloat16",
        backend="jax",
        mode="jit",
        call="plain_jax.reduce_window_mean",
        case=LayerCase(AvgPool(kernel_size=4, stride=2), ((3, 12, 12),)),
        check="local",
        precision="bfloat16",
        what="`lax.reduce_window` with `lax.add` in bfloat16 holds its sum in bfloat16.",
        size="0.00049 for 0.00096 (16 terms)",
        workaround="cast to float32 before the window, and back",
    ),
    Defect(
        name="jax_segment_sum_in_bfloat16",
        backend="jax",
        mode="jit",
        call="plain_jax.rows_by_segment_sum",
        case=ROWS,
        check="gradient",
        precision="bfloat16",
        what="`jax.ops.segment_sum` in bfloat16 holds its sums in bfloat16; so does the gradient of `jnp.take`.",
        size="478 for 541 after 700 positive terms",
        workaround="cast to float32 before, and back",
    ),
    Defect(
        name="jax_take_gradient_in_bfloat16",
        backend="jax",
        mode="jit",
        call="plain_jax.rows_by_take",
        case=ROWS,
        check="gradient",
        precision="bfloat16",
        what="The gradient of `jnp.take` in bfloat16 is a scatter that is summed in bfloat16.",
        size="478 for 541 after 700 positive terms",
        workaround="take from a float32 table and cast what was taken",
    ),
    Defect(
        name="jax_bias_gradient_in_bfloat16",
        backend="jax",
        mode="jit",
        call="plain_jax.conv_with_bias",
        case=LayerCase(Conv(out_channels=4, kernel_size=1), ((3, 16, 16),), batch=6, positive=True),
        check="gradient",
        precision="bfloat16",
        what="`y + bias` in bfloat16 under `jit` on the host: the gradient of the bias, a sum over images and "
        "positions, is held in bfloat16.",
        size="616 for 1222 after 1,536 positive terms",
        workaround="add in float32 and cast: the gradient is then summed in float32",
    ),
    Defect(
        name="flax_fast_variance",
        backend="jax",
        mode="jit",
        call="plain_jax.fast_variance_batch_norm",
        case=FAR,
        check="local",
        framework="jax",
        what="flax's `BatchNorm` computes the variance as E[x^2] - E[x]^2 (`use_fast_variance=True`), which cancels "
        "where the mean is large.",
        size="2.740 for 2.679 at mean 300, standard deviation 1; the error grows with the mean's square",
        workaround="`use_fast_variance=False`, or two passes",
    ),
    Defect(
        name="jax_dot_product_attention_in_float64",
        backend="jax",
        mode="jit",
        call="plain_jax.attention",
        case=LayerCase(PlainAttention(), ((5, 2, 8),) * 3),
        check="local",
        precision="float64",
        what="`jax.nn.dot_product_attention` takes its softmax in float32 whatever the type of its operands.",
        size="float64 in and out, correct to seven digits",
        workaround="write it as two products and a softmax",
    ),
)
_TENSORFLOW = (
    Defect(
        name="tensorflow_depthwise_dilated_and_strided",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.depthwise_conv2d",
        layout="DEPTHWISE",
        case=LayerCase(Conv(out_channels=4, kernel_size=3, stride=2, dilation=2, padding=2, groups=4), ((4, 9, 8),)),
        check="local",
        what="`tf.nn.depthwise_conv2d` with dilation and stride is wrong in every mode; it warns, and answers.",
        size="4.78 for 0.33",
        workaround="a dilated kernel as one with zeros between its elements, or `keras.ops.depthwise_conv`",
    ),
    Defect(
        name="tensorflow_depthwise_native_gradient",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.depthwise_native",
        layout="DEPTHWISE",
        case=LayerCase(DEPTHWISE, ((4, 11, 11),)),
        check="gradient",
        what="`DepthwiseConv2dNative` with dilation: forward is right, the gradient under oneDNN ignores the "
        "dilation (for some kernels it stops with an error instead). XLA is right.",
        size="-8.08 for 0",
        workaround="a dilated kernel as one with zeros between its elements",
    ),
    Defect(
        name="tensorflow_conv2d_of_no_images",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.padded_conv2d",
        case=LayerCase(Conv(out_channels=4, kernel_size=3), ((3, 8, 8),), batch=0),
        check="local",
        what="`tf.nn.conv2d` of a batch of no images returns the input's shape (oneDNN), channels included; "
        "`tf.nn.depthwise_conv2d` likewise.",
        size="shape (0, 8, 8, 3) for (0, 6, 6, 4)",
        workaround="ask for the static shape, or return early where there are no images",
    ),
    Defect(
        name="tensorflow_max_pool_drops_nan",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.max_pool2d",
        case=LayerCase(MaxPool(kernel_size=2), ((2, 4, 4),), draws=(_with_nans,)),
        check="local",
        what="`tf.nn.max_pool2d` leaves NaN out, where PyTorch and JAX hand it on: a diverged network looks alive.",
        size="2.03 for NaN",
        workaround="`tf.debugging.check_numerics`; cnnbench's end-to-end check reports NaN by name",
    ),
    Defect(
        name="tensorflow_xla_fused_batch_norm",
        backend="tensorflow",
        mode="xla",
        call="plain_tensorflow.fused_batch_norm",
        case=FAR,
        check="local",
        what="The fused batch norm under XLA takes its variance as E[x^2] - E[x]^2; without XLA it is right.",
        size="2.740 for 2.679 at mean 300, standard deviation 1; the running variance is 13,600 budgets off",
        workaround="batch statistics in two passes under XLA",
        slow=True,
    ),
    Defect(
        name="tensorflow_bias_add_gradient_in_bfloat16",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.linear_bias_add",
        case=LayerCase(Linear(out_features=3), ((4,),), batch=1500, positive=True),
        check="gradient",
        precision="bfloat16",
        what="The gradient of `tf.nn.bias_add` in bfloat16 is summed in bfloat16, and stops growing.",
        size="624 for 1202 after 1,500 positive terms; 94 % are lost after 8,000",
        workaround="`y + bias`",
    ),
    Defect(
        name="tensorflow_explicit_padding_filter_gradient_in_bfloat16",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.explicit_conv2d",
        case=LayerCase(
            Conv(out_channels=4, kernel_size=3, padding=1, bias=False), ((3, 16, 16),), batch=8, positive=True
        ),
        check="gradient",
        precision="bfloat16",
        what="The filter's gradient of `tf.nn.conv2d` in bfloat16 with explicit padding is summed in bfloat16; with "
        "VALID or SAME it is not.",
        size="1056 for 1259",
        workaround="`tf.pad`, then VALID",
    ),
    *(
        Defect(
            name=f"tensorflow_xla_bilinear_{before}_to_{after}",
            backend="tensorflow",
            mode="xla",
            call="plain_tensorflow.resize_bilinear",
            case=LayerCase(Resize(size=(after, after), mode="linear"), ((2, before, before),)),
            check="local",
            what=f"`tf.image.resize`, bilinear at half-pixel centres, under XLA from {before} to {after}: rows and "
            "columns are taken from the wrong place. Without XLA, and from most sizes, it is right.",
            size=size,
            workaround="the resize as a product with its matrix of weights",
            slow=True,
        )
        for before, after, size in (
            (5, 9, "2.03 for -0.30"),
            (9, 17, "2.17 for -0.60"),
            (10, 18, "-1.62 for 0.54"),
            (4, 20, "1.02 for 0.06"),
        )
    ),
)
SEEN: Mapping[str, str] = {"torch": "2.13.0", "jax": "0.10.2", "tensorflow": "2.21.0"}


@cache
def defects() -> dict[str, Defect]:
    """Every defect by name."""
    from dataclasses import replace

    found = {}
    for item in (*_TORCH, *_JAX, *_TENSORFLOW):
        framework = item.framework or item.backend
        found[item.name] = replace(item, framework=framework, seen=item.seen or SEEN[framework])
    return found


@dataclass(frozen=True)
class Bare:
    """A defect that no graph of cnnbench reaches (it refuses the shape, or does not offer the type): shown bare."""

    name: str
    backend: str
    show: Callable[[], str | None]
    what: str
    size: str
    workaround: str
    seen: str = field(default="")
