"""Plugins: found by entry point and by name, rejected when they are wrong, and no broken one takes the others along."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnbench import hookspecs, registry
from cnnbench.claims.claim import NetworkClaim
from cnnbench.cli.entry import execute
from cnnbench.execution.backends import load_backend
from cnnbench.execution.operations import Operations
from cnnbench.face.claiming import examine_claims
from cnnbench.hookspecs import hookimpl
from cnnbench.spec.architectures import shipped
from cnnbench.training.dataset import Dataset, DatasetPlugin
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.registry import ImageMetric, score
from cnnbench.training.metrics.statistic import MeanStatistic

ROOT = Path(__file__).parents[1]
CHECKED_OUT = os.pathsep.join([str(ROOT), str(ROOT / "backends")])


def run(arguments: list[str], tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cnnbench", *arguments],
        env={**os.environ, "PYTHONPATH": f"{CHECKED_OUT}{os.pathsep}{tmp_path}", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def distribution(folder: Path, name: str, module: str) -> None:
    """An installed distribution, as far as importlib.metadata looks: an entry point to ``module``."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cnnbench]\n{name} = {module}\n")


@pytest.mark.parametrize("content", ["import nothing_like_this\n", "raise RuntimeError('broken on import')\n"])
def test_a_broken_entry_point_is_left_out_and_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken_plugin.py").write_text(content)
    distribution(tmp_path, "broken", "broken_plugin")
    result = run(["list", "backends"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "numpy" in result.stdout
    assert "plugin 'broken' is broken and left out" in result.stderr
    assert "broken, left out" in run(["doctor"], tmp_path).stdout


def test_a_backend_whose_plugin_is_broken_is_an_error_that_says_so(tmp_path: Path) -> None:
    distribution(tmp_path, "broken", "no_such_module")
    result = run(["verify", "lenet5", "-b", "broken"], tmp_path)
    assert result.returncode == 2
    assert "no_such_module" in result.stderr


def test_an_unknown_hook_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "odd_plugin.py").write_text(
        "from cnnbench.hookspecs import hookimpl\n\n@hookimpl\ndef cnnbench_backendz():\n    return ()\n"
    )
    result = run(["list", "backends"], tmp_path, CNNBENCH_PLUGINS="odd_plugin")
    assert result.returncode == 2
    assert "cnnbench_backendz" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_named_plugin_that_is_missing_is_an_error_of_use(tmp_path: Path) -> None:
    result = run(["list", "backends"], tmp_path, CNNBENCH_PLUGINS="no_such_module")
    assert result.returncode == 2
    assert "CNNBENCH_PLUGINS" in result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_reports_a_named_plugin_that_is_missing(tmp_path: Path) -> None:
    result = run(["doctor"], tmp_path, CNNBENCH_PLUGINS="no_such_module")
    assert result.returncode == 0, result.stderr
    assert "numpy" in result.stdout
    assert re.search(r"no_such_module +broken, left out +No module named 'no_such_module'", result.stdout)


def test_the_installed_script_finds_a_named_plugin_in_the_working_folder_and_so_do_its_workers(tmp_path: Path) -> None:
    """Neither has the folder on its path: a script's own folder stands there, and a worker is started without any."""
    (tmp_path / "my_network.py").write_text(
        "from cnnbench.hookspecs import hookimpl\n"
        "from cnnbench.spec.architectures import shipped\nfrom dataclasses import replace\n\n"
        "@hookimpl\ndef cnnbench_architectures():\n    return [replace(shipped()[0], name='mine')]\n"
    )
    script = "import sys; sys.path.pop(0); from cnnbench.cli import main; sys.argv[0] = 'cnnbench'; main()"
    variables = {**os.environ, "PYTHONPATH": CHECKED_OUT, "CNNBENCH_PLUGINS": "my_network"}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, *arguments],
            cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    shown = command("show", "mine")
    assert shown.returncode == 0, shown.stderr
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from cnnbench.registry import architectures; print('mine' in architectures())"],
        cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr  # as workers are started


class Plugin:
    """A plugin whose hooks do what a test wants."""


@pytest.fixture
def register() -> Iterator[Callable[..., Plugin]]:
    """Registers a plugin with these hooks for one test; ``name`` is the plugin's."""

    def registered(name: str, **hooks: Callable[..., Any]) -> Plugin:
        plugin = Plugin()
        for hook, function in hooks.items():
            setattr(plugin, hook, hookimpl(function))
        registry.plugin_manager().register(plugin, name)
        return plugin

    yield registered
    registry.forget_plugins()


def fails(*_: Any) -> Any:
    raise ValueError("not today")


def ends(*_: Any) -> Any:
    sys.exit(3)


WRONG = {  # a hook that gives something wrong, and the reason that is told
    "raises": (lambda: fails(), "ValueError: not today"),
    "exits": (lambda: ends(), "SystemExit: 3"),
    "gives nothing": (lambda: None, "TypeError"),
    "gives another type": (lambda: ["resnet18"], "'resnet18' is no Architecture"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_hook_that_goes_wrong_is_left_out_with_its_reason_and_the_others_count(register, capsys, what):
    function, reason = WRONG[what]
    register("wrong", cnnbench_architectures=function)
    register("right", cnnbench_architectures=lambda: [replace(shipped()[0], name="right")])
    assert list(registry.architectures()) == [*(item.name for item in shipped()), "right"]
    assert registry.broken_plugins()["wrong"].startswith("cnnbench_architectures: ")
    assert reason in registry.broken_plugins()["wrong"]
    assert f"plugin 'wrong' is broken and left out: {registry.broken_plugins()['wrong']}" in capsys.readouterr().err
    registry.architectures()
    assert not capsys.readouterr().err, "it is named once"


def test_a_name_that_is_taken_stays_with_the_first_plugin(register):
    first = shipped()[0]
    register("taker", cnnbench_architectures=lambda: [replace(first, name="new"), first])
    assert registry.architecture(first.name) is first
    assert "new" not in registry.architectures(), "a plugin counts as a whole or not at all"
    assert f"the name {first.name!r} is taken" in registry.broken_plugins()["taker"]


def test_an_interruption_by_the_user_is_none_of_a_plugin_s_faults(register):
    def interrupted() -> Any:
        raise KeyboardInterrupt

    register("slow", cnnbench_architectures=interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry.architectures()


def test_ops_of_a_plugin_that_raises_half_way_do_not_count(register, capsys):
    def half(backend: str, operations: Operations) -> None:
        operations.register("half")(fails)
        operations.register("relu")(fails)
        fails()

    def whole(operations: Operations) -> None:  # a hook takes the parameters that it wants
        operations.register("whole")(fails)

    register("half", cnnbench_operations=half)
    register("whole", cnnbench_operations=whole)
    operations = load_backend("numpy").operations
    assert "whole" in operations
    assert "half" not in operations
    assert operations["relu"].forward is not fails
    assert "plugin 'half' is broken and left out: cnnbench_operations: ValueError: not today" in capsys.readouterr().err


def test_a_plugin_with_a_hook_that_does_not_exist_is_left_out_and_named(tmp_path: Path) -> None:
    """As one that was written for another version of cnnbench."""
    (tmp_path / "newer_plugin.py").write_text(
        "from cnnbench.hookspecs import hookimpl\n\n@hookimpl\ndef cnnbench_wishes():\n    return ()\n"
    )
    distribution(tmp_path, "newer", "newer_plugin")
    result = run(["list", "backends"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "numpy" in result.stdout
    assert "plugin 'newer' is broken and left out" in result.stderr
    assert "cnnbench_wishes" in result.stderr


def test_every_hook_says_who_calls_it_and_what_its_parameters_are():
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("cnnbench_")}
    assert hooks
    for name, hook in hooks.items():
        assert "Called by " in hook.__doc__, name
        for parameter in inspect.signature(hook).parameters:
            assert f"        {parameter}: " in hook.__doc__, (name, parameter)


def test_the_core_implements_or_is_implemented_for_every_hook():
    hooks = {name for name in vars(hookspecs) if name.startswith("cnnbench_")}
    unused = {name for name in hooks if not registry.implementations(name)}
    assert unused == {"cnnbench_operations"}, "each backend registers its own ops; the hook is for other plugins"


def test_what_a_plugin_gave_may_raise_when_it_is_used_and_takes_nothing_else_along(register, capsys):
    """Its network's builder, its dataset's check, its claim's experiment and its metric's statistic."""
    dataset = DatasetPlugin("mine", "a dataset", ("test",), fails, fails)
    metric = ImageMetric("mine", ("label",), (), fails)

    def right(*_: Any) -> MeanStatistic:
        return MeanStatistic(np.ones(1))

    register(
        "values",
        cnnbench_architectures=lambda: [replace(shipped()[0], name="mine", build=fails)],
        cnnbench_datasets=lambda: [dataset],
        cnnbench_claims=lambda: [NetworkClaim("mine", 0, "It is so.", "a test", fails)],
        cnnbench_image_metrics=lambda: [metric, replace(metric, name="right", statistic=right)],
    )
    assert execute(["list", "layers"]) == 0
    assert "network 'mine' failed and is left out: ValueError: not today" in capsys.readouterr().err
    assert execute(["list", "datasets"]) == 0
    assert re.search("mine +ValueError: not today", capsys.readouterr().out)
    found = examine_claims(["mine", "bottlenecks"], seeds=3).findings
    assert [(item.verdict, item.lack) for item in found] == [("undecided", "ValueError: not today"), ("holds", None)]
    images = Dataset("mine", "test", np.zeros((1, 1, 2, 2), np.float32), np.zeros(1, np.int64), ("a",), "")
    assert [item.metric for item in score(["mine", "right"], [Decoded(label=0)], images)] == ["right"]
    assert "metric 'mine' failed and is left out: ValueError: not today" in capsys.readouterr().err
    assert registry.broken_plugins() == {}
