"""The published JSON Schemas of suites, records and summaries, made from their models."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Each schema by the name of its file."""
    from cnnbench.harness.run.record import Record
    from cnnbench.harness.run.summary import Summary
    from cnnbench.harness.suite.model import Suite

    return {
        "suite.schema.json": _schema(Suite, "validation", "A cnnbench suite"),
        "record.schema.json": _schema(Record, "serialization", "record.json of a cnnbench cell"),
        "summary.schema.json": _schema(Summary, "serialization", "summary.json of a cnnbench run"),
    }


def _schema(model: type[BaseModel], mode: Literal["validation", "serialization"], title: str) -> dict[str, Any]:
    schema = model.model_json_schema(mode=mode)
    return {"$schema": DIALECT} | schema | {"title": title}


def as_text(schema: dict[str, Any]) -> str:
    """The content of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
