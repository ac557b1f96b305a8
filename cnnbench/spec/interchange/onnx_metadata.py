"""What a model says of a node beside ONNX's own attributes: fields of its layer that matter in training only."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from cnnbench.errors import SpecError

KEY = "cnnbench.training"


class Kept(NamedTuple):
    """A layer kind, and those fields of it that matter in training only."""

    kind: str
    fields: dict[str, Any]


def keep(proto: Any, kept: Kept) -> None:
    """Writes fields into a node's metadata. Args: proto: the ``onnx.NodeProto``. kept: what is written."""
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(kept._asdict(), sort_keys=True)


def kept_for(proto: Any, *kinds: str) -> Kept | None:
    """What a node's metadata say of its layer; None where they say nothing, or speak of another kind.

    Args:
        proto: The ``onnx.NodeProto``.
        kinds: Of which the node may be.

    Raises:
        SpecError: The entry cannot be read.
    """
    text = next((entry.value for entry in proto.metadata_props if entry.key == KEY), None)
    if text is None:
        return None
    try:
        found = json.loads(text)
        kept = Kept(str(found["kind"]), {str(name): value for name, value in found["fields"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SpecError(
            f"the metadata {KEY!r} cannot be read", received=text[:80], expected='{"kind": ..., "fields": {...}}'
        ) from None
    return kept if kept.kind in kinds else None
