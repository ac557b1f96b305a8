"""The silent defects of JAX that cnnbench's checks find."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from known_defect import FAR, ROWS, ChainCase, Defect, near, signed_zeros, zeros

from cnnbench.conformance import LayerCase
from cnnbench.spec.composites import Composite
from cnnbench.spec.layers import AvgPool, Conv, GlobalAvgPool, ReLU, Softmax
from cnnbench.spec.layers.arithmetic import Affine, Elementwise
from cnnbench.spec.layers.linear import MatMul
from cnnbench.spec.layers.merge import PowerOf
from cnnbench.spec.layers.reduction import Reduce, TopK


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


DEFECTS = (
    Defect(
        name="jax_relu_of_nan_within_a_sum",
        backend="jax",
        mode="jit",
        call="plain_jax.relu",
        case=ChainCase(ReLU(), after=GlobalAvgPool()),
        check="special",
        what="`jax.nn.relu`, or `jnp.maximum` with 0, before a sum or mean under `jit` on the host: XLA fuses them, "
        "and NaN counts as 0: a diverged network looks alive. Small images and ReLU alone are right.",
        size="0.42 for NaN",
        workaround="`jnp.where(x <= 0, 0, x)`, which is as fast or faster",
    ),
    Defect(
        name="jax_maximum_of_nan",
        backend="jax",
        mode="jit",
        call="plain_jax.reduce_maximum",
        case=ChainCase(Reduce(function="max", axes=(1,))),
        check="special",
        what="`jnp.max` and `jnp.min` along an axis that is not the last, under `jit` on the host, pass over NaN where "
        "the rows are wide; of small images they do not.",
        size="-inf for NaN",
        workaround="NaN where `jnp.any(jnp.isnan(x))`",
    ),
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
        what="`jax.nn.dot_product_attention` casts the products of queries and keys to float32 for its softmax, "
        "whatever the type of its operands: the two products are float64, the weights between them are not.",
        size="float64 in and out, correct to seven digits",
        workaround="write it as two products and a softmax",
    ),
    Defect(
        name="jax_log1p_in_float64",
        backend="jax",
        mode="jit",
        call="plain_jax.log1p",
        case=LayerCase(Elementwise(function="log1p"), ((64,),), draws=(near(-0.413, 0.002),)),
        check="local",
        precision="float64",
        what="`jnp.log1p` in float64 on the host loses up to eight bits between -0.414 and -0.365.",
        size="235 roundings off at -0.414",
        workaround="Kahan's correction: u = 1 + x, log(u) x / (u - 1)",
    ),
    Defect(
        name="jax_arctanh_in_float64",
        backend="jax",
        mode="jit",
        call="plain_jax.arctanh",
        case=LayerCase(Elementwise(function="atanh"), ((64,),), draws=(near(0.413, 0.002),)),
        check="local",
        precision="float64",
        what="`jnp.arctanh` in float64 on the host is made of `log1p`, and loses what that loses.",
        size="144 roundings off at 0.414",
        workaround="(log1p(x) - log1p(-x)) / 2 with the corrected `log1p`",
    ),
    Defect(
        name="jax_power_gradient_at_zero",
        backend="jax",
        mode="jit",
        call="plain_jax.power",
        case=LayerCase(PowerOf(), ((16,), (16,)), draws=(zeros, zeros)),
        check="gradient",
        what="The gradient of `jnp.power(x, y)` with respect to x at x = 0, y = 0 is NaN where y is an array (0 times "
        "0 to the power -1); of the constant x ** 0 it is 0.",
        size="NaN for 0",
        workaround="raise 1 instead of x where the exponent is 0",
    ),
    Defect(
        name="jax_top_k_of_signed_zeros",
        backend="jax",
        mode="jit",
        call="plain_jax.top_k",
        case=LayerCase(TopK(k=8), ((8,),), draws=(signed_zeros,)),
        check="local",
        what="`lax.top_k` orders -0 below 0, which are equal, so that the first of equals need not come first: after a "
        "ReLU written as `x * (x > 0)`, the zeros of negative values come last. `jnp.sort`, `jnp.argsort` and "
        "`jnp.argmax` take them as equal.",
        size="positions 3, 1, 0, 2 of (-0, 0, -0, 1), where 3, 0, 1, 2 is right",
        workaround="`jnp.where(x == 0, 0, x)` before, and the values by their positions",
    ),
)
