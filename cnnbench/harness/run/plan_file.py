"""A run's plan on disk, with its digest: what was changed there is not what the run measured."""

from __future__ import annotations

import io
import re
from pathlib import Path

from cnnbench.errors import DataError
from cnnbench.harness.run.files import read_model, to_json, write_atomically
from cnnbench.harness.run.json_text import read_json
from cnnbench.harness.suite.plan import Plan
from cnnbench.spec.content import content_digest

NAME = "plan.json"


def write_plan(folder: Path, plan: Plan, run: str) -> None:
    """Writes ``plan.json``, and ``suite.resolved.yaml`` for people.

    Args:
        folder: The run's.
        plan: What it measures.
        run: The run's id, which it keeps in whatever folder it comes to lie.
    """
    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(plan.suite.model_dump(mode="json"), text)
    write_atomically(folder / "suite.resolved.yaml", text.getvalue())
    content = {"run": run, **plan.model_dump(mode="json")}
    write_atomically(folder / NAME, to_json({"digest": content_digest(content), **content}))


def read_plan(folder: Path) -> Plan:
    """The plan that a run was started with. Raises DataError where it is not there, or not as it was written."""
    path = folder / NAME
    if not path.exists():
        remedy = "nothing of the run is measured yet: start it anew"
        raise DataError("the file is missing", where=str(path), remedy=remedy)
    content = read_json(path)
    fields = dict(content) if isinstance(content, dict) else {}
    kept = fields.pop("digest", None)
    found = content_digest(fields)
    fields.pop("run", None)
    plan = read_model(path, Plan, fields)
    if kept != found:
        raise DataError(
            "the plan was changed after it was written, so nothing says what the run measured",
            where=str(path),
            remedy="start a run anew: what it measures is chosen when it starts",
        )
    return plan


def run_id(folder: Path) -> str:
    """A run's own id: that of its plan; the folder's name where it has none yet."""
    try:
        content = read_json(folder / NAME)
    except DataError:
        content = None
    known = content.get("run") if isinstance(content, dict) else None
    return known if isinstance(known, str) and re.fullmatch(r"[\w.+-]+", known) else folder.resolve().name
