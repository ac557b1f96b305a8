"""Whether steps wait for their data: LeNet-5 on Fashion-MNIST, with each augmentation and without.

    python benchmarks/input_pipeline.py [--backends numpy torch] [--images 3200] [--rounds 3] [--json FILE]

Every training reads the same images in batches of 64 for three epochs, and is timed over the last two, as records of
runs are (``images_per_s``, ``data_share``). In each round every backend trains with every augmentation, in any order.
A row has medians over the rounds: training images a second of the steps; the milliseconds that a step takes and that it
waits for its batch; and the share of waiting in both together, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from cnnbench.errors import CnnbenchError
from cnnbench.execution.backends import backend_plugin, load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec.losses import SoftCrossEntropy
from cnnbench.spec.optimizers import Adam
from cnnbench.spec.weights import initialize
from cnnbench.training.augmentation import Augmentation
from cnnbench.training.data import dataset
from cnnbench.training.epoch import Epoch, training_rate, waiting_share
from cnnbench.training.loop import train
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

DATA = "fashion_mnist"
AUGMENTATIONS = {
    "none": Augmentation(),
    "flip": Augmentation(flip=True),
    "crop": Augmentation(crop_padding=4),
    "cutout": Augmentation(cutout=8),
    "jitter": Augmentation(jitter=0.2),
    "turn": Augmentation(rotation=15, scale=0.1),
    "mixup": Augmentation(mixup=0.2),
    "all": Augmentation(flip=True, crop_padding=4, cutout=8, mixup=0.2, jitter=0.2, rotation=15, scale=0.1),
}
SETTINGS = TrainSettings(
    data=DATA, epochs=3, loss=SoftCrossEntropy(), optimizer=Adam(), learning_rate=1e-3, test_images=64
)


def timed_epochs(backend: str, augmentation: Augmentation, images: int) -> tuple[Epoch, ...]:
    """Trains, and gives the epochs after the first, which compiles."""
    graph, options = build("lenet5"), ProgramOptions(backend_plugin(backend).modes[0], precision("float32"))
    settings = replace(SETTINGS, augmentation=augmentation, train_images=images)
    task = TrainingTask(load_backend(backend), graph, initialize(graph, 0), settings, options)
    return tuple(train(task).epochs[1:])


def figures(epochs: tuple[Epoch, ...]) -> dict[str, float]:
    """Of one training: images a second, milliseconds of a step and of its data, and the share of waiting."""
    steps = sum(epoch.images or 0 for epoch in epochs) / SETTINGS.batch
    return {
        "images_per_s": training_rate(epochs) or 0.0,
        "step_ms": 1e3 * sum(epoch.seconds for epoch in epochs) / steps,
        "data_ms": 1e3 * sum(epoch.data_seconds or 0.0 for epoch in epochs) / steps,
        "data_share": waiting_share(epochs) or 0.0,
    }


def main() -> None:
    """Trains, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["numpy", "torch"])
    parser.add_argument("--augmentations", nargs="+", default=list(AUGMENTATIONS), choices=list(AUGMENTATIONS))
    parser.add_argument("--images", type=int, default=3200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    lack = dataset(DATA).lack
    if lack is not None:
        raise SystemExit(f"{DATA} is not here: {lack}")
    try:
        for name in asked.backends:
            load_backend(name).configure(ProcessSettings(threads=asked.threads))
    except CnnbenchError as error:
        raise SystemExit(str(error)) from None
    found: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    order = [(backend, augmentation) for backend in asked.backends for augmentation in asked.augmentations]
    for number in range(asked.rounds):
        for backend, augmentation in random.Random(number).sample(order, len(order)):
            epochs = timed_epochs(backend, AUGMENTATIONS[augmentation], asked.images)
            found[backend, augmentation].append(figures(epochs))
    if asked.json:
        rows = [{"backend": key[0], "augmentation": key[1], "rounds": found[key]} for key in order]
        asked.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    print("| backend | augmentation | images/s | a step, ms | its data, ms | share of waiting |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for key in order:
        values = {name: sorted(item[name] for item in found[key]) for name in found[key][0]}
        rate, step, data, share = (statistics.median(numbers) for numbers in values.values())
        least, most = values["data_share"][0], values["data_share"][-1]
        said = f"{rate:,.0f} | {step:.2f} | {data:.2f} | {share:.1%} ({least:.1%} to {most:.1%})"
        print(f"| {' | '.join(key)} | {said} |")


if __name__ == "__main__":
    main()
