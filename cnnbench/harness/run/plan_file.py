"""A run's plan on disk, with its digest: what was changed there is not what the run measured."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

from cnnbench.errors import DataError
from cnnbench.harness.run.files import read_model, to_json, write_atomically
from cnnbench.harness.run.json_text import read_json
from cnnbench.harness.suite.plan import Plan

NAME = "plan.json"


def write_plan(folder: Path, plan: Plan) -> None:
    """Writes ``plan.json``, and ``suite.resolved.yaml`` for people.

    Args:
        folder: The run's.
        plan: What it measures.
    """
    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(plan.suite.model_dump(mode="json"), text)
    write_atomically(folder / "suite.resolved.yaml", text.getvalue())
    content = plan.model_dump(mode="json")
    write_atomically(folder / NAME, to_json({"digest": _digest(content), **content}))


def read_plan(folder: Path) -> Plan:
    """The plan that a run was started with. Raises DataError where it is not there, or not as it was written."""
    path = folder / NAME
    if not path.exists():
        remedy = "nothing of the run is measured yet: start it anew"
        raise DataError("the file is missing", where=str(path), remedy=remedy)
    content = read_json(path)
    kept = content.pop("digest", None) if isinstance(content, dict) else None
    plan = read_model(path, Plan, content)
    if kept != _digest(content):
        raise DataError(
            "the plan was changed after it was written, so nothing says what the run measured",
            where=str(path),
            remedy="start a run anew: what it measures is chosen when it starts",
        )
    return plan


def _digest(content: Any) -> str:
    """SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
