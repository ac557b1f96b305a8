"""Searches architectures with Optuna: accuracy, parameters and measured latency at once; then the front is proven.

    pip install 'cnnbench[search]'
    python benchmarks/architecture_search.py [--trials 60] [--backend torch] [--output reports/published]

A network is 1 to 3 stages of convolutions on digits of 8 x 8 pixels: how many a stage, how wide, 3x3 or 5x5, plain
or depthwise separable, with shortcuts or not, and its learning rate. NSGA-II (Deb et al. 2002) draws it. Each trial
trains on four fifths of the training images, and the fifth that is left gives its accuracy; only the networks of the
front see the test images, at the end. Latency is the median of 60 calls at batch 16, each over that of a fixed network
right after it, so that the machine's moods cancel. The networks of the front are then verified on every backend that
is here: what the search found on one holds on all. Trials are kept in a database; a search that was stopped goes on.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cnnbench
from cnnbench.claims.laboratory import Laboratory
from cnnbench.claims.trials import IMAGE, RELU, Trial, chain
from cnnbench.execution.backends import load_backend
from cnnbench.execution.contract import ProcessSettings
from cnnbench.execution.precision import precision
from cnnbench.output.drawing import INK, panels, svg
from cnnbench.spec.composites.conv import DepthwiseSeparableConv
from cnnbench.spec.graph import Graph
from cnnbench.spec.layers import BatchNorm, Conv, Layer
from cnnbench.spec.streams import stream
from cnnbench.spec.summary import summarize
from cnnbench.spec.weights import initialize, split_state
from cnnbench.training.settings import TrainSettings

EPOCHS, SEED, BATCH, CALLS = 4, 0, 16, 60
YARDSTICK = chain(*(Conv(out_channels=16, kernel_size=3, padding=1) for _ in range(4)))


def suggested(trial: Any) -> tuple[Graph, float]:
    """(network, learning rate) that a trial of Optuna asks for."""
    separable = trial.suggest_categorical("separable", [False, True])
    shortcuts = trial.suggest_categorical("shortcuts", [False, True])
    size = trial.suggest_categorical("kernel_size", [3, 5])
    width = trial.suggest_int("width", 4, 24, step=4)
    layers: list[Layer | tuple[Layer, ...]] = []
    for stage in range(trial.suggest_int("stages", 1, 3)):
        filters = width << stage
        layers += [_conv(False, filters, size, 2 if stage else 1), BatchNorm(), RELU]
        for _ in range(trial.suggest_int(f"blocks{stage}", 0, 3)):
            block = (_conv(separable, filters, size, 1), BatchNorm())
            layers += [block if shortcuts else block[0], *(() if shortcuts else block[1:]), RELU]
    return chain(*layers), trial.suggest_float("rate", 0.01, 0.3, log=True)


def _conv(separable: bool, filters: int, size: int, stride: int) -> Layer:
    kind = DepthwiseSeparableConv if separable else Conv
    return kind(out_channels=filters, kernel_size=size, stride=stride, padding=size // 2)


class Search:
    """Trials on one backend."""

    def __init__(self, backend: str) -> None:
        loaded = load_backend(backend)
        loaded.configure(ProcessSettings(threads=1))
        self.laboratory = Laboratory(loaded, loaded.capabilities().modes[0], (SEED,))
        self._yardstick = self._program(YARDSTICK)

    def objectives(self, trial: Any) -> tuple[float, float, float]:
        """(accuracy on held-out training images, parameters, latency over that of the yardstick)."""
        graph, rate = suggested(trial)
        settings = TrainSettings(epochs=EPOCHS, batch=64, learning_rate=rate)
        accuracy = Trial(graph, settings).held_out(self.laboratory, SEED).test_accuracy
        return float(accuracy or 0), float(summarize(graph).parameters), self.latency(graph)

    def test_accuracy(self, trial: Any) -> float:
        """On the test images, after a training on all training images."""
        graph, rate = suggested(trial)
        settings = TrainSettings(epochs=EPOCHS, batch=64, learning_rate=rate)
        return float(Trial(graph, settings).train(self.laboratory, SEED).test_accuracy or 0)

    def latency(self, graph: Graph) -> float:
        """The median over calls of this network's time over the yardstick's beside it."""
        program, ratios = self._program(graph), []
        for _ in range(CALLS):
            ratios.append(self._timed(program) / self._timed(self._yardstick))
        return statistics.median(ratios[CALLS // 4 :])

    def _program(self, graph: Graph) -> tuple[Any, Any]:
        options = replace(self.laboratory.options, precision=precision("float32"), fold_batch_norm=True)
        program = self.laboratory.backend.compile_forward(graph, options)
        program.load(*split_state(graph, initialize(graph, SEED)))
        images = stream(SEED, "search", "images").normal(size=(BATCH, *IMAGE)).astype("float32")
        return program, program.upload({"image": images})

    def _timed(self, loaded: tuple[Any, Any]) -> float:
        program, operands = loaded
        start = time.perf_counter()
        program.download(program.run(operands))
        return time.perf_counter() - start


def front_chart(trials: Sequence[Any], front: Sequence[Any]) -> Any:
    """All trials and the front: accuracy against parameters, and against latency."""
    figure, axes = panels(1, 2, 9.5, 3.6)
    for axis, place, words in zip(axes[0], (1, 2), ("parameters", "latency over the yardstick's"), strict=True):
        for some, colour, label in ((trials, "#b8c4ce", "trials"), (front, INK, "front")):
            axis.plot(
                [item.values[place] for item in some], [item.values[0] for item in some], "o", color=colour, label=label
            )
        axis.set_xscale("log")
        axis.set_xlabel(words)
        axis.set_ylabel("accuracy on held-out images")
        axis.grid()
    axes[0][0].legend()
    return figure


def page(study: Any, search: Search, backend: str) -> str:
    """The front as a table: what was searched for, the test accuracy, and what each backend's checks said."""
    done = [item for item in study.trials if item.values is not None]
    front = sorted(study.best_trials, key=lambda item: item.values[1])
    lines = [
        "# Architectures that were searched for",
        "",
        f"{len(done)} trials of NSGA-II on {backend}, {EPOCHS} epochs each on digits of 8 x 8 pixels; "
        f"{len(front)} are on the front. `python benchmarks/architecture_search.py` makes this page.",
        "",
        "![front](architecture_search.svg)",
        "",
        "| trial | accuracy, held out | test | parameters | latency | network | verified |",
        "| ---: | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for item in front:
        accuracy, parameters, latency = item.values
        asked = ", ".join(f"{name} {value}" for name, value in item.params.items() if name != "rate")
        lines.append(
            f"| {item.number} | {accuracy:.3f} | {search.test_accuracy(item):.3f} | {parameters:.0f} | {latency:.2f} "
            f"| {asked} | {verified(suggested(item)[0])} |"
        )
    return "\n".join(lines) + "\n"


def verified(graph: Graph) -> str:
    """What the checks said on each backend that is here, the largest share of a budget beside it."""
    found = cnnbench.verify(graph, checks=["local", "exact", "end_to_end", "gradient"])
    said = []
    for item in found.backends:
        used = max((outcome.budget_used or 0 for outcome in item.outcomes), default=0)
        said.append(f"{item.backend} {item.status}, {used:.2f}")
    return ", ".join(said)


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches, and writes the page and its chart."""
    import optuna

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--output", type=Path, default=Path("reports/published"))
    parser.add_argument("--database", type=Path, default=Path("build/architecture_search.db"))
    asked = parser.parse_args(arguments)
    for folder in (asked.output, asked.database.parent):
        folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=f"digits on {asked.backend}",
        storage=f"sqlite:///{asked.database}",
        load_if_exists=True,
        directions=["maximize", "minimize", "minimize"],
        sampler=optuna.samplers.NSGAIISampler(population_size=12, seed=SEED),
    )
    search = Search(asked.backend)
    study.optimize(search.objectives, n_trials=max(0, asked.trials - len(study.trials)))
    done = [item for item in study.trials if item.values is not None]
    chart = svg("architecture_search", lambda: front_chart(done, study.best_trials))
    (asked.output / "architecture_search.svg").write_text(chart + "\n")
    (asked.output / "architecture_search.md").write_text(page(study, search, asked.backend))


if __name__ == "__main__":
    main()
