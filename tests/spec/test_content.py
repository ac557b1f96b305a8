"""Digests of content: equal content has equal digests, and nothing is left out."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from cnnbench.spec.content import content_digest


def test_a_digest_is_made_of_content_and_of_nothing_that_only_prints():
    """The text of an array, or of an object, leaves out what may differ."""

    @dataclass(frozen=True)
    class Asked:
        rate: float
        hidden: int = field(default=0, repr=False)

    assert content_digest(Asked(0.5)) == content_digest(Asked(0.5))
    assert content_digest(Asked(0.5)) != content_digest(Asked(0.5, hidden=1))
    for value in (np.zeros(3), object(), Asked):
        with pytest.raises(TypeError, match="no digest can be made"):
            content_digest({"asked": value})
