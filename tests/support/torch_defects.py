"""The silent defects of PyTorch that cnnbench's checks find."""

from __future__ import annotations

from known_defect import ROWS, ChainCase, Defect, near

from cnnbench.conformance import LayerCase
from cnnbench.spec.layers import AvgPool, Conv
from cnnbench.spec.layers.arithmetic import Elementwise
from cnnbench.spec.layers.conv_transpose import ConvTranspose
from cnnbench.spec.layers.rectifier import HardSigmoid
from cnnbench.spec.layers.recurrent import GRU
from cnnbench.spec.layers.resize import Resize
from cnnbench.spec.layers.smooth import ELU, GELU
from cnnbench.spec.layers.standardization import GroupNorm, InstanceNorm

DEFECTS = (
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
        name="torch_conv_transpose_in_float16",
        kernels="less than AVX512-FP16",
        backend="torch",
        mode="eager",
        call="plain_torch.conv_transpose2d",
        case=LayerCase(ConvTranspose(out_channels=4, kernel_size=3), ((8, 6, 6),), positive=True),
        check="local",
        precision="float16",
        what="`conv_transpose1d`, `2d` and `3d` in float16 on the host round the products of every tap to float16 and "
        "sum them in float16. bfloat16 is summed in float32, and so is float16 in `conv2d`.",
        size="up to 3 half units in the last place, where one is right",
        workaround="compute in float32 and cast the result",
    ),
    Defect(
        name="torch_pointwise_conv_in_bfloat16_beside_infinity",
        kernels="AVX-512 in bfloat16",
        backend="torch",
        mode="eager",
        call="plain_torch.pointwise",
        case=LayerCase(Conv(out_channels=2, kernel_size=1), ((3, 6, 6),)),
        check="special",
        precision="bfloat16",
        what="Pointwise `conv2d` in bfloat16 (`channels_last`, oneDNN on the host) of an odd number of channels adds 0 "
        "times a value of the next pixel: one infinity makes NaN of a neighbour that is finite.",
        size="NaN for 0.21",
        workaround="nothing: the backend declares it",
        declared=True,
    ),
    Defect(
        name="torch_gelu_of_infinity",
        kernels="AVX-512",
        backend="torch",
        mode="eager",
        call="plain_torch.gelu",
        case=LayerCase(GELU(), ((64,),)),
        check="special",
        what="`functional.gelu` in its exact form (oneDNN on the host) of infinity where a tensor holds more than one "
        "value. Of a single value, and in the form with tanh, it is infinity.",
        size="NaN for inf, and inf for 3e38",
        workaround="nothing: the backend declares it",
        declared=True,
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
    Defect(
        name="torch_compiled_expm1",
        backend="torch",
        mode="compile",
        call="plain_torch.elu",
        case=LayerCase(ELU(), ((64,),), draws=(near(-1e-6, 9e-7),)),
        check="local",
        what="`torch.expm1`, and `elu`, `celu` and `selu` with it, under `torch.compile` on the host: Inductor writes "
        "exp(x) - 1, which cancels near 0. Eager is right.",
        size="-1.2517e-6 for elu(-1.28e-6) = -1.28e-6",
        workaround="2 sinh(x / 2) exp(x / 2)",
        slow=True,
    ),
    Defect(
        name="torch_compiled_erf",
        backend="torch",
        mode="compile",
        call="plain_torch.erf",
        case=LayerCase(Elementwise(function="erf"), ((64,),), draws=(near(1e-5, 9e-6),)),
        check="local",
        what="`torch.erf` in float32 under `torch.compile` on the host: Inductor calls a form whose error is 1e-7, "
        "however small the result. Eager is right, by another library.",
        size="1.10864e-5 for 1.12838e-5 at 1e-5, 0 for 1.128e-7 at 1e-7",
        workaround="`torch.erf(x.double()).float()`",
        slow=True,
    ),
    Defect(
        name="torch_compiled_atanh",
        backend="torch",
        mode="compile",
        call="plain_torch.atanh",
        case=LayerCase(Elementwise(function="atanh"), ((64,),), draws=(near(1e-5, 9e-6),)),
        check="local",
        what="`torch.atanh` under `torch.compile` on the host: Inductor writes log((1 + x) / (1 - x)) / 2, which "
        "cancels near 0. Eager is right.",
        size="1.0013e-5 for 1e-5, 1.192e-7 for 1e-7",
        workaround="sign(x) log1p(2 |x| / (1 - |x|)) / 2",
        slow=True,
    ),
    Defect(
        name="torch_compiled_gru_gradient",
        backend="torch",
        mode="compile",
        call="plain_torch.gru",
        case=LayerCase(GRU(hidden_size=4), ((5, 3),)),
        check="gradient",
        what="`torch.gru` whose sequence `y` and last state `h[0]` are both returned, under `torch.compile` on the "
        "host: Inductor overwrites in place what the gradient of the recurrent weights still needs. Eager is right, "
        "and so is Inductor where `h` is returned whole, or with `torch._inductor.config.inplace_buffers = False`.",
        size="0.220 for 0.011; off by 0.4 to 2 times the largest gradient in twelve runs of six shapes",
        workaround="the formula, step by step",
        slow=True,
    ),
    Defect(
        name="torch_hardsigmoid_gradient_in_float64",
        backend="torch",
        mode="eager",
        call="plain_torch.hardsigmoid",
        case=LayerCase(HardSigmoid(), ((16,),)),
        check="gradient",
        precision="float64",
        what="The gradient of `functional.hardsigmoid` in float64 is 1/6 rounded to float32.",
        size="0.16666667163 for 0.16666666667",
        workaround="`torch.clamp(x / 6 + 0.5, 0, 1)`",
    ),
    Defect(
        name="torch_interpolate_nearest",
        backend="torch",
        mode="eager",
        call="plain_torch.interpolate_nearest",
        case=LayerCase(
            Resize(size=(82, 4), mode="nearest", coordinates="asymmetric", nearest_rounding="floor"), ((1, 2, 4),)
        ),
        check="local",
        what="`interpolate(mode='nearest')` multiplies the position by the factor in float32, and for some pairs of "
        "sizes rounds to the wrong neighbour: 59 of the 7,021 pairs up to 59 and 119, 2 to 82 among them "
        "(`nearest-exact`: 126 pairs, 2 to 61 among them).",
        size="position 41 of 82 takes row 0 of 2 for row 1",
        workaround="`index_select` with positions in integers",
    ),
    Defect(
        name="torch_group_norm_channels_last",
        backend="torch",
        mode="eager",
        call="plain_torch.group_norm",
        case=LayerCase(GroupNorm(groups=2), ((8, 10, 10),), shift=1000.0),
        check="local",
        what="`group_norm` of images in the memory format `channels_last` takes the variance as E[x^2] - E[x]^2, which "
        "cancels where the mean is large; of contiguous images it does not.",
        size="0.33 off at mean 1000, standard deviation 1 (contiguous: 0.00006)",
        workaround="subtract the mean first, or make the image contiguous",
    ),
    Defect(
        name="torch_instance_norm_gradient_of_one_image",
        backend="torch",
        mode="eager",
        call="plain_torch.instance_norm",
        case=LayerCase(InstanceNorm(affine=True), ((4, 6, 6),), batch=1),
        check="gradient",
        what="`instance_norm` of a single image whose gradient arrives in the memory format `channels_last`, as the "
        "convolution above hands it back: all three gradients read it in another order.",
        size="up to 5 off where values are of size 1; with two images none",
        workaround="`group_norm` with a group for each channel",
    ),
    Defect(
        name="torch_sign_of_nan",
        backend="torch",
        mode="eager",
        call="plain_torch.sign",
        case=ChainCase(Elementwise(function="sign")),
        check="special",
        what="`torch.sign` of NaN is 0, where NumPy, JAX and TensorFlow have NaN.",
        size="0 for NaN",
        workaround="`torch.where(x.isnan(), x, x.sign())`",
    ),
)
