"""``cnnbench bundle`` and ``verify-bundle`` on a real run: packed here, run again in another environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cnnbench.harness.run.bundle_file import Manifest, digests, read_bundle, write_bundle

NETWORK = """\
name: tiny
input: [1, 12, 12]
nodes:
  - {name: conv, kind: conv, out_channels: 4, kernel_size: 3}
  - {name: relu, kind: relu}
  - {name: pool, kind: global_avg_pool}
  - {name: fc, kind: linear, out_features: 3}
"""
SUITE = """\
schema_version: 1
name: packed
matrix:
  - architectures: lenet5
    backends: [{name: numpy, mode: [fast, reference]}]
    data: digits
    measure: latency
  - architectures: "file:tiny.yaml"
    backends: numpy
checks: [local, end_to_end]
measure:
  latency: {controls: false, launches: 1, rounds: 4, samples: 4, max_round_s: 0.2, warmup: {max_s: 0.5}}
  memory: true
  yardsticks: false
train: {architectures: lenet5, epochs: 1, batch: 64, envelope_runs: 1, train_images: 256, test_images: 100}
"""
LENET, TINY = "lenet5-numpy-fast-b1-1x32x32-float32-digits-t1", "tiny-numpy-fast-b1-1x12x12-float32-t1"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are tested on Linux")


def cnnbench(folder: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "cnnbench", *arguments],
        cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("maker")
    (folder / "tiny.yaml").write_text(NETWORK)
    (folder / "packed.yaml").write_text(SUITE)
    ran = cnnbench(folder, "run", "packed.yaml", "--no-mlflow", "-q", "--threads", "1")
    assert ran.returncode == 0, ran.stderr
    made = cnnbench(folder, "bundle", "packed", "-o", "packed.zip", "--json")
    assert made.returncode == 0, made.stderr
    return folder, json.loads(made.stdout)


@pytest.fixture(scope="module")
def verified(
    packed: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any], Path]:
    """In a virtual environment of its own, in another folder, with two threads instead of one."""
    folder = tmp_path_factory.mktemp("verifier")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    purelib = Path(
        subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
    )  # fmt: skip
    (purelib / "shared.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
        done = cnnbench(
            folder, "verify-bundle", str(packed[0] / "packed.zip"), "--threads", "2", "--junit", "grades.xml",
            "--json", "-q", python=str(python),
        )  # fmt: skip
    assert done.stdout, done.stderr
    return done, json.loads(done.stdout), folder


def test_a_bundle_holds_what_the_run_found_and_the_same_bytes_each_time(packed) -> None:
    folder, said = packed
    found = read_bundle(folder / "packed.zip")
    names = set(found.members)
    assert {"plan.json", "suite.resolved.yaml", "environment.json", "lock.json", "summary.json"} <= names
    assert {f"cells/{TINY}/{file}" for file in ("record.json", "samples.jsonl", "numerics.json")} <= names
    assert found.members["attachments/0.yaml"].decode() == NETWORK
    lock = json.loads(found.members["lock.json"])["sides"]["head"]
    assert {"numpy", "pluggy", "pydantic"} <= set(lock)
    record = json.loads(found.members[f"cells/{TINY}/record.json"])
    assert record["cell"]["architecture"] == "file:attachments/0/tiny.yaml"
    assert {name for name, value in record["digests"].items() if value} == {"graph", "weights", "inputs"}  # no training
    assert len(record["outputs"]) == 64
    cnnbench(folder, "bundle", "packed", "-o", "again.zip")
    assert (folder / "again.zip").read_bytes() == (folder / "packed.zip").read_bytes()
    assert said["digest"] == found.digest


def test_a_bundle_names_no_folder_of_the_machine_that_made_it(packed) -> None:
    folder, _ = packed
    for name, data in read_bundle(folder / "packed.zip").members.items():
        for path in (str(folder), str(Path.home()), str(Path(sys.executable).parent)):
            assert path == "/" or path.encode() not in data, (name, path)


def test_every_claim_is_graded_in_another_environment_with_other_threads(verified) -> None:
    done, found, _ = verified
    claims = {(claim["subject"], claim["claim"]): claim for claim in found["claims"]}
    numerical = {name: claim["grade"] for name, claim in claims.items() if name[1] not in ("latency", "memory")}
    assert set(numerical.values()) <= {"bitwise", "within budget"}
    assert {name[1] for name in numerical} == {"outputs", "local", "end_to_end", "training curve"}
    assert numerical[LENET.replace("fast", "reference"), "outputs"] == "bitwise"
    assert {name[1] for name in claims} - {name[1] for name in numerical} == {"latency", "memory"}
    assert done.returncode == found["exit_code"] in (0, 1, 5)
    differing = {(item["name"], item["base"], item["head"]) for item in found["differences"]}
    assert ("requested.threads", "1", "2") in differing
    assert ("variables.OMP_NUM_THREADS", "1", "2") in differing


def test_the_grades_are_written_for_people_and_for_ci(packed, verified) -> None:
    _, found, folder = verified
    text = (folder / found["folder"] / "verification.md").read_text()
    assert text.startswith("## packed\n\nRun ")
    assert "### Claims" in text
    assert text.count("| training curve |") == 2
    assert (folder / "summary.md").read_text().endswith(text + "\n")  # after the report of the run itself
    cases = ElementTree.parse(folder / "grades.xml").getroot().iter("testcase")
    outcomes = {(case.get("classname"), case.get("name")): [child.tag for child in case] for case in cases}
    assert len(outcomes) == len(found["claims"])
    for claim in found["claims"]:
        expected = {"not comparable": ["skipped"], "not reproduced": ["failure"]}.get(claim["grade"], [])
        assert outcomes[claim["subject"], claim["claim"]] == expected


def test_a_base_side_for_a_run_that_has_none_is_refused(packed, tmp_path: Path) -> None:
    done = cnnbench(tmp_path, "verify-bundle", str(packed[0] / "packed.zip"), "--base", sys.executable)
    assert done.returncode == 2
    assert "the bundle is of no A/B run" in done.stderr
    assert not (tmp_path / "reports").exists()


@pytest.mark.slow
def test_a_bundled_ab_run_is_verified_on_both_sides(packed, tmp_path: Path) -> None:
    folder = packed[0]
    suite = ["packed.yaml", "--base", sys.executable, "-k", "tiny", "--threads", "1", "--no-mlflow", "-q"]
    ran = cnnbench(folder, "ab", *suite, "-o", str(tmp_path / "ab"))
    assert ran.returncode in (0, 5), ran.stderr
    made = cnnbench(folder, "bundle", "packed", "--runs", str(tmp_path / "ab"), "-o", str(tmp_path / "ab.zip"))
    assert made.returncode == 0, made.stderr
    done = cnnbench(tmp_path, "verify-bundle", "ab.zip", "--base", sys.executable, "--json", "-q")
    claims = {(item["subject"], item["claim"]): item for item in json.loads(done.stdout)["claims"]}
    for name in (TINY, f"{TINY}-base"):
        assert claims[name, "outputs"]["grade"] == "bitwise", done.stdout
    assert claims[TINY, "head / base"]["again"].startswith(("0.", "1"))
    alone = cnnbench(tmp_path, "verify-bundle", "ab.zip", "--json", "-q")
    claims = {(item["subject"], item["claim"]): item for item in json.loads(alone.stdout)["claims"]}
    assert claims[f"{TINY}-base", "outputs"]["reason"].endswith("name its interpreter with --base")
    assert claims[TINY, "head / base"]["grade"] == "not comparable"


def test_the_second_run_is_a_run_with_its_verification_beside_it(verified, packed) -> None:
    _, found, folder = verified
    run = folder / found["folder"]
    assert json.loads((run / "verification.json").read_text())["bundle"] == packed[1]["digest"]
    assert (run / "report.html").exists()
    record = json.loads((run / "cells" / TINY / "record.json").read_text())
    assert record["cell"]["threads"] == 2
    assert record["status"] == "ok"


def changed(path: Path, target: Path, name: str, edit: dict[str, Any]) -> Path:
    """A bundle whose maker wrote something else into one record: digests and all."""
    found = read_bundle(path)
    data = {**json.loads(found.members[name]), **edit}
    members = {**found.members, name: json.dumps(data).encode()}
    manifest = Manifest(**{**dict(found.manifest), "members": digests(members)})
    write_bundle(target, manifest, members)
    return target


@pytest.mark.slow
def test_a_false_claim_is_not_reproduced(packed, tmp_path: Path) -> None:
    name = f"cells/{TINY}/record.json"
    record = json.loads(read_bundle(packed[0] / "packed.zip").members[name])
    path = changed(packed[0] / "packed.zip", tmp_path / "false.zip", name, {
        "outputs": "0" * 64, "digests": {**record["digests"], "weights": "0" * 64},
    })  # fmt: skip
    plan = json.loads(read_bundle(path).members["plan.json"])
    cells = [cell for cell in plan["cells"] if cell["id"] == TINY]
    path = changed(path, tmp_path / "false.zip", "plan.json", {"cells": cells})
    done = cnnbench(tmp_path, "verify-bundle", str(path), "-q", "--threads", "1")
    assert done.returncode == 5, done.stderr
    assert "the digest of the weights differs" in done.stdout
    assert "is not wholly comparable here" in done.stdout


def test_a_damaged_bundle_is_told_before_anything_runs(packed, tmp_path: Path) -> None:
    data = (packed[0] / "packed.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(data[: len(data) // 2])
    done = cnnbench(tmp_path, "verify-bundle", "half.zip")
    assert done.returncode == 2
    assert "half.zip: the bundle cannot be read" in done.stderr
    assert not (tmp_path / "reports").exists()


def test_a_bundle_may_not_name_files_of_the_machine_that_verifies_it(packed, tmp_path: Path) -> None:
    plan = json.loads(read_bundle(packed[0] / "packed.zip").members["plan.json"])
    secret = tmp_path / "secret.yaml"
    secret.write_text(NETWORK)
    cells = [
        {**cell, "architecture": f"file:{secret}"} if cell["id"] == TINY
        else {**cell, "weights": "package:os/../../secret.safetensors"}
        for cell in plan["cells"]
    ]  # fmt: skip
    path = changed(packed[0] / "packed.zip", tmp_path / "curious.zip", "plan.json", {"cells": cells})
    done = cnnbench(tmp_path, "verify-bundle", str(path), "--json", "-q")
    claims = json.loads(done.stdout)["claims"]
    assert done.returncode == 5
    assert {claim["grade"] for claim in claims} == {"not comparable"}
    reasons = {claim["reason"] for claim in claims if claim["claim"] != "latency"}
    assert reasons == {
        "skipped here: its network is not in the bundle", "skipped here: its weights are not in the bundle"
    }  # fmt: skip


def test_a_run_without_records_cannot_be_bundled(tmp_path: Path) -> None:
    (tmp_path / "reports/runs/none/x/cells").mkdir(parents=True)
    done = cnnbench(tmp_path, "bundle", "none")
    assert done.returncode == 2
    assert "plan.json: the file is missing" in done.stderr
    assert not list(tmp_path.glob("*.zip"))
