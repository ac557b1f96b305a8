"""Random flips, crops, holes and mixtures, drawn on the host for each image and epoch, or for each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images vary.

    Args:
        flip: Mirror left to right with probability 1/2.
        crop_padding: Pad each side by so many zeros (the mean, after normalisation) and cut the original size out
            at a random place.
        cutout: A square of so many pixels a side is zeros; its centre is any pixel, and what lies beyond is cut off.
        mixup: a. Each batch x and its targets t become l x + (1 - l) x' and l t + (1 - l) t', where x' and t' are the
            same ones in another order and l is drawn from Beta(a, a). 0 for none. The loss must take probabilities.

    Source: He et al., "Deep residual learning" (2015), section 4.2; DeVries, Taylor, "Improved regularization of
        convolutional neural networks with cutout" (2017); Zhang et al., "mixup" (2017), with one l for a batch.
    """

    flip: bool = False
    crop_padding: int = 0
    cutout: int = 0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout", "mixup"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} is not valid", received=getattr(self, name), expected="at least 0")

    def draw(self, count: int, seed: int, epoch: int) -> Draws:
        """What happens to each image in an epoch, whatever the order of batches.

        Args:
            count: Of images.
            seed: Of the run.
            epoch: From 0; each draws anew.
        """
        generator = stream(seed, "augmentation", "", epoch)
        flips = generator.random(count) < 0.5
        offsets = generator.integers(0, 2 * self.crop_padding + 1, (count, 2))
        return Draws(self, flips & self.flip, offsets, generator.random((count, 2)))

    def mixed(
        self, images: NDArray[np.float32], targets: NDArray[Any], seed: int, step: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A batch and its targets, mixed as ``mixup`` says.

        Args:
            images: (B, C, *spatial).
            targets: (B, K), of which each row is a distribution.
            seed: Of the run.
            step: Of the training; each draws anew.
        """
        import numpy as np

        generator = stream(seed, "mixup", "", step)
        share = np.float32(generator.beta(self.mixup, self.mixup))
        order = generator.permutation(len(images))
        one, other = (
            share * values + (1 - share) * values[order] for values in (images, np.asarray(targets, np.float32))
        )
        return one, other


@dataclass(frozen=True, eq=False)
class Draws:
    """An epoch's choices: whether to flip (N,), the crop's offset (N, 2), and the hole's centre (N, 2) in [0, 1)."""

    augmentation: Augmentation
    flips: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    places: NDArray[np.float64]

    def apply(self, images: NDArray[np.float32], positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The images (B, C, H, W), which are those at ``positions`` of the dataset, varied."""
        import numpy as np

        if not self.augmentation.flip and not self.augmentation.crop_padding and not self.augmentation.cutout:
            return images
        if images.ndim != 4:
            raise SpecError("augmentation takes pictures", received=images.shape, expected="(N, C, H, W)")
        varied = images.copy()
        if self.augmentation.flip:
            flips = self.flips[positions]
            varied[flips] = images[flips, ..., ::-1]
        if self.augmentation.crop_padding:
            varied = self._cropped(varied, positions)
        if self.augmentation.cutout:
            np.copyto(varied, 0, where=self._holes(varied.shape[2:], positions))
        return varied

    def _cropped(self, images: NDArray[np.float32], positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The images, each cut out of itself with zeros around it."""
        import numpy as np
        from numpy.lib.stride_tricks import sliding_window_view

        pad = self.augmentation.crop_padding
        count, channels, height, width = images.shape
        padded = np.zeros((count, channels, height + 2 * pad, width + 2 * pad), images.dtype)
        padded[:, :, pad:-pad, pad:-pad] = images
        places = sliding_window_view(padded, (height, width), axis=(2, 3))
        top, left = self.offsets[positions].T
        return places[np.arange(count), :, top, left]

    def _holes(self, sides: tuple[int, ...], positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where images of (H, W) are zeros in all channels: (B, 1, H, W)."""
        import numpy as np

        size = self.augmentation.cutout
        first = (self.places[positions] * sides).astype(np.int64) - size // 2
        rows, columns = (
            (np.arange(side) >= start[:, None]) & (np.arange(side) < start[:, None] + size)
            for side, start in zip(sides, first.T, strict=True)
        )
        holes: NDArray[np.bool_] = rows[:, None, :, None] & columns[:, None, None, :]
        return holes
