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
        flipped = np.where(self.flips[positions][:, None, None, None], images[..., ::-1], images)
        pad = self.augmentation.crop_padding
        if not pad:
            return self._with_holes(flipped, positions)
        height, width = images.shape[2:]
        padded = np.pad(flipped, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        cut = [
            picture[:, top : top + height, left : left + width]
            for picture, (top, left) in zip(padded, self.offsets[positions], strict=True)
        ]
        return self._with_holes(np.stack(cut), positions)

    def _with_holes(self, images: NDArray[np.float32], positions: NDArray[np.int64]) -> NDArray[np.float32]:
        import numpy as np

        size = self.augmentation.cutout
        if not size:
            return images
        found, sides = images.copy(), images.shape[2:]
        centres = (self.places[positions] * sides).astype(np.int64)
        for picture, (y, x) in zip(found, centres, strict=True):
            top, left = (max(0, int(centre) - size // 2) for centre in (y, x))
            picture[:, top : int(y) - size // 2 + size, left : int(x) - size // 2 + size] = 0
        return found
