"""Photographs that come with scikit-image: real inputs for networks of ImageNet's kind."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from cnnbench.errors import DataError
from cnnbench.training.dataset import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets.pictures import (
    IMAGENET,
    normalised,
    require_picture,
    resize_and_crop,
    with_channels,
)
from cnnbench.training.preprocessing import EFFICIENTNET_LITE, Preprocessing
from cnnbench.training.preprocessing import IMAGENET as IMAGENET_INPUT


class Photograph(NamedTuple):
    """A picture of ``skimage.data``, and its licence as scikit-image states it."""

    name: str
    licence: str


PHOTOGRAPHS = (
    Photograph("astronaut", "NASA, public domain"),
    Photograph("cat", "CC0, Stefan van der Walt"),
    Photograph("coffee", "CC0, Rachel Michetti"),
    Photograph("rocket", "SpaceX, public domain"),
    Photograph("camera", "CC0, Lav Varshney"),
    Photograph("coins", "Brooklyn Museum, no known copyright restrictions"),
    Photograph("hubble_deep_field", "NASA, public domain"),
    Photograph("retina", "CC0, Mikael Häggström"),
)


def load(request: DataRequest) -> Dataset:
    """The photographs, cut to the image shape; the label of each is its place in the list."""
    from skimage import data

    require_picture(request.image, "photographs")
    channels, height, width = request.image
    chosen = request.choose(len(PHOTOGRAPHS))
    images = []
    for position in chosen:
        picture = np.atleast_3d(getattr(data, PHOTOGRAPHS[position].name)()).transpose(2, 0, 1)[None] / 255
        images.append(resize_and_crop(with_channels(picture, channels), height, width))
    return Dataset(
        "photographs",
        request.split,
        normalised(np.concatenate(images), IMAGENET),
        np.asarray(chosen, np.int64),
        tuple(photograph.name for photograph in PHOTOGRAPHS),
        "; ".join(f"{photograph.name}: {photograph.licence}" for photograph in PHOTOGRAPHS),
    )


# Which of ImageNet's classes a photograph shows: tabby, tiger cat and Egyptian cat; espresso and cup; tripod.
SHOWN = {"cat": (281, 282, 285), "coffee": (967, 968), "camera": (872,)}


def preprocessed(name: str, preprocessing: Preprocessing, request: DataRequest) -> Dataset:
    """The photographs that show one of ImageNet's classes, as a network trained on ImageNet wants them.

    The label is the first of the classes in ``SHOWN``.

    Args:
        name: The dataset's.
        preprocessing: Size, crop and normalisation that the network was trained with.
        request: The image shape and how many.
    """
    from skimage import data

    wanted = (3, preprocessing.crop, preprocessing.crop)
    if request.image != wanted:
        raise DataError(f"{name} has one size", received=request.image, expected=wanted)
    names = [list(SHOWN)[position] for position in request.choose(len(SHOWN))]
    images = np.stack([preprocessing(getattr(data, item)()) for item in names])
    labels = np.asarray([SHOWN[item][0] for item in names], np.int64)
    licence = "; ".join(f"{item.name}: {item.licence}" for item in PHOTOGRAPHS if item.name in SHOWN)
    return Dataset(name, request.split, images, labels, tuple(map(str, range(1000))), licence)


def _for_imagenet(name: str, description: str, preprocessing: Preprocessing) -> DatasetPlugin:
    return DatasetPlugin(name, description, ("test",), partial(preprocessed, name, preprocessing))


PHOTOGRAPHS_IMAGENET = _for_imagenet(
    "photographs_imagenet", "3 photographs of ImageNet's classes, as torchvision's networks want them", IMAGENET_INPUT
)
PHOTOGRAPHS_EFFICIENTNET_LITE = _for_imagenet(
    "photographs_efficientnet_lite", "the same as EfficientNet-Lite wants them", EFFICIENTNET_LITE
)
PHOTOGRAPHS_DATASET = DatasetPlugin("photographs", "8 photographs (scikit-image), resized and cropped", ("test",), load)
