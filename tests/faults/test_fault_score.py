"""The mutation score: what becomes of drawn faults, and of clean runs, on disk and in counts."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from loaded_backends import loaded_backend

import cnnbench
from cnnbench.cli.entry import execute
from cnnbench.errors import DataError, SuiteError
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.face.fault_scoring import Rows
from cnnbench.measurement.clock import ManualClock
from cnnbench.numerics.answering_code import code_digest
from cnnbench.numerics.faults.engine.base import other_layer
from cnnbench.numerics.faults.engine.programs import ProgramChange, changed_programs
from cnnbench.numerics.faults.grammar.drawing import DrawnChange
from cnnbench.numerics.faults.grammar.faults import DrawnFault, FaultId, Occasion
from cnnbench.numerics.faults.grammar.networks import network_case, score_networks
from cnnbench.numerics.faults.score import (
    CleanRow,
    FaultRow,
    FaultScore,
    Rate,
    Scoring,
    examine_fault,
    fault_ids,
    running,
)
from cnnbench.numerics.faults.score.equivalence import bound_of

OPTIONS = ProgramOptions("fast", precision("float32"))


def test_twenty_drawn_faults_are_killed_or_equivalent():
    networks = ("residual", "transformer", "kind:conv", "kind:batch_norm", "kind:softmax", "kind:max_pool")
    asked = Scoring(loaded_backend("numpy"), OPTIONS, seed=3, networks=networks)
    rows = [examine_fault(asked, name) for name in islice(fault_ids(asked), 20)]
    score = FaultScore("numpy", "fast", "float32", rows)
    assert [row.where for row in rows if row.outcome in ("raised", "not injected")] == []
    assert score.total.killed >= 14
    assert all(row.share < 1 for row in rows if row.outcome == "equivalent")
    assert all(row.share is None or row.share > 1 for row in rows if row.outcome == "killed")


SLOW = [
    pytest.param("numpy:fast", 120, 40),
    pytest.param("torch:eager", 120, 40, marks=pytest.mark.torch),
    pytest.param("jax:jit", 40, 10, marks=pytest.mark.jax),
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("backend", "count", "clean"), SLOW)
def test_nearly_all_drawn_faults_are_killed_and_no_clean_run_raises_an_alarm(backend, count, clean):
    name = backend.partition(":")[0]
    if name != "numpy":
        pytest.importorskip(name, reason=f"needs {name}")
    networks = tuple(network for network in score_networks() if network != "resnet20")
    score = cnnbench.fault_score(backend, count=count, clean=clean, seed=11, networks=networks)
    assert [row.alarms for row in score.alarms] == []
    assert score.total.killed_rate.share >= 0.97, [f"{row.id} {row.text}" for row in score.escapes]


def drawn(change):
    """A change of the residual network's batch norms, as a drawn fault."""
    operation = other_layer(change)
    nodes = frozenset({"norm", "block.norm1", "block.norm2"})
    case = network_case("residual", OPTIONS)
    return DrawnFault(
        FaultId("residual", 0, 0),
        "op",
        Occasion("always", "always"),
        DrawnChange("field", "eps", "batch_norm", nodes, operation=operation),
        case,
    )


def test_an_epsilon_below_rounding_is_equivalent_with_its_bound():
    bound = bound_of(drawn(lambda layer: replace(layer, eps=layer.eps * (1 + 1e-6))), frozenset())
    assert bound.equivalent
    assert 0 < bound.share < 1
    assert "of the budget at most" in bound.text


def test_an_epsilon_that_can_be_seen_is_not_equivalent():
    bound = bound_of(drawn(lambda layer: replace(layer, eps=layer.eps * 10)), frozenset())
    assert not bound.equivalent
    assert bound.share > 10


def test_a_row_is_kept_and_made_again_only_from_other_code(tmp_path):
    path = tmp_path / "score.jsonl"
    how = {"networks": ("kind:relu",), "count": 3, "clean": 2, "file": path}
    made = []
    first = cnnbench.fault_score("numpy:reference", on_row=made.append, **how)
    assert len(made) == 5
    again = cnnbench.fault_score("numpy:reference", on_row=made.append, **how)
    assert len(made) == 5
    assert again.faults == first.faults
    assert again.clean == first.clean
    path.write_text(path.read_text().replace('"made_from": "', '"made_from": "other'))
    cnnbench.fault_score("numpy:reference", on_row=made.append, **how)
    assert len(made) == 10
    path.write_text(path.read_text()[:-20])  # the last line was cut off
    cnnbench.fault_score("numpy:reference", on_row=made.append, **how)
    assert len(made) == 11
    path.write_text('{"id": 1}\n')
    with pytest.raises(DataError, match="line 1"):
        cnnbench.fault_score("numpy:reference", **how)


def test_time_that_is_up_leaves_the_rest_for_later(tmp_path):
    how = {"networks": ("kind:relu",), "count": 3, "file": tmp_path / "score.jsonl"}
    assert len(cnnbench.fault_score("numpy", minutes=0, **how).faults) < 3
    assert len(cnnbench.fault_score("numpy", **how).faults) == 3


def test_one_fault_is_examined_again_by_its_id():
    score = cnnbench.fault_score("numpy", fault="kind:relu/0/1")
    assert [row.id for row in score.faults] == ["kind:relu/0/1"]
    with pytest.raises(SuiteError, match="NETWORK/SEED/NUMBER"):
        cnnbench.fault_score("numpy", fault="relu")


def test_a_check_that_calls_the_right_backend_wrong_kills_nothing_and_no_other_is_tried_on_it(monkeypatch):
    asked = Scoring(loaded_backend("numpy"), ProgramOptions("fast", precision("float32")), 0)
    name = FaultId.parse("residual/0/2")
    tried = []

    def alarm(subject, check, case):
        tried.append(check)
        return "wrong" if check == "local" else None

    monkeypatch.setattr(running, "_SOUND", {})
    monkeypatch.setattr(running, "_alarm", alarm)
    row = examine_fault(asked, name)
    assert (row.outcome, row.check) == ("killed", "exact")
    assert tried == ["local", "exact"]  # those that failed


def test_counts_have_the_interval_of_clopper_and_pearson():
    low, high = Rate(0, 100).interval
    assert low == 0
    assert high == pytest.approx(0.0362, abs=1e-4)  # 1 - 0.025^(1/100)
    assert Rate(99, 100).interval == pytest.approx((0.9455, 0.99975), abs=1e-4)
    rows = [
        FaultRow("a", "op", "always", "field", "", "killed", located=True),
        FaultRow("b", "op", "call", "field", "", "killed"),
        FaultRow("c", "load", "always", "term", "", "escaped"),
        FaultRow("d", "op", "always", "field", "", "equivalent", share=0.2),
        FaultRow("e", "op", "always", "field", "", "raised"),
    ]
    score = FaultScore("numpy", "fast", "float32", rows)
    assert tuple(score.total) == ("all", 4, 2, 1, 1, 1)
    assert tuple(score.by("where")[1]) == ("op", 3, 2, 1, 0, 1)
    assert tuple(score.total.killed_rate) == (2, 3)
    assert [row.id for row in score.misplaced] == ["b"]


def test_the_command_says_what_escaped_and_with_json_every_row(capfd):
    line = "faults score numpy --network kind:relu --count 2 --clean 1"
    assert execute([*line.split(), "--json"]) == 0
    data = json.loads(capfd.readouterr().out)
    assert data["made_from"]["code"] == code_digest()
    assert dict(data["made_from"]["versions"])["numpy"] == np.__version__
    assert [row["id"] for row in data["faults"]] == ["kind:relu/0/0", "kind:relu/0/1"]
    assert data["clean"]["runs"] == 1
    assert data["total"]["killed_interval"][0] <= 1
    assert execute(line.split()) == 0
    shown = capfd.readouterr()
    assert "equivalent" in shown.out
    assert "false alarms: 0 of 1" in shown.out
    assert "kind:relu/0/1" in shown.err


@pytest.mark.parametrize(("weight", "equivalent"), [("block.conv2.bias", True), ("block.conv2.weight", False)])
def test_a_slot_of_a_gradient_that_is_0_may_be_off_by_less_than_rounding_makes_of_it(weight, equivalent):
    def trained(before, after, moment):
        slots = {name: a * 1.008 if name.startswith(f"{weight}/") else a for name, a in after.slots.items()}
        return after._replace(slots=slots)

    programs = changed_programs(ProgramChange(trained=trained), ("compile_step",))
    change = DrawnChange("constant", "a slot 0.8 % off", "optimizer", frozenset({"optimizer"}), programs=programs)
    case = network_case("residual", OPTIONS)
    found = bound_of(
        DrawnFault(FaultId("residual", 0, 0), "optimizer", Occasion("always", "always"), change, case), frozenset()
    )
    assert found.equivalent is equivalent, found.text


def test_no_row_is_begun_after_its_minutes():
    clock, made = ManualClock(), []

    def examine(name):
        clock.advance(40)
        made.append(name)
        return CleanRow(name, "net", 0, 2, folded=False, precision="float32")

    rows = Rows(None, {"minutes": 1}, clock.clock)
    assert [row.id for row in rows.filled([], iter("abcd"), examine)] == ["a", "b"]
    assert made == ["a", "b"]
