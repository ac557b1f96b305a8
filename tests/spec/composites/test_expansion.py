"""A composite that cannot be expanded: whose mistake it is, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cnnbench.errors import SpecError
from cnnbench.spec.composites import Composite
from cnnbench.spec.graph import Builder
from cnnbench.spec.layers import ReLU, base


def test_a_mistake_in_expand_names_the_kind_and_its_author_s_module():
    @dataclass(frozen=True, kw_only=True)
    class Broken(Composite, kind="broken_expansion"):
        """Asks an input for what it has not."""

        def expand(self, builder, *inputs):
            return builder.add("relu", ReLU(), inputs[0].width)

    del base._KINDS["broken_expansion"]  # other tests go through all kinds
    builder = Builder("net")
    with pytest.raises(SpecError, match="'broken_expansion' does not expand: AttributeError") as caught:
        builder.add("node", Broken(), builder.input("image", (3, 4, 4)))
    assert __name__ in str(caught.value)
