"""The layer kinds by name: shipped primitives and composites, and what imported plugins have defined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cnnbench.spec.composites
import cnnbench.spec.layers  # noqa: F401 - importing the two packages defines the kinds
from cnnbench.errors import SpecError, did_you_mean
from cnnbench.spec.fields import construct
from cnnbench.spec.layers.base import Layer, defined_kinds


def layer_kinds() -> Mapping[str, type[Layer]]:
    """Every kind by name. Those of a plugin are known once its module is imported, which spec never does itself."""
    return dict(sorted(defined_kinds().items()))


def layer_kind(kind: str) -> type[Layer]:
    """The layer class of a kind.

    Raises:
        SpecError: No such kind, with the nearest name.
    """
    known = defined_kinds()
    if kind not in known:
        raise SpecError(f"unknown layer kind {kind!r}", remedy=did_you_mean(kind, known))
    return known[kind]


def layer_from_fields(kind: str, fields: Mapping[str, Any]) -> Layer:
    """A layer from plain data, as JSON and YAML hold it.

    Raises:
        SpecError: An unknown kind or field, a required field that is missing, or a value of the wrong type.
    """
    return construct(layer_kind(kind), kind, fields)
