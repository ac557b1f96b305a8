"""R-CNN stage by stage beside Fast R-CNN: how often each runs its network for an image, and how long it takes.

    python benchmarks/region_cnn.py --train                       # tiny networks on drawn shapes, trained, with AP
    python benchmarks/region_cnn.py --network rcnn --beside fast_rcnn --regions 2000 --images 1

Without ``--train`` the weights are seeded and the classifiers random: the times are those of a trained detector, the
detections are not. A photograph of scikit-image stands for the images of large networks. ``--regions`` takes the
first so many of the proposals, and random boxes where there are fewer.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnbench.execution.backends import backend_plugins, load_backend
from cnnbench.execution.contract import ProcessSettings, ProgramOptions
from cnnbench.execution.precision import precision
from cnnbench.registry import build
from cnnbench.spec.optimizers import Adam
from cnnbench.spec.summary import summarize
from cnnbench.spec.weights import initialize, split_state
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.registry import score
from cnnbench.training.region_cnn.detector import LinearMap, RegionDetector, RegionRule
from cnnbench.training.region_cnn.fitting import fitted
from cnnbench.training.region_cnn.network import region_network
from cnnbench.training.region_cnn.proposals import SelectiveSearch
from cnnbench.training.region_cnn.stages import StageTimes
from cnnbench.training.region_cnn.tuning import tuned
from cnnbench.training.settings import TrainSettings
from cnnbench.training.task import TrainingTask

Array = NDArray[Any]


def main() -> None:
    """Reads the options, detects, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="rcnn_tiny")
    parser.add_argument("--beside", default="fast_rcnn_tiny", help="takes all regions of an image in one pass")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--regions", type=int, help="exactly so many an image; default: what is proposed")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16, help="crops a call")
    parser.add_argument("--train", action="store_true", help="on drawn shapes")
    parser.add_argument("--train-images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    load_backend(options.backend).configure(ProcessSettings(threads=options.threads))
    times = StageTimes()
    beside = build(options.beside)
    detector, images = trained(options) if options.train else seeded(options, beside.inputs[0].shape)
    found = [detector.detect(image, times) for image in images]
    report(options, times)
    if options.train:
        dataset = shapes("test", options.images)
        for item in score(("ap50", "ap"), [Decoded(detections=one) for one in found], dataset):
            print(f"{item.metric}: {item.value:.3f} [{item.low:.3f}, {item.high:.3f}] of {item.images} images")
    one_pass(options, beside)


def shapes(split: str, count: int) -> Any:
    """Drawn shapes of 64 x 64."""
    return load_dataset("shapes", DataRequest(split, (3, 64, 64), limit=count))


def trained(options: argparse.Namespace) -> tuple[RegionDetector, Array]:
    """The network tuned on warped regions, classifiers and regressions fitted; and the test images."""
    graph, search = build(options.network), SelectiveSearch()
    mode = backend_plugins()[options.backend].modes[0]
    settings = TrainSettings(data="shapes", epochs=options.epochs, optimizer=Adam(), learning_rate=1e-3)
    task = TrainingTask(
        load_backend(options.backend), graph, initialize(graph, 0), settings, ProgramOptions(mode, precision("float32"))
    )
    data = {"train": shapes("train", options.train_images), "test": shapes("test", options.images)}
    start = time.perf_counter()
    arrays = tuned(task, data, search)
    print(f"tuning took {time.perf_counter() - start:.0f} s")
    network = region_network(graph, arrays, options.backend, batch=options.batch)
    times = StageTimes()
    detector = fitted(network, data["train"], limited(search, options.regions), RegionRule(), times)
    print(f"fitting took {sum(times.seconds.values()):.0f} s, of which the classifiers {times.seconds['fit']:.1f} s")
    return detector, data["test"].images


def seeded(options: argparse.Namespace, image: tuple[int, ...]) -> tuple[RegionDetector, Array]:
    """Seeded weights and random classifiers, and photographs of the size that the other network takes."""
    graph = build(options.network)
    network = region_network(graph, initialize(graph, 0), options.backend, batch=options.batch)
    images = load_dataset("photographs", DataRequest("test", image, limit=options.images)).images
    search = limited(SelectiveSearch(scale=200.0, min_size=50, smallest=20), options.regions)
    wide, deep = (int(np.prod(graph.shapes()[dict(graph.outputs)[name]][1:])) for name in ("features7", "features5"))
    classes = graph.shapes()[graph.outputs[0][1]][1] - 1
    generator = np.random.default_rng(0)
    machines = LinearMap(generator.normal(size=(wide, classes)), np.zeros(classes))
    moves = tuple(LinearMap(1e-4 * generator.normal(size=(deep, 4)), np.zeros(4)) for _ in range(classes))
    return RegionDetector(network, search, machines, moves, 1.0, RegionRule()), images


def limited(search: SelectiveSearch, count: int | None) -> Callable[[Array], Array]:
    """Exactly so many regions of an image; those that are proposed first."""
    if count is None:
        return search

    def proposed(image: Array) -> Array:
        boxes = search(image)[:count]
        print(f"{len(boxes)} regions proposed, {count - len(boxes)} drawn")
        height, width = image.shape[1:]
        ends = np.random.default_rng(0).uniform(0, 1, (count - len(boxes), 2, 2)) * (width, height)
        drawn = np.concatenate([ends.min(1), ends.max(1) + 1], 1)
        return np.concatenate([boxes, drawn])

    return proposed


def report(options: argparse.Namespace, times: StageTimes) -> None:
    """A row for each stage."""
    macs = summarize(build(options.network)).macs
    crops = times.crops / times.images
    print(f"\n{options.network} on {options.backend}, {options.threads} threads, {times.images} images")
    print(f"{crops:.1f} forward passes an image ({times.calls / times.images:.1f} calls of {options.batch} crops)")
    print(f"{crops * macs / 1e9:.3g} GMACs an image\n\n| stage | seconds an image | share |\n| --- | ---: | ---: |")
    total = sum(times.seconds.values())
    for name, seconds in times.seconds.items():
        print(f"| {name} | {seconds / times.images:.4f} | {seconds / total:.1%} |")
    print(f"| all | {total / times.images:.4f} | |\n")


def one_pass(options: argparse.Namespace, graph: Any) -> None:
    """The network that shares its features among the regions: its time for one image with all of its regions."""
    backend = load_backend(options.backend)
    mode = backend_plugins()[options.backend].modes[0]
    program = backend.compile_forward(graph, ProgramOptions(mode, precision("float32")))
    program.load(*split_state(graph, initialize(graph, 0)))
    generator = np.random.default_rng(0)
    image, regions = graph.inputs
    ends = generator.uniform(0, image.shape[1], (1, regions.shape[0], 2, 2))
    boxes = np.concatenate([ends.min(2), ends.max(2) + 1], -1).astype(np.float32)
    operands = program.upload({image.name: generator.normal(size=(1, *image.shape)), regions.name: boxes})
    seconds = []
    for _ in range(3 if options.beside.endswith("_tiny") else 2):
        start = time.perf_counter()
        program.download(program.run(operands))
        seconds.append(time.perf_counter() - start)
    macs = summarize(graph).macs
    print(f"{options.beside}: 1 forward pass for {regions.shape[0]} regions, {macs / 1e9:.3g} GMACs,")
    print(f"{min(seconds):.4f} s an image (the fastest of {len(seconds)})")


if __name__ == "__main__":
    main()
