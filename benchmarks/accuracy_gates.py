"""How often the gate on test accuracy calls a training wrong: one that is right, and ones with a defect of each size.

    python benchmarks/accuracy_gates.py ROWS.jsonl [--seeds 100] [--table]

For each seed a small network is trained on digits. Then it is trained again, with the same seed and one thing changed,
and the gate compares the two on the 359 test images, as it compares a run with its baseline. What was trained is in
ROWS.jsonl and is not trained again by the same code and packages. ``--table`` prints the rows as a table, without
training.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.stats import beta

from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.gates.judgement import discoveries, judgement
from cnnbench.gates.resources import accuracy_change, mcnemar
from cnnbench.gates.rules import Rules
from cnnbench.measurement.kept_rows import KeptRows
from cnnbench.spec.graph import Builder, Graph
from cnnbench.spec.layers import BatchNorm, Conv, Flatten, Linear, ReLU
from cnnbench.spec.optimizers import SGD
from cnnbench.spec.streams import stream
from cnnbench.spec.weights import initialize
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.dataset import Dataset
from cnnbench.training.epoch import Epoch
from cnnbench.training.loop import train
from cnnbench.training.schedules import Cosine
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

DECAY, BATCH, RATE = 1e-3, 32, 0.05


@dataclass(frozen=True, kw_only=True)
class Settings(TrainSettings):
    """Training settings whose rate may come late. Args: late: steps."""

    late: int = 0

    def rate(self, step: int, steps_per_epoch: int, past: Sequence[Epoch] = ()) -> float:
        return super().rate(max(step - self.late, 0), steps_per_epoch, past)


@dataclass(frozen=True, eq=False)
class Task(TrainingTask):
    """A training on labels of which some are wrong. Args: wrong: one in so many is another digit's; 0 for none."""

    wrong: int = 0

    def data(self, split: str) -> Dataset:
        found = super().data(split)
        if not self.wrong or split == "test":
            return found
        draw = stream(self.settings.seed, "wrong labels")
        picked = draw.permutation(len(found))[: len(found) // self.wrong]
        labels = found.labels.copy()
        labels[picked] = (labels[picked] + draw.integers(1, 10, len(picked))) % 10
        return replace(found, labels=labels)


@dataclass(frozen=True)
class Variant:
    """What is changed. Args: seed: another one. ulp: whether weights begin one rounding off."""

    what: str
    decay: float = DECAY
    momentum: float = 0.1
    crop: int = 1
    wrong: int = 0
    late: int = 0
    scale: float = 1.0
    seed: int = 0
    ulp: bool = False


VARIANTS = (
    Variant("nothing, but weights begin one rounding off", ulp=True),
    Variant("nothing, but the seed is another", seed=100_000),
    Variant("weight decay 0 for 0.001", decay=0.0),
    Variant("weight decay 0.01 for 0.001", decay=1e-2),
    Variant("weight decay 0.1 for 0.001", decay=0.1),
    Variant("batch norm's momentum 0.9 for 0.1", momentum=0.9),
    Variant("batch norm's momentum 0.01 for 0.1", momentum=0.01),
    Variant("augmentation dropped", crop=0),
    Variant("one label in 50 wrong", wrong=50),
    Variant("one label in 10 wrong", wrong=10),
    Variant("one label in 3 wrong", wrong=3),
    Variant("schedule one step late", late=1),
    Variant("schedule a quarter of the training late", late=24),
    Variant("gradients of 32 images divided by 31", scale=32 / 31),
    Variant("gradients of 2 micro-batches divided by 1", scale=2.0),
    Variant("gradients of 8 micro-batches added", scale=8.0),
)


def network(momentum: float) -> Graph:
    """Two convolutions with batch norms, and a linear layer."""
    builder = Builder("digits")
    x = builder.input("image", (1, 8, 8))
    for i, (channels, stride) in enumerate(((8, 1), (16, 2))):
        x = builder.add(f"conv{i}", Conv(out_channels=channels, kernel_size=3, padding=1, stride=stride, bias=False), x)
        x = builder.add(f"relu{i}", ReLU(), builder.add(f"norm{i}", BatchNorm(momentum=momentum), x))
    return builder.build({"logits": builder.add("fc", Linear(out_features=10), builder.add("flat", Flatten(), x))})


def trained(variant: Variant, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Predictions and targets of the test images. Scaled gradients are a larger rate with a smaller decay."""
    graph, own = network(variant.momentum), seed + variant.seed
    arrays = initialize(graph, own)
    if variant.ulp:
        arrays = {
            name: np.nextafter(a, np.float32(np.inf)) if "running" not in name else a for name, a in arrays.items()
        }
    settings = Settings(
        epochs=6,
        batch=BATCH,
        train_images=512,
        learning_rate=RATE * variant.scale,
        optimizer=SGD(weight_decay=variant.decay / variant.scale),
        schedule=Cosine(warm_up=0.5),
        augmentation=Augmentation(crop_padding=variant.crop),
        seed=own,
        late=variant.late,
    )
    options = ProgramOptions("fast", precision("float32"))
    found = train(Task(load_backend("numpy"), graph, arrays, settings, options, variant.wrong))
    return found.predictions, found.targets


def row(variant: Variant, seed: int, base: tuple[int, ...], head: tuple[int, ...], targets: tuple[int, ...]) -> Any:
    """What the gate says of one pair."""
    rules = Rules()
    before, after = (SimpleNamespace(predictions=found, targets=targets) for found in (base, head))
    change = accuracy_change(before, after, rules)  # type: ignore[arg-type]
    verdict, _ = judgement(change, rules, discovered=discoveries([change], rules)[0])
    right = [np.equal(found, targets) for found in (base, head)]
    lost, won = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return {
        "what": variant.what,
        "seed": seed,
        "base": float(right[0].mean()),
        "head": float(right[1].mean()),
        "lost": lost,
        "won": won,
        "p": mcnemar(lost, won),
        "verdict": verdict,
    }


def measure(path: Path, seeds: int, tell: Callable[[str], None] = print) -> None:
    """Trains what the file does not hold yet, seed by seed, so that it may end at any time."""
    kept = rows(path)
    done = {(found["what"], found["seed"]) for found in kept.read()}
    for seed in range(seeds):
        left = [variant for variant in VARIANTS if (variant.what, seed) not in done]
        if not left:
            continue
        base, targets = trained(Variant("base"), seed)
        for variant in left:
            kept.append(row(variant, seed, base, trained(variant, seed)[0], targets))
        tell(f"seed {seed}")


def rows(path: Path) -> KeptRows:
    """What was measured."""
    return KeptRows.of(path, Path(__file__))


def interval(count: int, total: int) -> tuple[float, float]:
    """Clopper and Pearson's of a share, at 95 %."""
    low = beta.ppf(0.025, count, total - count + 1) if count else 0.0
    high = beta.ppf(0.975, count + 1, total - count) if count < total else 1.0
    return float(low), float(high)


def table(path: Path) -> str:
    """The counts of each variant, in Markdown."""
    lines = ["| changed | trainings | mean drop | largest drop | called regressed | share (95 %) | inconclusive |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    known = rows(path).latest()
    for variant in VARIANTS:
        own = [found for found in known if found["what"] == variant.what]
        if not own:
            continue
        drops = [found["base"] - found["head"] for found in own]
        called, doubtful = (sum(f["verdict"] == v for f in own) for v in ("regressed", "inconclusive"))
        low, high = interval(called, len(own))
        lines.append(
            f"| {variant.what} | {len(own)} | {np.mean(drops):.2%} | {max(drops):.2%} | {called} "
            f"| {called / len(own):.0%} ({low:.0%} to {high:.0%}) | {doubtful} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    if not asked.table:
        measure(asked.rows, asked.seeds)
    print(table(asked.rows))


if __name__ == "__main__":
    main()
