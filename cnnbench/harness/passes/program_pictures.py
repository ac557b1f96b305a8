"""Pictures that a training by a program ends in: made by the backend, scored, and made again by NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnbench.execution.precision import precision
from cnnbench.harness.passes.findings import Evaluation
from cnnbench.harness.passes.picture_judge import PictureJudge
from cnnbench.harness.passes.reference_curves import NUMPY, SMALLEST_LEAD, WIDEST_LEAD, numpy_cell
from cnnbench.harness.passes.work import Work
from cnnbench.harness.suite.cell import Cell
from cnnbench.harness.worker.arrays import read_arrays, write_arrays
from cnnbench.harness.worker.pool import Pool
from cnnbench.harness.worker.protocol.programs import PICTURES, PicturesRequest
from cnnbench.training.data import load_dataset
from cnnbench.training.dataset import DataRequest, Dataset
from cnnbench.training.decoders.decoded import Decoded
from cnnbench.training.metrics.registry import default_metrics, score
from cnnbench.training.metrics.score import Score
from cnnbench.training.programs.sampling import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

COUNT = 300  # pictures
AGAIN = 8  # of them that NumPy makes too


@dataclass(frozen=True)
class MadePictures:
    """What became of the pictures.

    Args:
        pictures: (N, C, H, W).
        given: The images that they translate, as many; None where they are made out of nothing.
        scores: What a classifier makes of them, or how near translations come; () where neither is known.
        evaluation: Whether NumPy makes the same of the trained arrays; None where that cannot be said.
    """

    pictures: Array
    given: Array | None
    scores: tuple[Score, ...]
    evaluation: Evaluation | None


class PictureMaker:
    """Makes pictures with trained networks.

    Args:
        work: The pass.
        pool: Its workers.
    """

    def __init__(self, work: Work, pool: Pool) -> None:
        self._work, self._pool = work, pool
        self._judge = PictureJudge(work, pool)

    def made(self, cell: Cell, sampling: Sampling, held: Mapping[str, Array], data: Mapping[str, str]) -> MadePictures:
        """Pictures of a cell's trained networks, scored and made again.

        Args:
            cell: That trained.
            sampling: How pictures are made.
            held: The arrays of the program at the end, averaged weights in place of the last ones.
            data: The datasets that they were trained on, by the program's names.

        Raises:
            CnnbenchError: The backend cannot make them.
        """
        arrays = sampling.arrays(held)
        source = data.get(sampling.source)
        pictures = self._pictures(cell, sampling, arrays, COUNT, source)
        given, scores = None, tuple[Score, ...]()
        with self._work.noting(f"the pictures of {cell.id} were not judged"):
            if source is not None:
                images = load_dataset(source, DataRequest("test", sampling.graph.inputs[0].shape))
                given = images.images[: len(pictures)]
                scores = translation_scores(sampling, images, pictures)
            elif len(set(data.values())) == 1:
                scores = self._judge.scores(cell, next(iter(data.values())), pictures, sampling.values)
        evaluation = None
        with self._work.noting(f"the pictures of {cell.id} were not compared with NumPy's"):
            evaluation = self._compared(cell, sampling, arrays, pictures, source)
        return MadePictures(pictures, given, scores, evaluation)

    def _pictures(
        self, cell: Cell, sampling: Sampling, arrays: Mapping[str, Array], count: int, source: str | None
    ) -> Array:
        worker = self._pool.get(self._work.facts.spec(cell)).worker
        weights, output = (worker.folder / f"pictures-{name}.safetensors" for name in ("arrays", "made"))
        try:
            write_arrays(weights, arrays)
            request = PicturesRequest(
                sampling=sampling,
                options=self._work.facts.materials.of(cell).options,
                arrays=weights,
                count=count,
                seed=cell.seed,
                output=output,
                data=source,
            )
            worker.ask(request, timeout_s=self._work.facts.suite.timeouts.call_s)
            return np.array(read_arrays(output)[PICTURES])
        finally:
            for path in (weights, output):
                path.unlink(missing_ok=True)

    def _compared(
        self, cell: Cell, sampling: Sampling, arrays: Mapping[str, Array], pictures: Array, source: str | None
    ) -> Evaluation | None:
        """Whether NumPy makes the same pictures of the same arrays; None in a precision that cannot tell."""
        least = SMALLEST_LEAD * precision(cell.precision).product_roundoff
        if least > WIDEST_LEAD:
            return None
        on_numpy = numpy_cell(cell, mode="reference" if cell.backend == NUMPY else "fast")
        own = self._pictures(on_numpy, sampling, arrays, AGAIN, source)
        axes = tuple(range(1, own.ndim))
        apart = np.abs(pictures[:AGAIN].astype(np.float64) - own).max(axis=axes)
        shares = [float(share) for share in apart / np.maximum(np.abs(own).max(axis=axes), np.finfo(np.float32).tiny)]
        return Evaluation(
            images=AGAIN,
            near_ties=0,
            differing=tuple(i for i, share in enumerate(shares) if not share <= least),
            compared="outputs",
            allowed=least,
            largest=max(shares),
        )


def translation_scores(sampling: Sampling, images: Dataset, pictures: Array) -> tuple[Score, ...]:
    """How near translations of the first images come to their counterparts; () where these are not known.

    Args:
        sampling: A translation.
        images: That were translated, with the truth ``counterparts``.
        pictures: (N, C, H, W), one of each of the first images.
    """
    if "counterparts" not in images.truth:
        return ()
    first = images.take(np.arange(len(pictures)))
    return score(default_metrics(sampling.graph, first), [Decoded(picture=made) for made in pictures], first)
