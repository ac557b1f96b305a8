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
from cnnbench.harness.run.claim_records import ClaimRecord
from cnnbench.harness.run.files import read_model, to_json
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
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == [
        "claims",
        "claims-computed.svg",
        "claims.md",
    ]
    assert "trained" not in capsys.readouterr().out
    assert execute(["claims", "trained", "--quick"]) == 0
    capsys.readouterr()
    assert execute(["claims", "--json"]) == 0
    assert [item["name"] for item in json.loads(capsys.readouterr().out)["claims"]] == ["computed", "trained"]


class Counted:
    """Claims that count how often they are tried; the second one fails until ``mended``."""

    def __init__(self):
        self.tried: list[str] = []
        self.mended = False

    def claims(self):
        both = (NetworkClaim("second", 2, "It is so.", "a test", self.second), self.one("third", 3))
        return {claim.name: claim for claim in (self.one("first", 1), *both)}

    def one(self, name, number):
        def experiment(laboratory):
            self.tried.append(name)
            yield ClaimEvidence("x", tuple(float(seed) for seed in laboratory.seeds), least=-9)

        return NetworkClaim(name, number, "It is so.", "a test", experiment)

    def second(self, laboratory):
        self.tried.append("second")
        if not self.mended:
            raise RuntimeError("no memory")
        yield ClaimEvidence("y", (1.0,), most=2)


@pytest.fixture
def counted(monkeypatch):
    made = Counted()
    monkeypatch.setattr(claiming, "claims", made.claims)
    return made


def titles(folder):
    lines = (folder / "claims.md").read_text().splitlines()
    return [line.removeprefix("## ") for line in lines if line.startswith("## ")]


def test_claims_that_are_named_join_those_of_the_folder_in_their_order(counted, tmp_path, capsys):
    assert execute(["claims", "third", "--seeds", "3", "-o", str(tmp_path)]) == 0
    assert execute(["claims", "first", "--seeds", "3", "-o", str(tmp_path)]) == 0
    assert titles(tmp_path) == ["1. first: holds", "3. third: holds"]
    assert counted.tried == ["third", "first"]


def test_a_call_goes_on_where_the_last_one_ended_and_tries_what_failed_again(counted, tmp_path, capsys):
    assert execute(["claims", "-o", str(tmp_path), "--seeds", "3"]) == 5
    assert counted.tried == ["first", "second", "third"]
    assert "the experiment failed: RuntimeError: no memory" in (tmp_path / "claims.md").read_text()
    counted.mended = True
    capsys.readouterr()
    assert execute(["claims", "-o", str(tmp_path), "--seeds", "3", "--json"]) == 0
    assert counted.tried == ["first", "second", "third", "second"]
    shown = json.loads(capsys.readouterr().out)["claims"]
    assert [(item["name"], item["kept"]) for item in shown] == [("first", True), ("second", False), ("third", True)]
    assert shown[0]["evidence"][0]["count"] == 3
    assert "the experiment failed" not in (tmp_path / "claims.md").read_text()


def test_other_seeds_and_another_mode_are_tried_and_the_page_says_over_how_many(counted, tmp_path, capsys):
    names = ["claims", "third", "-o", str(tmp_path)]
    assert {execute([*names, *more]) for more in (["--seeds", "3"], ["--seeds", "4"], ["--seeds", "4"])} == {0}
    assert counted.tried == ["third"] * 2
    said = "note: the claim third is tried again: it was made from another number of seeds"
    assert capsys.readouterr().err.splitlines() == [said]
    execute(["claims", "first", "--seeds", "3", "-o", str(tmp_path)])
    assert "over 3 or 4 seeds" in (tmp_path / "claims.md").read_text()
    execute([*names, "--seeds", "4", "-b", "numpy:reference"])
    assert counted.tried == ["third", "third", "first", "third"]
    assert len(titles(tmp_path)) == 1  # a page is of one backend in one mode
    execute([*names, "--seeds", "4"])
    assert len(titles(tmp_path)) == 2


def test_what_another_version_made_is_tried_again_and_marked_until_then(counted, tmp_path, capsys):
    counted.mended = True
    execute(["claims", "second", "-o", str(tmp_path)])
    kept = tmp_path / "claims/second-numpy-fast.json"
    record = read_model(kept, ClaimRecord)
    kept.write_text(to_json(record.model_copy(update={"made_from": record.made_from | {"set of packages": "older"}})))
    execute(["claims", "first", "-o", str(tmp_path)])
    assert "* made from another set of packages than the last" in (tmp_path / "claims.md").read_text()
    execute(["claims", "second", "-o", str(tmp_path)])
    assert counted.tried == ["second", "first", "second"]
    assert "made from another" not in (tmp_path / "claims.md").read_text()
    kept.write_text("{")
    execute(["claims", "second", "-o", str(tmp_path)])
    assert counted.tried == ["second", "first", "second", "second"]


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_tried(counted, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert execute(["claims", "-o", str(tmp_path / "file")]) == 2
    assert "--output" in capsys.readouterr().err
    assert counted.tried == []


def test_from_python_as_a_frame():
    found = cnnbench.examine_claims(["bottlenecks"], seeds=3)
    frame = found.frame()
    assert list(frame.columns[:3]) == ["claim", "verdict", "what"]
    assert set(frame["verdict"]) == {"holds"}
    with pytest.raises(SuiteError):
        cnnbench.examine_claims(["nothing"])
