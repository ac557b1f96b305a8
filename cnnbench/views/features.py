"""Views of filters, feature maps, maximally activating patches, representations, receptive fields and occlusion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.errors import SuiteError
from cnnbench.spec.layers import Conv, Linear, ReLU, ReLU6
from cnnbench.views.network import ViewedNetwork
from cnnbench.views.view import NetworkView, Panel, PanelKind, ViewRequest, ViewResult

Array = NDArray[Any]
MOST_TILES = 64


def filters(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """The filters (weights) of the first convolution, or of the named one."""
    first = next((node for node in network.graph.nodes if isinstance(node.layer, Conv)), None)
    node = network.node(request.node, first)
    name = f"{node.owner}.weight"
    if not isinstance(node.layer, Conv):
        raise SuiteError(f"{node.name} ({node.layer.kind}) is no convolution", where="--node")
    weight = np.asarray(network.arrays[name])
    tiles = weight[:MOST_TILES] if weight.shape[1] == 3 else weight[:MOST_TILES, :1]
    kind: PanelKind = "image" if weight.shape[1] == 3 else "signed"
    return ViewResult({"filters": weight}, panels=(Panel(name, tiles, kind),))


def feature_maps(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """The feature maps of a node: by default of the first ReLU that has feature maps, else of the first node."""
    rectified = (node for node in network.maps if isinstance(node.layer, ReLU | ReLU6))
    node = network.node(request.node, next(rectified, next(iter(network.maps), None)))
    maps = network.values(request.images, [node.name])[node.name]
    if maps.ndim != 4:
        raise SuiteError(f"{node.name} makes no maps", where="--node", received=maps.shape, expected="(N, C, H, W)")
    panels: list[Panel] = []
    for image, item in zip(request.images, maps, strict=True):
        panels += [Panel("image", image, "image"), Panel(f"{node.name}: {len(item)}", item[:MOST_TILES, None], "heat")]
    return ViewResult({"feature_maps": maps}, ("feature_maps",), tuple(panels))


def patches(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """For some channels of a node, the patches of a dataset's images that activate them most.

    The patch of a unit is its receptive field: the pixels with respect to which its gradient is not 0.
    """
    assert request.data is not None
    node = network.node(request.node, network.last_map)
    count, channels = int(request.settings["count"]), int(request.settings["channels"])
    maps = network.values(request.data, [node.name])[node.name]
    if maps.ndim != 4:
        raise SuiteError(f"{node.name} makes no maps", where="--node", received=maps.shape, expected="(N, C, H, W)")
    flat = maps.reshape(*maps.shape[:2], -1)
    largest = flat.max(axis=2)  # (M, K): each image once
    chosen = np.argsort(-largest.max(axis=0), kind="stable")[:channels]
    panels, boxes, taken = [], [], []
    for channel in chosen:
        rows = np.argsort(-largest[:, channel], kind="stable")[:count]
        places = flat[rows, channel].argmax(axis=1)
        cotangent = np.zeros((len(rows), *maps.shape[1:]), np.float32)
        cotangent.reshape(len(rows), maps.shape[1], -1)[np.arange(len(rows)), channel, places] = 1
        seen = np.abs(network.gradient(request.data[rows], {node.name: cotangent})).sum(axis=1) > 0
        found = [_box(item) for item in seen]
        boxes.append(found)
        taken.append(rows)
        for row, box, score in zip(rows, found, largest[rows, channel], strict=True):
            part = request.data[row][:, box[0] : box[1], box[2] : box[3]]
            panels.append(Panel(f"channel {channel}: {score:.3g}", part, "image"))
    arrays = {"largest": largest, "channels": chosen, "images": np.asarray(taken), "boxes": np.asarray(boxes)}
    return ViewResult(arrays, ("largest",), tuple(panels))


def _box(seen: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The bounding box (top, bottom, left, right) of the True elements; of the whole array where there is none."""
    if not seen.any():
        return 0, seen.shape[0], 0, seen.shape[1]
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def embedding(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """The input of the last linear layer for a dataset's images, projected to two dimensions by PCA and by t-SNE."""
    assert request.data is not None
    last = next((node for node in reversed(network.graph.nodes) if isinstance(node.layer, Linear)), None)
    value = last.inputs[0] if request.node is None and last is not None else network.node(request.node, last).name
    found = network.values(request.data, [value])[value]
    flat = found.reshape(len(found), -1)
    arrays, panels = {"representation": flat}, []
    if not request.compared_only:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE

        labels = np.zeros(len(flat)) if request.labels is None else request.labels
        perplexity = min(request.settings["perplexity"], (len(flat) - 1) / 3)
        makers = {
            "pca": PCA(n_components=2, random_state=request.seed),
            "tsne": TSNE(n_components=2, perplexity=perplexity, init="pca", random_state=request.seed),
        }
        for name, maker in makers.items():
            arrays[name] = maker.fit_transform(flat.astype(np.float64))
            panels.append(Panel(f"{name} of {value}", np.column_stack([arrays[name], labels]), "points"))
    return ViewResult(arrays, ("representation",), tuple(panels))


def receptive_field(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """The effective receptive field of the central unit of a node's feature maps, over images of normal noise."""
    node = network.node(request.node, network.maps[-1] if network.maps else None)
    shape = network.shapes[node.name]
    if len(shape) != 4:
        raise SuiteError(f"{node.name} makes no maps", where="--node", received=shape, expected="(N, C, H, W)")
    count = int(request.settings["images"])
    noise = np.random.default_rng(request.seed).normal(size=(count, *network.image)).astype(np.float32)
    cotangent = np.zeros((count, *shape[1:]), np.float32)
    cotangent[:, :, shape[2] // 2, shape[3] // 2] = 1
    field = np.abs(network.gradient(noise, {node.name: cotangent}).sum(axis=1)).mean(axis=0)
    strong = float((field > field.max() * (1 - 0.9545)).sum())
    figures = {"pixels_reached": float((field > 0).sum()), "side_of_effective_field": float(np.sqrt(strong))}
    return ViewResult({"receptive_field": field}, ("receptive_field",), (Panel(node.name, field, "heat"),), figures)


def occlusion(network: ViewedNetwork, request: ViewRequest) -> ViewResult:
    """Occlusion sensitivity: the drop of the class's score where a grey square covers a part of the image."""
    side, stride = (int(request.settings[name]) for name in ("side", "stride"))
    hot = network.one_hot(request.classes)
    height, width = network.image[1:]
    side, stride = min(side or max(1, height // 4), height, width), stride or max(1, height // 8)
    tops, lefts = range(0, height - side + 1, stride), range(0, width - side + 1, stride)
    drops, panels = [], []
    for image, row in zip(request.images, hot, strict=True):
        hidden = np.repeat(image[None], len(tops) * len(lefts), axis=0)
        places = [(top, left) for top in tops for left in lefts]
        for item, (top, left) in zip(hidden, places, strict=True):
            item[:, top : top + side, left : left + side] = 0
        scores = network.values(np.concatenate([image[None], hidden]), [network.scores])[network.scores] @ row
        drop = (scores[0] - scores[1:]).reshape(len(tops), len(lefts))
        drops.append(drop)
        panels += [Panel("image", image, "image"), Panel(f"drop of the score, square of {side}", drop, "signed")]
    return ViewResult({"occlusion": np.stack(drops)}, ("occlusion",), tuple(panels))


VIEWS = (
    NetworkView(
        "filters",
        "the weights of the first convolution",
        "W of shape (out, in, h, w); of three channels as a colour, else those of the first channel",
        'Krizhevsky, Sutskever, Hinton, "ImageNet classification" (2012), figure 3',
        filters,
        (),
    ),
    NetworkView(
        "feature_maps",
        "the channels of a node",
        "each channel on a scale of its own",
        'Yosinski et al., "Understanding neural networks through deep visualization" (2015), section 2',
        feature_maps,
    ),
    NetworkView(
        "patches",
        "the parts of a dataset's images on which units of a node are largest",
        "the box around the pixels of which the unit's gradient is not 0",
        'Zeiler, Fergus, "Visualizing and understanding convolutional networks" (2013), section 4',
        patches,
        ("data",),
        {"count": 4, "channels": 4},
    ),
    NetworkView(
        "embedding",
        "what the last linear layer reads, in two dimensions",
        "PCA, and t-SNE from PCA's start",
        'van der Maaten, Hinton, "Visualizing data using t-SNE" (2008)',
        embedding,
        ("data",),
        {"perplexity": 30},
    ),
    NetworkView(
        "occlusion",
        "by how much the class's score drops where a part of the image is hidden",
        "score(x) - score(x with a square of side pixels set to 0), every stride pixels; 0 for a quarter and an eighth",
        'Zeiler, Fergus, "Visualizing and understanding convolutional networks" (2013), section 4.2',
        occlusion,
        ("image", "class"),
        {"side": 0, "stride": 0},
    ),
    NetworkView(
        "receptive_field",
        "which pixels move the unit in the middle of a node's maps, and by how much",
        "mean over images of noise of |d sum_c y_c(middle) / d x|, summed over input channels before the magnitude",
        'Luo et al., "Understanding the effective receptive field" (2016), section 2',
        receptive_field,
        (),
        {"images": 8},
    ),
)
