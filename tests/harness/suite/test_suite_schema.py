"""The published JSON Schemas are those of the code, and accept what the code accepts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnnbench.harness.run.schema import as_text, schemas
from cnnbench.spec.interchange.yaml_source import read_yaml

ROOT = Path(__file__).parents[3]
jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")


@pytest.mark.parametrize("name", sorted(schemas()))
def test_the_files_are_current(name: str) -> None:
    assert (ROOT / "schema" / name).read_text() == as_text(schemas()[name]), "run 'make schema'"


@pytest.mark.parametrize("name", sorted(schemas()))
def test_they_are_valid_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schemas()[name])


@pytest.mark.parametrize("path", sorted((ROOT / "suites").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_suites_fit(path: Path) -> None:
    jsonschema.validate(read_yaml(path).data, schemas()["suite.schema.json"])


BASE = {"schema_version": 1, "name": "s", "matrix": {"architectures": "lenet5", "backends": "numpy"}}


@pytest.mark.parametrize(
    "change",
    [
        {"matrix": [{"architectures": ["lenet5"], "backends": [{"name": "numpy", "mode": "fast"}, "torch"]}]},
        {"matrix": {**BASE["matrix"], "image": 32, "batch": 4, "threads": None, "precision": "float32"}},
        {"matrix": {**BASE["matrix"], "image": [32, [1, 28, 28]], "threads": [1, None], "checks": "local"}},
        {"checks": ["local"]},
        {"checks": {"batch": 4}},
        {"measure": {"latency": None}},
        {
            "train": {
                "architectures": "lenet5",
                "optimizer": "sgd",
                "loss": {"kind": "cross_entropy", "label_smoothing": 0.1},
            }
        },
    ],
    ids=str,
)
def test_every_short_form_is_accepted(change: dict) -> None:
    from cnnbench.harness.suite.model import Suite

    Suite.model_validate(BASE | change)
    jsonschema.validate(BASE | change, schemas()["suite.schema.json"])


@pytest.mark.parametrize(
    "change",
    [{"matrx": []}, {"matrix": {**BASE["matrix"], "bach": 1}}, {"name": 3}, {"gates": {"latency": {"x": 1}}}],
    ids=str,
)
def test_typos_are_refused(change: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(json.dumps(BASE | change)), schemas()["suite.schema.json"])
