"""The silent defects of TensorFlow that cnnbench's checks find."""

from __future__ import annotations

from known_defect import FAR, ChainCase, Defect, near, with_nans, zeros

from cnnbench.conformance import LayerCase
from cnnbench.spec.layers import Conv, Linear, MaxPool, ReLU, Softmax
from cnnbench.spec.layers.arithmetic import Elementwise
from cnnbench.spec.layers.merge import PowerOf
from cnnbench.spec.layers.rectifier import LeakyReLU, ReLU6
from cnnbench.spec.layers.reduction import ArgReduce, Reduce
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.layers.smooth import ELU, GELU, Mish, SiLU

DEPTHWISE = Conv(out_channels=4, kernel_size=2, stride=2, dilation=2, groups=4)
CONV = Conv(out_channels=4, kernel_size=3, padding=1)
DEFECTS = (
    *(
        Defect(
            name=f"tensorflow_fused_{layer.kind}_of_nan",
            kernels="oneDNN",
            backend="tensorflow",
            mode="graph",
            call=f"plain_tensorflow.{layer.kind}",
            case=ChainCase(layer, before=CONV),
            check="special",
            what=f"`tf.nn.{layer.kind}` behind a convolution or product and its bias within `tf.function`: the kernel "
            "that Grappler makes of them gives 0 for NaN. Eager is right.",
            size="0 for NaN",
            workaround=instead,
            declared=True,
        )
        for layer, instead in (
            (ReLU(), "`tf.maximum(0, x)`, which takes up to 10 % longer: our backend declares it"),
            (ReLU6(), "a maximum and a minimum, which take 6 to 14 % longer: our backend declares it"),
        )
    ),
    Defect(
        name="tensorflow_max_pool_of_minus_infinity",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.max_pool2d",
        case=ChainCase(MaxPool(kernel_size=2)),
        check="special",
        what="`tf.nn.max_pool2d` of a window of -inf gives the smallest finite number.",
        size="-3.4e38 for -inf",
        workaround="nothing: our backend declares it",
        declared=True,
    ),
    Defect(
        name="tensorflow_softmax_of_nan",
        kernels="oneDNN",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.softmax",
        case=ChainCase(Softmax()),
        check="special",
        what="`tf.nn.softmax` of a row with NaN or +inf is NaN at their places alone, and 0 elsewhere; under XLA the "
        "whole row is NaN, and so is `tf.nn.log_softmax`.",
        size="0 for NaN",
        workaround="`tf.exp(tf.nn.log_softmax(x))`: our backend declares it",
        declared=True,
    ),
    Defect(
        name="tensorflow_maximum_of_roots",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.reduce_maximum",
        case=ChainCase(Reduce(function="max", axes=(1,)), before=Elementwise(function="sqrt")),
        check="special",
        what="`tf.reduce_max` of `tf.sqrt` or `tf.math.log` within `tf.function`: Grappler takes the maximum first, so "
        "that NaN of a negative value is lost. Eager is right.",
        size="0.57 for NaN",
        workaround="NaN where `tf.reduce_any(tf.math.is_nan(x))`",
    ),
    Defect(
        name="tensorflow_xla_maximum_of_nan",
        backend="tensorflow",
        mode="xla",
        call="plain_tensorflow.reduce_maximum",
        case=ChainCase(Reduce(function="max", axes=(1,))),
        check="special",
        what="`tf.reduce_max` and `tf.reduce_min` under XLA pass over NaN. Without XLA they are right.",
        size="-inf for NaN",
        workaround="NaN where `tf.reduce_any(tf.math.is_nan(x))`",
        slow=True,
    ),
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
        kernels="oneDNN",
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
        case=LayerCase(MaxPool(kernel_size=2), ((2, 4, 4),), draws=(with_nans,)),
        check="local",
        what="`tf.nn.max_pool2d` leaves NaN out, where PyTorch and JAX hand it on: a diverged network looks alive.",
        size="2.03 for NaN",
        workaround="`tf.debugging.check_numerics`; cnnbench's end-to-end check reports NaN by name",
        declared=True,
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
    Defect(
        name="tensorflow_elu_near_zero",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.elu",
        case=LayerCase(ELU(), ((64,),), draws=(near(-1e-6, 9e-7),)),
        check="local",
        what="`tf.nn.elu` and `tf.nn.selu` compute exp(x) - 1, which cancels near 0.",
        size="-1.2517e-6 for elu(-1.28e-6) = -1.28e-6, -2.2006e-6 for selu = -2.2504e-6",
        workaround="`tf.where(x > 0, x, tf.math.expm1(tf.minimum(x, 0)))`",
    ),
    Defect(
        name="tensorflow_mish_in_graphs",
        kernels="oneDNN",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.mish",
        case=LayerCase(Mish(), ((64,),), draws=(near(-18.0, 7.0),)),
        check="local",
        what="`x * tf.tanh(tf.nn.softplus(x))` within `tf.function`: Grappler replaces it by oneDNN's mish, which "
        "loses small results. Eager is right.",
        size="-5.36e-6 for -4.59e-6 at -15, 0 for -4.1e-8 at -20 and below",
        workaround="`-x * tf.tanh(-tf.nn.softplus(x))`, which is not recognised",
    ),
    *(
        Defect(
            name=f"tensorflow_{layer.kind}_in_float64",
            backend="tensorflow",
            mode="graph",
            call=f"plain_tensorflow.{layer.kind}",
            case=LayerCase(layer, ((64,),)),
            check="local",
            precision="float64",
            what=what,
            size=size,
            workaround="the formula, written out",
        )
        for layer, what, size in (
            (GELU(), "`tf.nn.gelu` in float64 rounds the root of 1/2 to float32.", "5e-9 off between -3 and 3"),
            (SiLU(beta=1.7), "`tf.nn.silu` in float64 rounds `beta` to float32.", "7e-9 off at beta 1.7"),
            (
                LeakyReLU(negative_slope=0.1),
                "`tf.nn.leaky_relu` in float64 rounds `alpha` to float32.",
                "4e-9 off at alpha 0.1",
            ),
        )
    ),
    *(
        Defect(
            name=f"tensorflow_resize_nearest_{name}",
            backend="tensorflow",
            mode="graph",
            call="plain_tensorflow.resize_nearest",
            case=LayerCase(
                Resize(size=(after, 4), mode="nearest", coordinates=coordinates, nearest_rounding=rounding),
                ((1, 2, 4),),
            ),
            check="local",
            what=f"{call} multiplies the position by the factor in float32, and for some pairs of sizes rounds to the "
            f"wrong neighbour: {count} of the 7,021 pairs up to 59 and 119, 2 to {after} among them.",
            size="row 0 of 2 for row 1",
            workaround="`tf.gather` with positions in integers",
        )
        for name, call, coordinates, rounding, after, count in (
            ("asymmetric", "`tf.compat.v1.image.resize_nearest_neighbor`", "asymmetric", "floor", 82, 59),
            ("half_pixel", "`tf.image.resize(method='nearest')`", "half_pixel", "round_prefer_ceil", 41, 136),
        )
    ),
    Defect(
        name="tensorflow_argmax_passes_over_nan",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.argmax",
        case=LayerCase(ArgReduce(function="argmax"), ((10, 4),), draws=(with_nans,)),
        check="local",
        what="`tf.argmax` passes over NaN, where NumPy, PyTorch and JAX give its position; `tf.reduce_max` of the same "
        "values is NaN.",
        size="2 for 1 of [1, NaN, 2]",
        workaround="`tf.debugging.check_numerics`, or the position of the first NaN where there is one",
    ),
    Defect(
        name="tensorflow_power_gradient_at_zero",
        backend="tensorflow",
        mode="graph",
        call="plain_tensorflow.power",
        case=LayerCase(PowerOf(), ((16,), (16,)), draws=(zeros, zeros)),
        check="gradient",
        what="The gradient of `tf.pow(x, y)` with respect to x at x = 0, y = 0 is NaN (0 times 0 to the power -1).",
        size="NaN for 0",
        workaround="raise 1 instead of x where the exponent is 0",
    ),
)
