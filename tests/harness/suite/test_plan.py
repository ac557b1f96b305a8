"""Planning: the cells of a matrix, their keys, groups and reasons to be skipped."""

from __future__ import annotations

import cProfile
from dataclasses import replace
from typing import Any

import pytest

from cnnbench.errors import SuiteError
from cnnbench.execution import backends
from cnnbench.execution.contract import BackendPlugin
from cnnbench.harness.suite import plan as planning
from cnnbench.harness.suite import trainings
from cnnbench.harness.suite.model import Suite
from cnnbench.harness.suite.plan import Filters, Plan, plan
from cnnbench.harness.suite.trainings import AskedTraining


def described(name: str, modes: tuple[str, ...], precisions: tuple[str, ...], requires: tuple[str, ...] = ()) -> Any:
    def load() -> Any:
        raise AssertionError("planning must not load a backend")

    return BackendPlugin(
        name=name,
        requires=requires,
        load=load,
        modes=modes,
        precisions=dict.fromkeys(modes, precisions),
        devices=("cpu",),
        layouts=("auto", "channels_first"),
        colour="#000000",
        distribution=name,
    )


@pytest.fixture(autouse=True)
def known_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "plain": described("plain", ("fast", "slow"), ("float32", "float64")),
        "swift": described("swift", ("eager",), ("float32", "bfloat16")),
        "absent": described("absent", ("only",), ("float32",), ("a_module_that_nobody_has",)),
    }
    monkeypatch.setattr(backends, "backend_plugins", lambda: known)


def suite(*blocks: dict[str, Any], **more: Any) -> Suite:
    return Suite.model_validate({"schema_version": 1, "name": "s", "matrix": list(blocks), **more})


def ids(result: Plan) -> list[str]:
    return [cell.id for cell in result.cells]


BLOCK = {"architectures": "resnet20", "backends": ["plain", "swift"], "batch": [1, 8]}


def test_the_product_of_the_axes_with_the_backends_of_a_group_side_by_side() -> None:
    result = plan(suite(BLOCK))
    assert ids(result) == [
        "resnet20-plain-fast-b1-3x32x32-float32",
        "resnet20-swift-eager-b1-3x32x32-float32",
        "resnet20-plain-fast-b8-3x32x32-float32",
        "resnet20-swift-eager-b8-3x32x32-float32",
    ]
    assert {name: len(cells) for name, cells in result.groups().items()} == {
        "resnet20-b1-3x32x32-float32": 2,
        "resnet20-b8-3x32x32-float32": 2,
    }


def test_ids_name_what_is_unusual() -> None:
    choice = {"name": "plain", "mode": "slow", "layout": "channels_first", "fold_batch_norm": True}
    (cell,) = plan(
        suite(
            {
                "architectures": "resnet20",
                "backends": choice,
                "image": [[3, 48, 40]],
                "threads": 2,
                "data": "photographs",
                "num_classes": 5,
            }
        )
    ).cells
    assert cell.id == "resnet20-plain-slow-channels_first-folded-b1-3x48x40-float32-photographs-c5-t2"
    assert (cell.image, cell.num_classes, cell.threads, cell.fold_batch_norm) == ((3, 48, 40), 5, 2, True)


def test_a_side_takes_the_architectures_channels() -> None:
    (cell,) = plan(suite({"architectures": "lenet5", "backends": "plain", "image": 32})).cells
    assert cell.image == (1, 32, 32)


def test_include_adds_and_exclude_removes() -> None:
    block = {
        **BLOCK,
        "include": [{"backends": {"name": "plain", "mode": "slow"}, "batch": 1}],
        "exclude": [{"backend": "swift", "batch": 8}, {"image": 224}],
    }
    assert ids(plan(suite(block))) == [
        "resnet20-plain-fast-b1-3x32x32-float32",
        "resnet20-swift-eager-b1-3x32x32-float32",
        "resnet20-plain-fast-b8-3x32x32-float32",
        "resnet20-plain-slow-b1-3x32x32-float32",
    ]


def test_what_is_missing_is_skipped_with_its_reason() -> None:
    block = {
        "architectures": "resnet20",
        "backends": ["absent", "swift", {"name": "plain", "layout": "channels_last"}],
        "precision": ["float32", "float64"],
    }
    reasons = {cell.id: cell.skip for cell in plan(suite(block)).cells}
    assert "a_module_that_nobody_has is not installed" in str(reasons["resnet20-absent-only-b1-3x32x32-float32"])
    assert reasons["resnet20-swift-eager-b1-3x32x32-float64"] == "swift has no float64 in mode eager"
    assert reasons["resnet20-plain-fast-channels_last-b1-3x32x32-float32"] == "plain has no layout channels_last"
    assert reasons["resnet20-swift-eager-b1-3x32x32-float32"] is None
    (elsewhere,) = plan(suite({"architectures": "resnet20", "backends": "swift", "device": "cuda:1"})).cells
    assert elsewhere.skip == "swift has no device cuda:1"


@pytest.mark.parametrize(
    ("devices", "asked", "skipped"), [(0, "cuda", True), (1, "cuda:1", True), (2, "cuda:1", False)]
)
def test_a_device_that_the_driver_does_not_show_is_a_skip(monkeypatch, devices: int, asked: str, skipped: bool) -> None:
    from cnnbench.harness.suite import availability

    monkeypatch.setattr("cnnbench.measurement.accelerators.cuda_devices", lambda: devices)
    reason = availability.missing_device(asked)
    assert (reason is not None) == skipped
    assert reason is None or f"no device {asked} here: the driver shows {devices}" in reason


def test_a_program_whose_first_cell_asks_for_fewer_checks_gets_the_others_in_a_later_cell() -> None:
    blocks = ({**BLOCK, "batch": 1, "checks": []}, {**BLOCK, "batch": 4, "checks": ["local"]}, {**BLOCK, "batch": 8})
    result = plan(suite(*blocks, checks=["exact", "local"]))
    assert [(cell.batch, cell.checks) for cell in result.cells if cell.backend == "plain"] == [
        (1, ()),
        (4, ("local",)),
        (8, ("exact",)),
    ]


def test_a_program_is_checked_and_trained_once() -> None:
    result = plan(suite(BLOCK, train={"architectures": "resnet20"}))
    work = {cell.id.partition("-3x")[0]: (bool(cell.checks), cell.train) for cell in result.cells}
    assert work == {
        "resnet20-plain-fast-b1": (True, True),
        "resnet20-swift-eager-b1": (True, True),
        "resnet20-plain-fast-b8": (False, False),
        "resnet20-swift-eager-b8": (False, False),
    }
    filtered = plan(suite(BLOCK, train={"architectures": "resnet20"}), Filters(expression="b8"))
    assert all(cell.checks and cell.train for cell in filtered.cells)
    assert {cell.key for cell in filtered.cells} <= {cell.key for cell in result.cells}


def test_a_backend_that_only_serves_is_measured_and_checked_without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    served = replace(described("served", ("only",), ("float32",)), trains=False)
    known = {**backends.backend_plugins(), "served": served}
    monkeypatch.setattr(backends, "backend_plugins", lambda: known)
    block = {**BLOCK, "backends": ["plain", "served"], "batch": 8}
    trained, left = plan(suite(block, train={"architectures": ["resnet20"], "data": "digits", "epochs": 1})).cells
    assert (trained.train, left.train) == (True, False)
    assert (left.skip, left.checks, left.measure) == (None, trained.checks, trained.measure)


def test_the_key_is_of_what_is_asked_and_not_of_how_long_it_is_measured() -> None:
    keys = {cell.id: cell.key for cell in plan(suite(BLOCK)).cells}
    assert len(set(keys.values())) == 4
    longer = suite(BLOCK, measure={"latency": {"rounds": 50}}, checks=["local"], gates={"latency": None})
    assert {cell.id: cell.key for cell in plan(longer).cells} == keys
    for change in ({"seed": 1}, {"train": {"architectures": "resnet20"}}):
        assert not {cell.key for cell in plan(suite(BLOCK, **change)).cells} & set(keys.values())
    other = plan(suite({**BLOCK, "data": "digits"})).cells
    assert not {cell.key for cell in other} & set(keys.values())


def test_a_way_to_vary_images_that_suites_did_not_have_counts_in_a_key_only_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that baselines of the suites of before stay comparable."""
    asked = []

    def trainings_of(point: Any, suite: Suite) -> tuple[AskedTraining, ...]:
        asked.extend(trainings.trainings_of(point, suite))
        return tuple(asked[-1:])

    def key(**augmentation: Any) -> str:
        train = {"architectures": "resnet20", "augmentation": augmentation}
        return plan(suite({**BLOCK, "backends": "plain", "batch": 1}, train=train)).cells[0].key

    monkeypatch.setattr(planning, "trainings_of", trainings_of)
    known = key(flip=True)
    assert known == key(flip=True, jitter=0, rotation=0, scale=0)
    assert len({known, key(flip=True, jitter=0.1), key(flip=True, rotation=9), key(flip=True, scale=0.1)}) == 4
    assert set(asked[0].asked["train"]["augmentation"]) == {"flip", "crop_padding", "cutout", "mixup"}


def test_blocks_may_state_their_own_checks_and_measurements() -> None:
    quiet = {**BLOCK, "architectures": "lenet5", "checks": ["local"], "measure": ["latency"]}
    result = plan(suite(BLOCK, quiet, measure={"memory": True}))
    (lenet,) = {
        (cell.checks, cell.measure) for cell in result.cells if cell.architecture == "lenet5" and cell.batch == 1
    }
    assert lenet == (("local",), ("latency",))
    assert result.cells[0].measure == ("latency", "memory")
    assert "exact" in result.cells[0].checks


def test_filters() -> None:
    both = {**BLOCK, "backends": ["swift", {"name": "plain", "mode": ["fast", "slow"]}]}
    assert len(plan(suite(both)).cells) == 6
    assert len(plan(suite(both), Filters(backends=("plain",))).cells) == 4
    assert len(plan(suite(both), Filters(backends=("plain:slow", "swift"))).cells) == 4
    assert ids(plan(suite(both), Filters(expression="slow and not b8"))) == ["resnet20-plain-slow-b1-3x32x32-float32"]
    with pytest.raises(SuiteError, match="no cell on backend 'swft'") as caught:
        plan(suite(both), Filters(backends=("swft",)))
    assert caught.value.remedy == "did you mean 'swift'?"
    with pytest.raises(SuiteError, match="no cell is left"):
        plan(suite(both), Filters(expression="nothing_has_this"))


def test_shards_are_disjoint_complete_and_keep_groups_whole() -> None:
    block = {**BLOCK, "batch": [1, 2, 3, 4, 5]}
    whole = plan(suite(block))
    parts = [plan(suite(block), Filters(shard=(i, 3))) for i in (1, 2, 3)]
    assert sorted(name for part in parts for name in ids(part)) == sorted(ids(whole))
    groups = [set(part.groups()) for part in parts]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    for part in (whole, *parts):
        checked = [(cell.program_key, name) for cell in part.cells for name in cell.checks]
        assert len(checked) == len(set(checked)), "each program once"
        assert {key for key, _ in checked} == {cell.program_key for cell in part.cells}, "and none is left to another"


def test_one_shard_trains_for_all() -> None:
    asked = suite({**BLOCK, "batch": [1, 2, 3, 4]}, train={"architectures": BLOCK["architectures"]})
    trained = [cell.training_key for i in (1, 2, 3) for cell in plan(asked, Filters(shard=(i, 3))).cells if cell.train]
    assert sorted(map(repr, trained)) == sorted(repr(cell.training_key) for cell in plan(asked).cells if cell.train)


def test_a_shard_may_be_empty() -> None:
    assert plan(suite({**BLOCK, "batch": [1]}), Filters(shard=(100, 100))).cells == ()


def test_two_blocks_that_ask_for_one_cell_get_all_that_either_wants() -> None:
    first = {**BLOCK, "checks": ["local"], "measure": ["latency"]}
    second = {**BLOCK, "checks": ["exact", "local"], "measure": ["memory"]}
    found = {cell.id: cell for cell in plan(suite(first, second)).cells}
    assert list(found) == ids(plan(suite(BLOCK)))
    assert {cell.measure for cell in found.values()} == {("latency", "memory")}
    assert set().union(*(cell.checks for cell in found.values())) == {"local", "exact"}


@pytest.mark.parametrize(
    ("block", "message", "where"),
    [
        ({"architectures": "lenet5", "backends": "plain", "image": 4}, "window", "matrix.0.architectures: lenet5"),
        ({"architectures": "resnet21", "backends": "plain"}, "unknown architecture", "matrix.0.architectures.0"),
        ({"architectures": "lenet5", "backends": ["plane"]}, "unknown backend", "matrix.0.backends.0.name"),
    ],
)
def test_what_cannot_be_is_an_error_of_the_suite(block: dict[str, Any], message: str, where: str) -> None:
    with pytest.raises(SuiteError, match=message) as caught:
        plan(suite(block))
    assert str(caught.value.where).startswith(where)


def test_a_plan_reads_back_from_its_json() -> None:
    result = plan(suite(BLOCK, train={"architectures": "resnet20", "optimizer": {"kind": "sgd", "momentum": 0.5}}))
    assert Plan.model_validate_json(result.model_dump_json()) == result


def test_the_work_of_planning_grows_with_the_number_of_cells() -> None:
    """Counted in calls, which a busy machine does not change; 10,000 cells take a second or two of a processor."""
    few, many = 500, 4000
    plan(suite({**BLOCK, "batch": [1, 2]}))  # imports
    calls = {}
    for count in (few, many):
        large = suite({**BLOCK, "batch": list(range(1, count // 4 + 1)), "precision": ["float32", "float64"]})
        profile = cProfile.Profile()
        profile.enable()
        result = plan(large)
        profile.disable()
        assert len(result.cells) == count
        calls[count] = sum(entry.callcount for entry in profile.getstats())
    assert calls[many] < 1.1 * calls[few] * many / few
    assert calls[many] < 200 * many
