"""The networks whose live modules are read: their names, the common families first, and each with random weights."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import Any, NamedTuple

from networks import LARGEST, keras_network, num_parameters, torch_network  # those of benchmarks/exporters

SOURCES = ("torchvision", "timm", "keras", "flax", "equinox")
NEEDED = {
    "torchvision": ("torch", "torchvision"),
    "timm": ("torch", "timm"),
    "keras": ("tensorflow", "keras"),
    "flax": ("jax", "flax"),
    "equinox": ("jax", "equinox"),
}
"""The packages that a source's networks need."""
TIMM = (
    "resnet18 resnet26d vgg11 densenet121 inception_v3 efficientnet_b0 mobilenetv2_050 mobilenetv3_small_050 "
    "regnetx_002 convnext_atto vit_tiny_patch16_224 deit_tiny_patch16_224 swin_tiny_patch4_window7_224 "
    "mixer_s32_224 resnetv2_18 tf_efficientnetv2_b0 tf_efficientnet_lite0 ghostnet_050 rexnet_100 "
    "seresnext26d_32x4d skresnet18 res2net50_26w_4s resnest14d hrnet_w18_small dla34 dpn48b cspresnet50 "
    "cs3darknet_focus_s ese_vovnet19b_slim_dw selecsls42 tresnet_m xception41 legacy_xception inception_v4 "
    "inception_resnet_v2 nasnetalarge pnasnet5large mnasnet_small mixnet_s hardcorenas_b lcnet_050 tinynet_e "
    "repvgg_a0 repvit_m1 mobileone_s0 repghostnet_050 fastvit_t8 mobilevit_xxs mobilevitv2_050 edgenext_xx_small "
    "efficientformer_l1 efficientformerv2_s0 efficientvit_b0 efficientvit_m0 maxvit_tiny_tf_224 coatnet_nano_rw_224 "
    "coat_tiny convit_tiny cait_xxs24_224 crossvit_tiny_240 levit_128s pit_ti_224 pvt_v2_b0 twins_svt_small "
    "xcit_nano_12_p8_224 beit_base_patch16_224 nest_tiny visformer_tiny volo_d1_224 tnt_s_legacy_patch16_224 "
    "gmlp_ti16_224 resmlp_12_224 convmixer_768_32 poolformer_s12 poolformerv2_s12 swinv2_tiny_window8_256 "
    "davit_tiny focalnet_tiny_srf gcvit_xxtiny tiny_vit_5m_224 inception_next_atto starnet_s050 fasternet_t0 "
    "swiftformer_xs hgnetv2_b0 test_nfnet test_mambaout halonet_h1 mvitv2_tiny hiera_tiny_224 nextvit_small "
    "sequencer2d_s vit_relpos_small_patch16_224 eva02_tiny_patch14_224 vitamin_small_224 rdnet_tiny "
)
"""A small network of each family."""


class Subject(NamedTuple):
    """A network.

    Args:
        model: As a function of the user's gives it.
        shape: Of an image, in its own layout.
        pixels: Whether it prepares its images itself, which are given as numbers from 0 to 255.
    """

    framework: str
    model: Any
    shape: tuple[int, ...]
    pixels: bool = False


class TooLargeError(Exception):
    """A network that is left out for its size."""


def missing(source: str) -> list[str]:
    """The packages that are not here."""
    return [package for package in NEEDED[source] if find_spec(package) is None]


def names(source: str) -> list[str]:
    """The names of a source's networks, one of each family first."""
    if source == "timm":
        return TIMM.split()
    found = {"torchvision": _torchvision, "keras": _keras, "flax": _flax, "equinox": _equinox}[source]()
    first = {family: name for name, family in reversed(found)}
    return sorted((name for name, _ in found), key=lambda name: name not in first.values())


def _torchvision() -> list[tuple[str, str]]:
    """By their number of parameters."""
    from networks import listed

    return [(item.name, item.family) for item in sorted(listed("torchvision"), key=lambda item: item.parameters)]


def _keras() -> list[tuple[str, str]]:
    import keras

    functions = sorted(vars(keras.applications).items())
    return [(name, function.__module__) for name, function in functions if inspect.isfunction(function)]


def _flax() -> list[tuple[str, str]]:
    from flax_networks import NAMES

    return [(name, name) for name in NAMES]


def _equinox() -> list[tuple[str, str]]:
    from equinox_networks import NAMES

    return [(name, name) for name in NAMES]


def subject(source: str, name: str) -> Subject:
    """A network with weights in general position: also its biases, and its running statistics.

    Raises:
        TooLargeError: It has more than ``LARGEST`` parameters.
    """
    if source in ("torchvision", "timm"):
        _check_size(num_parameters(source, name))
        model, sizes = torch_network(source, name)
        if not sizes:
            raise ValueError("it takes no image that was tried")
        return Subject("PyTorch", model, (3, sizes[0], sizes[0]))
    if source == "keras":
        model, size = keras_network(name)
        _check_size(model.count_params())
        pixels = any(type(layer).__name__ in ("Normalization", "Rescaling") for layer in model.layers)
        _general_keras(model, size, pixels=pixels)
        return Subject("Keras", model, (size, size, 3), pixels)
    if source == "flax":
        from flax_networks import network
    else:
        from equinox_networks import network
    apply, parameters, shape = network(name)
    return Subject("JAX", (apply, _general_tree(parameters)), shape)


def _check_size(parameters: int) -> None:
    if parameters > LARGEST:
        raise TooLargeError(f"{parameters / 1e6:.0f} million parameters")


def _drawn(random: Any, kind: str, array: Any) -> Any:
    """An array as it is, or in general position where it is a scale, a shift or a statistic."""
    import numpy as np

    if kind == "scale":
        return random.uniform(0.5, 1.5, array.shape).astype(array.dtype)
    if kind == "shift" or not np.any(array):
        return random.normal(0.0, 0.1, array.shape).astype(array.dtype)
    return array


def _general_keras(model: Any, size: int, *, pixels: bool) -> None:
    """With statistics of real activations: with drawn ones, deep networks grow beyond what a number holds."""
    import numpy as np

    random = np.random.default_rng(0)
    for variable in model.weights:
        kind = {"gamma": "scale", "beta": "shift", "bias": "shift"}.get(variable.name, "")
        if not variable.name.startswith("moving"):
            variable.assign(_drawn(random, kind, variable.numpy()))
    for layer in model.layers:
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()  # else it computes with the statistics that it was built with
    norms = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    images = random.uniform(0, 255, (4, size, size, 3)) if pixels else random.uniform(-1, 1, (4, size, size, 3))
    model(images.astype("float32"), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum


def _general_tree(parameters: Any) -> Any:
    import jax
    import numpy as np

    random = np.random.default_rng(0)
    leaves, tree = jax.tree_util.tree_flatten_with_path(parameters)
    found = [_leaf(random, jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
    return jax.tree_util.tree_unflatten(tree, found)


def _leaf(random: Any, path: str, leaf: Any) -> Any:
    import jax.numpy as jnp
    import numpy as np

    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    array = np.asarray(leaf)
    flat = array.ndim <= 1
    ones, zeros = flat and bool((array == 1).all()), flat and not array.any()
    kind = "scale" if ones or path.endswith(("['var']", "['scale']")) else "shift" if zeros else ""
    return jnp.asarray(_drawn(random, kind, array))
