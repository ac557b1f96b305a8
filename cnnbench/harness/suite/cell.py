"""A cell: one point of a suite's matrix, with a key for each question in which two cells may be the same."""

from __future__ import annotations

from typing import Literal

from cnnbench.spec.frozen import Frozen

Key = tuple[object, ...]


class Cell(Frozen):
    """One point of a suite's matrix: a network on a backend under stated settings.

    Two cells of one network on two backends have the same ``network_key`` and ``comparison_group``, and another
    ``program_key`` each. Keys are made of content and are compared, never read. ``id``, ``group`` and ``network`` are
    labels for people and folders; whether two cells are the same is never asked of them.

    Args:
        id: Readable and unique in the run; also the name of its folder.
        key: Digest of what the suite asks of it (no versions, no interpreter, no content of files); baselines match
            on it.
        group: How its comparison group is called. network: how its network is; None in records of old versions.
        architecture: A registered name, or ``file:<path>`` of a user's network.
        image: (C, H, W). fold_batch_norm: whether the timed program has its batch norms folded.
        data: The dataset that inputs come from; ``random`` for seeded normal numbers.
        weights: The file of trained weights; None for those of the network's own file, or seeded ones.
        side: ``head``, or ``base`` in an A/B run.
        skip: The reason why it is not run, or None.
        train: Whether this cell trains (its settings are the suite's).
        program: The training program by which it does; None for the plain training loop, and where it does not train.
        recipe: How its way of training is called; None where the suite has no recipes.
        recipe_digest: Of the settings of that way.
        graph_digest: Of the graph that ``architecture`` named when the plan was made; None in records of old versions.
        weights_digest: Of the content of the weights' file, or of the weights that the network's own file holds; None
            for seeded ones.
    """

    id: str
    key: str
    group: str
    network: str | None = None
    architecture: str
    backend: str
    mode: str
    layout: str = "auto"
    batch: int
    image: tuple[int, ...]
    num_classes: int | None = None
    precision: str = "float32"
    device: str = "cpu"
    threads: int | None = None
    fold_batch_norm: bool = False
    seed: int = 0
    data: str = "random"
    weights: str | None = None
    side: Literal["head", "base"] = "head"
    skip: str | None = None
    checks: tuple[str, ...] = ()
    measure: tuple[str, ...] = ("latency", "memory")
    train: bool = False
    program: str | None = None
    recipe: str | None = None
    recipe_digest: str | None = None
    graph_digest: str | None = None
    weights_digest: str | None = None

    @property
    def series(self) -> str:
        """The backend with its mode, as tables and legends name it: ``torch eager``."""
        return f"{self.backend} {self.mode}"

    @property
    def network_key(self) -> Key:
        """The same graph, weights and source of inputs, whatever the batch: an oracle is asked the same."""
        return (*self._model, self.seed, self.data)

    @property
    def program_key(self) -> Key:
        """The same program in the same process settings, whatever the batch: it is checked once.

        Its training step is part of it: each recipe has a program of its own.
        """
        return (*self.forward_key, self.recipe_digest)

    @property
    def forward_key(self) -> Key:
        """The same program but for its training step: at one batch it is timed once."""
        return (*self.network_key, *self._process, self.precision, self.layout, self.fold_batch_norm)

    @property
    def training_group(self) -> Key:
        """Curves that can be compared: the same model from the same seed in the same precision, trained in one way."""
        return (*self._model, self.seed, self.precision, self.program, self.recipe_digest)

    @property
    def training_key(self) -> Key:
        """The same training run: batch, layout, folding and the inputs of the timing make no other."""
        return (*self.training_group, *self._process)

    @property
    def comparison_group(self) -> Key:
        """Cells whose latencies are compared: the same work on the same device and threads, by whatever program."""
        return (*self.network_key, self.batch, self.precision, self.device, self.threads)

    @property
    def _model(self) -> Key:
        """Graph and weights: by content, and by name where no content is known."""
        graph = (self.graph_digest,) if self.graph_digest else (self.architecture, self.image, self.num_classes)
        return (graph, self.weights_digest or self.weights)

    @property
    def _process(self) -> Key:
        return (self.backend, self.mode, self.device, self.threads, self.side)
