"""A bundle whose digests are right and whose content is not: refused or graded, never a traceback."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_run import Truth, synthetic_run

from cnnbench.errors import CnnbenchError
from cnnbench.gates.bundles import bundled_evidence, verification_of
from cnnbench.harness.run.bundle import unpack
from cnnbench.harness.run.bundle_file import BundleFile, Manifest, digests
from cnnbench.harness.run.rerun import Rerun
from cnnbench.harness.run.summary import RunFacts, summarize_run
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import Plan


def content() -> dict[str, Any]:
    """The JSON members of a small bundle, as plain data."""
    run = synthetic_run(Truth(backends=("numpy", "torch"), batches=(1,), rounds=2, calls=2))
    run_records = [record.model_copy(update={"outputs": "0" * 64}) for record in run.records]
    cells = tuple(record.cell for record in run_records)
    suite = Suite.model_validate(
        {"schema_version": 1, "name": "s", "matrix": {"architectures": "lenet5", "backends": "numpy"}}
    )
    facts = RunFacts(suite="s", run="r", started_utc="2026-01-01T00:00:00Z", finished_utc="2026-01-01T00:00:00Z")
    records = {record.cell.id: record for record in run_records}
    found: dict[str, Any] = {
        "plan.json": Plan(suite=suite, cells=cells).model_dump(mode="json"),
        "summary.json": summarize_run(cells, records, facts).model_dump(mode="json"),
        "environment.json": {"cpu_model": "x", "processors_allowed": [0, 1], "packages": {"numpy": "2.4"}},
        "lock.json": {"schema_version": 1, "sides": {"head": {"numpy": "2.4"}}},
    }
    for name, record in records.items():
        found[f"cells/{name}/record.json"] = record.model_dump(mode="json")
        budgets = [item.model_dump(mode="json") for item in run.budgets.get(name, ())][:3]
        found[f"cells/{name}/numerics.json"] = {"schema_version": 1, "nodes": budgets}
        found[f"cells/{name}/samples.jsonl"] = [item.model_dump(mode="json") for item in run.samples.get(name, ())]
    return found


def packed(found: dict[str, Any]) -> BundleFile:
    def written(name: str, data: Any) -> bytes:
        if name.endswith(".jsonl") and isinstance(data, list):
            return "".join(json.dumps(line) + "\n" for line in data).encode()
        return json.dumps(data).encode()

    members = {name: written(name, data) for name, data in found.items()}
    manifest = Manifest(cnnbench="0", suite="s", run="r", finished_utc="", members=digests(members))
    return BundleFile(manifest, members, "digest")


CONTENT = content()


def test_what_was_not_altered_is_reproduced_by_itself() -> None:
    run = unpack(packed(CONTENT), "b.zip")
    found = verification_of(run, bundled_evidence(run))
    assert set(found.counts) <= {"bitwise", "ratio reproduced", "not comparable"}
    assert found.counts["bitwise"] > 10
    skips = {cell.id: cell.skip for cell in Rerun(threads=2).plan(run).cells}
    assert len(skips) == len(CONTENT["plan.json"]["cells"])


def test_a_cell_whose_record_is_not_in_the_bundle_claims_nothing() -> None:
    lost = CONTENT["plan.json"]["cells"][0]["id"]
    run = unpack(packed({name: data for name, data in CONTENT.items() if f"/{lost}/" not in name}), "b.zip")
    found = verification_of(run, bundled_evidence(unpack(packed(CONTENT), "b.zip")))
    (claim,) = [item for item in found.claims if item.subject == lost and item.claim == "record"]
    assert (claim.grade, claim.reason) == ("not comparable", "the bundle has no record of it")
    assert found.exit_code == 5


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value within plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


PLACES = [(name, *place) for name, value in CONTENT.items() for place in places(value)]
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(
        ["../x", "/etc/passwd", "file:/etc/passwd", "package:os/../x", "cuda:99", "numpy", "skipped", -1, 0, 1e308]
    ),
)  # fmt: skip


@pytest.mark.parametrize("field", ["launch", "round", "index", "latency_s"])
def test_a_sample_that_nothing_can_have_is_refused(field: str) -> None:
    name = next(name for name in CONTENT if name.endswith("samples.jsonl"))
    found = json.loads(json.dumps(CONTENT))
    found[name][5][field] = -1
    with pytest.raises(CnnbenchError, match=field):
        run = unpack(packed(found), "b.zip")
        verification_of(run, bundled_evidence(run))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(PLACES), value=PLAIN)
def test_any_one_value_may_be_anything(place: tuple[Any, ...], value: Any) -> None:
    found = json.loads(json.dumps(CONTENT))
    holder = found
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    good = bundled_evidence(unpack(packed(CONTENT), "b.zip"))
    try:
        run = unpack(packed(found), "b.zip")
        Rerun().plan(run)
        verification_of(run, good)
    except CnnbenchError:
        return


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_a_member_that_is_missing_is_refused_or_told(name: str) -> None:
    found = {key: value for key, value in CONTENT.items() if key != name}
    good = bundled_evidence(unpack(packed(CONTENT), "b.zip"))
    if name.endswith(("samples.jsonl", "numerics.json", "record.json")):  # a cell that was not timed, checked, run
        assert verification_of(unpack(packed(found), "b.zip"), good).suite == "s"
        return
    with pytest.raises(CnnbenchError, match=name):
        unpack(packed(found), "b.zip")
