"""TensorFlow's own calls, used plainly: what a user would write who has not heard of the defects in them."""

from __future__ import annotations

import tensorflow as tf

from cnnbench.execution.operations import OpResult, WeightLayout


def _padded(x, layer, value=0.0):
    widths = [[0, 0], *map(list, layer.padding), [0, 0]]
    return tf.pad(x, widths, constant_values=value) if any(map(any, widths)) else x


def _around(values):
    return [1, *values, 1]


def _to_depthwise(layer, name, array, channels_last):
    """(O, 1, kh, kw) -> (kh, kw, C, O / C)."""
    if name != "weight":
        return array
    out, _, height, width = array.shape
    return array.reshape(layer.groups, out // layer.groups, height, width).transpose(2, 3, 0, 1)


def _from_depthwise(layer, name, array, channels_last):
    if name != "weight":
        return array
    height, width, groups, multiplier = array.shape
    return array.transpose(2, 3, 0, 1).reshape(groups * multiplier, 1, height, width)


DEPTHWISE = WeightLayout(_to_depthwise, _from_depthwise)


def depthwise_conv2d(layer, inputs, weights, state, call):
    """``tf.nn.depthwise_conv2d`` with strides and dilations."""
    x = _padded(inputs[0], layer)
    y = tf.nn.depthwise_conv2d(x, weights[0], _around(layer.stride), "VALID", dilations=layer.dilation)
    return OpResult((y + weights[1] if layer.bias else y,))


def depthwise_native(layer, inputs, weights, state, call):
    """The raw op, which takes strides and dilations together."""
    x = _padded(inputs[0], layer)
    y = tf.raw_ops.DepthwiseConv2dNative(
        input=x, filter=weights[0], strides=_around(layer.stride), padding="VALID", dilations=_around(layer.dilation)
    )
    return OpResult((y + weights[1] if layer.bias else y,))


def explicit_conv2d(layer, inputs, weights, state, call):
    """``tf.nn.conv2d`` with its own explicit padding."""
    padding = [[0, 0], *map(list, layer.padding), [0, 0]]
    y = tf.nn.conv2d(inputs[0], weights[0], _around(layer.stride), padding, dilations=_around(layer.dilation))
    return OpResult((tf.nn.bias_add(y, weights[1]) if layer.bias else y,))


def conv3d(layer, inputs, weights, state, call):
    """``tf.nn.conv3d`` with dilations."""
    x = _padded(inputs[0], layer)
    y = tf.nn.conv3d(x, weights[0], _around(layer.stride), "VALID", dilations=_around(layer.dilation))
    return OpResult((tf.nn.bias_add(y, weights[1]) if layer.bias else y,))


def linear_bias_add(layer, inputs, weights, state, call):
    """``tf.matmul`` and ``tf.nn.bias_add``."""
    return OpResult((tf.nn.bias_add(tf.linalg.matmul(inputs[0], weights[0]), weights[1]),))


def max_pool2d(layer, inputs, weights, state, call):
    """``tf.nn.max_pool2d`` with SAME padding where the layer's is that, else on a padded image."""
    x = inputs[0]
    size = [-(-n // s) for n, s in zip(x.shape[1:3], layer.stride, strict=True)]
    wanted = layer.output_shapes(((1, 1, *x.shape[1:3]),))[0][2:]
    if tuple(size) == tuple(wanted) and any(map(any, layer.padding)):
        return OpResult((tf.nn.max_pool2d(x, layer.kernel_size, layer.stride, "SAME"),))
    return OpResult((tf.nn.max_pool2d(_padded(x, layer, float("-inf")), layer.kernel_size, layer.stride, "VALID"),))


def fused_batch_norm(layer, inputs, weights, state, call):
    """``tf.compat.v1.nn.fused_batch_norm`` on batch statistics."""
    if not call.training:
        y, *_ = tf.compat.v1.nn.fused_batch_norm(
            inputs[0], *weights, mean=state[0], variance=state[1], epsilon=layer.eps, is_training=False
        )
        return OpResult((y,))
    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(inputs[0], *weights, epsilon=layer.eps)
    m = layer.momentum
    return OpResult((y,), ((1 - m) * state[0] + m * mean, (1 - m) * state[1] + m * variance))


def resize_bilinear(layer, inputs, weights, state, call):
    """``tf.image.resize``, bilinear at half-pixel centres."""
    return OpResult((tf.cast(tf.image.resize(inputs[0], layer.size, method="bilinear"), inputs[0].dtype),))


def padded_conv2d(layer, inputs, weights, state, call):
    """``tf.nn.conv2d`` with VALID padding on a padded image."""
    y = tf.nn.conv2d(_padded(inputs[0], layer), weights[0], _around(layer.stride), "VALID")
    return OpResult((y + weights[1] if layer.bias else y,))


def elu(layer, inputs, weights, state, call):
    """``tf.nn.elu``."""
    return OpResult((tf.nn.elu(inputs[0]),))


def mish(layer, inputs, weights, state, call):
    """The formula."""
    return OpResult((inputs[0] * tf.tanh(tf.nn.softplus(inputs[0])),))


def gelu(layer, inputs, weights, state, call):
    """``tf.nn.gelu``."""
    return OpResult((tf.nn.gelu(inputs[0]),))


def silu(layer, inputs, weights, state, call):
    """``tf.nn.silu`` with a beta."""
    return OpResult((tf.nn.silu(inputs[0], beta=layer.beta),))


def leaky_relu(layer, inputs, weights, state, call):
    """``tf.nn.leaky_relu``."""
    return OpResult((tf.nn.leaky_relu(inputs[0], alpha=layer.negative_slope),))


def resize_nearest(layer, inputs, weights, state, call):
    """``ResizeNearestNeighbor``, which both ``resize`` functions call."""
    centred = layer.coordinates == "half_pixel"
    y = tf.raw_ops.ResizeNearestNeighbor(images=inputs[0], size=layer.size, half_pixel_centers=centred)
    return OpResult((y,))


def argmax(layer, inputs, weights, state, call):
    """``tf.argmax``."""
    y = tf.argmax(inputs[0], call.axis(layer.axis, inputs[0].shape.rank))
    return OpResult((tf.expand_dims(y, call.axis(layer.axis, inputs[0].shape.rank)) if layer.keepdims else y,))


def power(layer, inputs, weights, state, call):
    """``tf.pow``."""
    return OpResult((tf.pow(*inputs),))


def relu(layer, inputs, weights, state, call):
    """``tf.nn.relu``."""
    return OpResult((tf.nn.relu(inputs[0]),))


def relu6(layer, inputs, weights, state, call):
    """``tf.nn.relu6``."""
    return OpResult((tf.nn.relu6(inputs[0]),))


def softmax(layer, inputs, weights, state, call):
    """``tf.nn.softmax``."""
    return OpResult((tf.nn.softmax(inputs[0], call.axis(layer.axis, inputs[0].shape.rank)),))


def reduce_maximum(layer, inputs, weights, state, call):
    """``tf.reduce_max``."""
    return OpResult((tf.reduce_max(inputs[0], call.axes(layer.axes, inputs[0].shape.rank), keepdims=True),))
