"""``cnnbench claims``: figures, verdicts, exit codes, and claims of plugins."""

from __future__ import annotations

import json

import pytest

import cnnbench
from cnnbench import registry
from cnnbench.claims.claim import ClaimEvidence, NetworkClaim
from cnnbench.cli.entry import execute
from cnnbench.errors import SuiteError
from cnnbench.face import claiming
from cnnbench.hookspecs import hookimpl


class Mine:
    """A plugin with one claim, of which nothing can be said."""

    @hookimpl
    def cnnbench_claims(self):
        return [
            NetworkClaim("mine", 99, "It is so.", "a test", lambda where: [ClaimEvidence("x", (1.0, 3.0, 2.0), most=2)])
        ]


class Broken:
    """A plugin whose hook gives something else."""

    @hookimpl
    def cnnbench_claims(self):
        return ["no claim"]


@pytest.fixture
def register():
    yield lambda plugin: registry.plugin_manager().register(plugin, type(plugin).__name__)
    registry.forget_plugins()


def test_figures_and_verdict_in_words_and_as_json(capsys):
    assert execute(["claims", "separable_cost", "--seeds", "3"]) == 0
    shown = capsys.readouterr().out
    assert "1/N + 1/F^2" in shown
    assert "holds with conditions" in shown
    assert execute(["claims", "separable_cost", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backend"] == "numpy fast"
    (one,) = found["claims"]
    assert (one["verdict"], one["evidence"][0]["value"], one["evidence"][0]["supports"]) == (
        "holds with conditions",
        0,
        True,
    )


def test_what_is_undecided_ends_with_5_and_a_broken_plugin_is_left_out(register, capsys):
    register(Mine())
    register(Broken())
    assert execute(["claims", "mine", "--seeds", "3"]) == 5
    captured = capsys.readouterr()
    assert "undecided" in captured.out
    assert "Broken" in captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["toeplit"], "did you mean 'toeplitz'"),
        (["--seeds", "2"], "3 or more"),
        (["-b", "nupy"], "did you mean 'numpy'"),
    ],
)
def test_what_cannot_be_tried_is_refused(arguments, said, capsys):
    assert execute(["claims", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_page_is_written_and_claims_that_train_are_left_out_when_time_is_short(tmp_path, monkeypatch, capsys):
    computed, trained = (
        NetworkClaim(
            name, number, "It is so.", "a test", lambda where: [ClaimEvidence("x", (1.0,), most=2)], trains=trains
        )
        for name, number, trains in (("computed", 1, False), ("trained", 2, True))
    )
    monkeypatch.setattr(claiming, "claims", lambda: {"computed": computed, "trained": trained})
    assert execute(["claims", "--quick", "-o", str(tmp_path / "page")]) == 0
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["claims-computed.svg", "claims.md"]
    assert "trained" not in capsys.readouterr().out
    assert execute(["claims", "trained", "--quick"]) == 0
    capsys.readouterr()
    assert execute(["claims", "--json"]) == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)["claims"]] == ["computed", "trained"]


def test_from_python_as_a_frame():
    found = cnnbench.examine_claims(["bottlenecks"], seeds=3)
    frame = found.frame()
    assert list(frame.columns[:3]) == ["claim", "verdict", "what"]
    assert set(frame["verdict"]) == {"holds"}
    with pytest.raises(SuiteError):
        cnnbench.examine_claims(["nothing"])
