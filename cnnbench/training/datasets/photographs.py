"""Photographs that come with scikit-image: real inputs for networks of ImageNet's kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cnnbench.training.data import DataRequest, Dataset, DatasetPlugin
from cnnbench.training.datasets.pictures import (
    IMAGENET,
    normalised,
    require_picture,
    resize_and_crop,
    with_channels,
)


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


PHOTOGRAPHS_DATASET = DatasetPlugin("photographs", "8 photographs (scikit-image), resized and cropped", ("test",), load)
