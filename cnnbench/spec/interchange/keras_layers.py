"""What Keras' layers compute, in layers of ours: shapes, merges, normalisations and activations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from cnnbench.spec.graph import Value
from cnnbench.spec.interchange.keras_activations import activated, activation_layers
from cnnbench.spec.interchange.keras_arrays import stated_statistics
from cnnbench.spec.interchange.keras_builder import Construction, NotTranslatedError, Translation
from cnnbench.spec.interchange.keras_config import KerasLayer, KerasModel
from cnnbench.spec.interchange.keras_operations import OPERATIONS, reshaped
from cnnbench.spec.interchange.keras_recurrent import RECURRENT
from cnnbench.spec.interchange.keras_windows import WINDOWS
from cnnbench.spec.layers import (
    Add,
    BatchNorm,
    ChannelAffine,
    Concat,
    Flatten,
    FrozenBatchNorm,
    GroupNorm,
    LayerNorm,
    Linear,
    PReLU,
)
from cnnbench.spec.layers.arithmetic import Affine, Clip
from cnnbench.spec.layers.embedding import TokenEmbedding
from cnnbench.spec.layers.merge import Maximum, Mean, Minimum, Multiply, Subtract
from cnnbench.spec.layers.shape import Expand, Reshape, Transpose, Unsqueeze

_IDENTITIES = re.compile(
    r"(Alpha|Gaussian|Spatial)?Dropout([123]D)?|GaussianNoise|ActivityRegularization|Identity|Masking|"
    r"Random\w+|StopGradient|(Custom>)?(DropPath|StochasticDepth)"
)

_QUIET = ("Identity", "Masking", "StopGradient")  # which act alike in training
_NOISES = {
    r"SpatialDropout[123]D": "dropout of whole channels",
    r"AlphaDropout": "alpha dropout",
    r"GaussianDropout": "Gaussian dropout",
    r"(Custom>)?(DropPath|StochasticDepth)": "dropout of whole branches",
}
_RATES = ("rate", "survival_probability", "drop_path_rate", "drop_prob", "stddev", "l1", "l2", "factor")


def noises(model: KerasModel) -> Iterator[tuple[str, str]]:
    """What acts in training only and no layer here stands for: where, and what with its rate."""
    for layer in model.every_layer():
        if layer.cls == "Dropout" or not re.fullmatch(_IDENTITIES, layer.cls) or layer.cls in _QUIET:
            continue
        rates = {name: layer.config[name] for name in _RATES if layer.config.get(name)}
        if not rates and not layer.cls.startswith("Random"):
            continue
        known = next((what for cls, what in _NOISES.items() if re.fullmatch(cls, layer.cls)), None)
        if known is not None and "rate" in rates:
            yield layer.name, f"{known}, p {rates['rate']:g}"
        else:
            yield layer.name, ", ".join([layer.cls, *(f"{name} {rate}" for name, rate in rates.items())])


def translation(layer: KerasLayer) -> Translation:
    """What builds a layer of that class.

    Raises:
        NotTranslatedError: None does.
    """
    if _IDENTITIES.fullmatch(layer.cls):
        return lambda making, layer, values: values
    for pattern, found in _TRANSLATIONS.items():
        if re.fullmatch(pattern, layer.cls):
            return found
    raise NotTranslatedError(f"{layer.name} ({layer.cls}): what this class computes is not known here")


def _dense(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    made = Linear(out_features=layer.config["units"], bias=bool(layer.config.get("use_bias", True)))
    return [activated(making, layer.config, making.weighted(layer.name, made, values[0])[0])]


def _batch_norm(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config = layer.config
    axis = config["axis"][0] if isinstance(config["axis"], list) else config["axis"]
    made = BatchNorm(
        eps=float(config["epsilon"]), momentum=round(1 - float(config["momentum"]), 9), running_variance="biased"
    )
    (value,) = making.weighted(layer.name, made, making.moved(values[0], axis, 1))
    return [making.moved(value, 1, axis)]


def _layer_norm(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config, rank = layer.config, len(values[0].shape)
    axes = sorted(axis % rank for axis in (config["axis"] if isinstance(config["axis"], list) else [config["axis"]]))
    if axes != list(range(axes[0], rank)) or config.get("rms_scaling"):
        raise NotTranslatedError(f"{layer.name} ({layer.cls}): axis {config['axis']} or rms_scaling is not known here")
    return [making.weighted(layer.name, LayerNorm(start_axis=axes[0] - rank, eps=config["epsilon"]), values[0])[0]]


def _group_norm(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    axis, value = layer.config.get("axis", -1), values[0]
    value = making.moved(value, axis, 1)
    groups = value.channels if layer.config["groups"] == -1 else layer.config["groups"]
    (value,) = making.weighted(layer.name, GroupNorm(groups=groups, eps=layer.config["epsilon"]), value)
    return [making.moved(value, 1, axis)]


def _flatten(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    value = values[0]
    if layer.config.get("data_format") == "channels_first":  # Keras flattens with the channels last, whatever it has
        value = making.moved(value, 1, -1)
    return [making.plain(Flatten(), value)]


def _shape(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config, value = layer.config, values[0]
    if layer.cls == "Reshape" and "target_shape" not in config:
        return reshaped(making, layer, values)
    if layer.cls == "Reshape":
        return [making.plain(Reshape(shape=tuple(config["target_shape"])), value)]
    if layer.cls == "Permute":
        return [making.plain(Transpose(permutation=(0, *config["dims"])), value)]
    row = making.plain(Unsqueeze(axes=(1,)), value)
    return [making.plain(Expand(shape=(row.shape[0], config["n"], row.shape[2])), row)]


def _merge(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    if "operands" in layer.config:
        return [making.plain(_with_number(layer), *values)]
    if layer.cls == "Concatenate":
        return [making.plain(Concat(axis=layer.config.get("axis", -1)), *values)]
    if layer.cls == "Add":
        return [making.plain(Add(broadcast=True), *values)]
    kinds = {"Multiply": Multiply, "Subtract": Subtract, "Average": Mean}
    kinds |= {"Maximum": Maximum, "Minimum": Minimum}
    return [making.plain(kinds[layer.cls](), *values)]


def _with_number(layer: KerasLayer) -> Affine | Clip:
    """``x + 3.0``, ``3.0 - x``, ``x * 2.0`` and ``maximum(x, 0.0)``, of which Keras makes operations."""
    calls = layer.config["operands"]
    if len(calls) == 1 and len(layer.calls) == 1 and len(calls[0]) == 2:
        first, second = calls[0]
        number = float(second if first is None else first)
        made: dict[str, Affine | Clip] = {
            "Add": Affine(shift=number),
            "Multiply": Affine(scale=number),
            "Maximum": Clip(minimum=number),
            "Minimum": Clip(maximum=number),
            "Subtract": Affine(shift=-number) if first is None else Affine(scale=-1.0, shift=number),
        }
        if layer.cls in made:
            return made[layer.cls]
    raise NotTranslatedError(f"{layer.name} ({layer.cls}): its operands {calls} are not known here")


def _activation(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    value = values[0]
    for made in activation_layers(layer.cls, layer.config, making.version, len(value.shape)):
        value = making.plain(made, value)
    return [value]


def _prelu(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    rank, shared = len(values[0].shape), layer.config.get("shared_axes") or []
    if sorted(shared) not in ([*range(1, rank - 1)], [*range(2, rank)]):
        raise NotTranslatedError(f"{layer.name} (PReLU): it has a slope for each element, not for each channel")
    axis = 1 if rank > 2 and 1 not in shared else -1
    (value,) = making.weighted(layer.name, PReLU(slopes="channel"), making.moved(values[0], axis, 1))
    return [making.moved(value, 1, axis)]


def _rescaling(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    scale, offset = layer.config["scale"], layer.config.get("offset", 0.0)
    return [making.plain(Affine(scale=float(scale), shift=float(offset)), values[0])]


def _normalization(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    """(x - mean) / max(sqrt(variance), 1e-7); the limit goes into the variance."""
    config, axis = layer.config, layer.config["axis"]
    (axis,) = axis if isinstance(axis, list) and len(axis) == 1 else (axis,)
    if config.get("invert") or not isinstance(axis, int):
        raise NotTranslatedError(f"{layer.name} (Normalization): inverted, or along axis {axis}")
    value = making.moved(values[0], axis, 1)
    for name, array in stated_statistics(config).items():
        if array.shape != (value.shape[1],):
            raise NotTranslatedError(f"{layer.name} (Normalization): a {name} that is not one number a channel")
    (value,) = making.weighted(layer.name, FrozenBatchNorm(eps=0.0), value)
    return [making.moved(value, 1, axis)]


def _layer_scale(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    """Of keras.applications' ConvNeXt: a factor for each channel."""
    (value,) = making.weighted(layer.name, ChannelAffine(), making.moved(values[0], -1, 1))
    return [making.moved(value, 1, -1)]


def _scaled_sum(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    """Of keras.applications' InceptionResNetV2: the first input and a multiple of the second."""
    scaled = making.plain(Affine(scale=float(layer.config["scale"])), values[1])
    return [making.plain(Add(), values[0], scaled)]


def _embedding(making: Construction, layer: KerasLayer, values: Sequence[Value]) -> Sequence[Value]:
    config = layer.config
    made = TokenEmbedding(num_embeddings=config["input_dim"], embedding_dim=config["output_dim"])
    return making.weighted(layer.name, made, values[0])


_TRANSLATIONS: Mapping[str, Translation] = {
    "Dense": _dense,
    "BatchNormalization(V1|V2)?": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "Flatten": _flatten,
    "Reshape|Permute|RepeatVector": _shape,
    "Concatenate|Add|Multiply|Subtract|Average|Maximum|Minimum": _merge,
    "Activation|ReLU|LeakyReLU|ELU|Softmax|ThresholdedReLU": _activation,
    "PReLU": _prelu,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "LayerScale": _layer_scale,
    "CustomScaleLayer": _scaled_sum,
    "Embedding": _embedding,
    **WINDOWS,
    **RECURRENT,
    **OPERATIONS,
}
