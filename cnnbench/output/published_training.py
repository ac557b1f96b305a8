"""What the networks of a published run learnt: figures of the test images, backends beside each other, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cnnbench.gates.agreement import agreements
from cnnbench.harness.passes.findings import Training
from cnnbench.harness.run.record import Record
from cnnbench.harness.suite.cell import Key
from cnnbench.output import figures
from cnnbench.output.labels import label, training_labels
from cnnbench.output.table import Column, Entry, ReportTable
from cnnbench.output.text import to_markdown
from cnnbench.training.metrics.kept import restored
from cnnbench.training.metrics.paired import compared
from cnnbench.training.metrics.score import Score

SCORES = (
    "What the trained networks reach on the test images, which are never trained on, with the interval over images "
    "(95 % confidence)."
)
DIFFERENCES = (
    "A backend's figure less the first one's, both on the same images: the difference, its interval over images (95 % "
    "confidence), and the p-value of the paired permutation test, or of the exact sign test for a share of images. "
    "An interval that holds 0 shows no difference."
)

ACCURACIES = (
    "The share of test images, which are never trained on, whose class the trained network names; p is that of the "
    "permutation test of all backends being alike on every image. A curve agrees where every loss lies in the "
    "envelope of NumPy's runs in float64 and from weights that are one unit in the last place off, as long as these "
    "lie together; later steps cannot be compared."
)
RATE = "training images over the time of their steps, after the first epoch; evaluation is left out"
WAITING = "share of the time of steps and data together that steps waited for their batches, after the first epoch"
MEMORY = "by how much resident memory rose during the training at most; on a device, its allocator's peak"
TO_TARGET = "of training steps; evaluation and data preparation are left out"


def training_sections(records: Sequence[Record], pictures: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(heading, text in Markdown) of what was learnt; nothing for a run without training.

    Args:
        records: Of the run.
        pictures: Files of drawn test images and of the training's chart, by what they show.
    """
    trained = [record for record in records if record.training is not None]
    if not trained:
        return
    if any(record.training and record.training.metrics for record in trained):
        yield "Test images", f"{SCORES}\n\n{to_markdown(scores_by_backend(trained))}"
        differences = score_differences(trained)
        if differences.rows:
            yield "The backends on the same test images", f"{DIFFERENCES}\n\n{to_markdown(differences)}"
    accuracies = accuracy_by_backend(trained)
    if accuracies.rows:
        yield "Accuracy", f"{ACCURACIES}\n\n{to_markdown(accuracies)}"
    yield "Training", to_markdown(training_table(trained))
    for title, file in pictures.items():
        yield title, f"![{title}]({file})"


def accuracy_by_backend(records: Sequence[Record]) -> ReportTable:
    """A row for each network and recipe of classifiers, a column for each backend."""
    labels = list(dict.fromkeys(label(record.cell) for record in records))
    alike = {item.group: item for item in agreements(records) if item.metric == "accuracy"}
    rows = []
    for network, members in _by_training(records):
        found = {label(record.cell): record.training.test_accuracy for record in members if record.training}
        if all(value is None for value in found.values()):
            continue
        item = alike.get(members[0].cell.training_group)
        texts = [figures.percent(found.get(name)) for name in labels]
        texts += [figures.NOTHING] * 2 if item is None else [f"{item.p_value:.3f}", item.verdict]
        rows.append(tuple(Entry(text) for text in (network, *texts, _curves(members))))
    names = (*map(Column, labels), Column("p"), Column("backends", "left"), Column("curves", "left"))
    return ReportTable("", (Column("network", "left"), *names), tuple(rows))


def _curves(members: Sequence[Record]) -> str:
    """Of how many backends the curve of losses agrees with the reference's, and over how many steps at least."""
    found = [record.training.envelope for record in members if record.training is not None]
    agreeing = [envelope for envelope in found if envelope is not None and envelope.agrees]
    if not agreeing:
        return f"0 of {len(found)}"
    steps = min(envelope.steps_compared for envelope in agreeing)
    return f"{len(agreeing)} of {len(found)} agree, over {steps} steps or more"


def scores_by_backend(records: Sequence[Record]) -> ReportTable:
    """A row for each metric of each network, a column for each backend."""
    labels = list(dict.fromkeys(label(record.cell) for record in records))
    rows = []
    for network, members in _by_training(records):
        by_label = {label(record.cell): _scores(record) for record in members}
        for metric in dict.fromkeys(name for scores in by_label.values() for name in scores):
            texts = (_shown(by_label.get(name, {}).get(metric)) for name in labels)
            rows.append((Entry(network), Entry(metric), *(Entry(text) for text in texts)))
    columns = (Column("network", "left"), Column("metric", "left"), *(Column(name) for name in labels))
    return ReportTable("", columns, tuple(rows))


def score_differences(records: Sequence[Record]) -> ReportTable:
    """A row for each metric of each backend but a network's first one, where both kept what each image contributed."""
    rows = []
    for network, (first, *others) in _by_training(records):
        for record in others:
            for metric, score in _scores(record).items():
                base = _scores(first).get(metric)
                if base is None or base.per_image is None or score.per_image is None:
                    continue
                found = compared(restored(score.per_image), restored(base.per_image))
                low, high = found.interval()
                texts = (f"{found.value:+.4f} [{low:+.4f}, {high:+.4f}]", f"{found.p_value:.3f}")
                names = (network, metric, f"{label(record.cell)} − {label(first.cell)}")
                rows.append(tuple(Entry(text) for text in (*names, *texts)))
    names = ("network", "metric", "backends")
    columns = (*(Column(name, "left") for name in names), Column("difference"), Column("p"))
    return ReportTable("", columns, tuple(rows))


def training_table(records: Sequence[Record]) -> ReportTable:
    """How long each backend trained, and to which losses."""
    rows = []
    for network, members in _by_training(records):
        for record in members:
            training = record.training
            if training is None or not training.epochs:
                continue
            last, seconds = training.epochs[-1], sum(epoch.seconds for epoch in training.epochs)
            texts = (
                network, label(record.cell), str(last.epoch), str(last.step), f"{seconds / 60:.1f} min",
                *_costs(training), f"{last.train_loss:.4g}", figures.plain(last.test_loss), *_to_target(training),
            )  # fmt: skip
            rows.append(tuple(Entry(text) for text in texts))
    left = (Column("network", "left"), Column("backend", "left"))
    spent = (
        Column("images/s", help=RATE), Column("waiting for data", help=WAITING), Column("peak memory", help=MEMORY)
    )  # fmt: skip
    counts, losses = (
        ("epochs", "steps", "training steps took"),
        ("mean loss of the last epoch", "loss of the test images"),
    )
    target = (Column("target", "left"), Column("epochs to target"), Column("time to target", help=TO_TARGET))
    columns = (*left, *map(Column, counts), *spent, *map(Column, losses), *target)
    return ReportTable("", columns, tuple(rows))


def _costs(training: Training) -> tuple[str, str, str]:
    """Training images a second, the share of the time that steps waited for them, and the peak of memory."""
    return (
        figures.plain(training.images_per_s), figures.percent(training.data_share), figures.size(training.memory_bytes)
    )  # fmt: skip


def _to_target(training: Training) -> tuple[str, str, str]:
    """What was to be reached, after how many epochs it was, and the time of the steps up to there."""
    target = training.target
    if target is None:
        return (figures.NOTHING,) * 3
    if target.epochs_to_target is None:
        return target.in_words, "not reached", figures.NOTHING
    return target.in_words, str(target.epochs_to_target), figures.seconds(target.time_to_target_s)


def _by_training(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    """Each network as it was trained, on one device and number of threads, by a label of its own."""
    found: dict[Key, list[Record]] = {}
    for record in records:
        cell = record.cell
        found.setdefault((*cell.training_group, cell.device, cell.threads), []).append(record)
    labels = training_labels({key: members[0].cell for key, members in found.items()})
    return ((labels[key], members) for key, members in found.items())


def _scores(record: Record) -> dict[str, Score]:
    return {} if record.training is None else {score.metric: score for score in record.training.metrics}


def _shown(score: Score | None) -> str:
    if score is None or score.value is None:
        return figures.NOTHING
    unit = f" {score.unit}" if score.unit else ""
    if score.low is None or score.high is None:
        return f"{score.value:.4f}{unit}"
    return f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]{unit}"
