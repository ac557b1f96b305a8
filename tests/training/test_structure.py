"""Structural similarity beside scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest

from cnnbench.errors import DataError
from cnnbench.training.metrics.structure import structural_similarity


@pytest.mark.parametrize("shape", [(3, 1, 16, 16), (2, 3, 20, 13)])
@pytest.mark.parametrize("peak", [1.0, 4.0])
def test_it_is_scikit_image_s(shape, peak):
    from skimage.metrics import structural_similarity as theirs

    generator = np.random.default_rng(0)
    truth = generator.random(shape) * peak
    found = truth + generator.normal(scale=0.2, size=shape)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": peak}
    expected = [theirs(a, b, channel_axis=0, **settings) for a, b in zip(found, truth, strict=True)]
    np.testing.assert_allclose(structural_similarity(found, truth, peak).figures, expected, rtol=1e-10)
    np.testing.assert_allclose(structural_similarity(truth, truth, peak).figures, 1)


def test_a_picture_smaller_than_the_window_is_refused():
    with pytest.raises(DataError, match=r"(?s)do not fit.*11 pixels"):
        structural_similarity(np.zeros((1, 1, 10, 12)), np.zeros((1, 1, 10, 12)))
