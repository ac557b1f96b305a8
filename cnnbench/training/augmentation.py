"""Random flips and crops, drawn on the host for each image and epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

    Source: He et al., "Deep residual learning" (2015), section 4.2.
    """

    flip: bool = False
    crop_padding: int = 0

    def __post_init__(self) -> None:
        if self.crop_padding < 0:
            raise SpecError("crop_padding is not valid", received=self.crop_padding, expected="at least 0")

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
        return Draws(self, flips & self.flip, offsets)


@dataclass(frozen=True, eq=False)
class Draws:
    """An epoch's choices: whether to flip (N,), and the crop's offset (N, 2) in the padded image."""

    augmentation: Augmentation
    flips: NDArray[np.bool_]
    offsets: NDArray[np.int64]

    def apply(self, images: NDArray[np.float32], positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The images (B, C, H, W), which are those at ``positions`` of the dataset, varied."""
        import numpy as np

        if not self.augmentation.flip and not self.augmentation.crop_padding:
            return images
        if images.ndim != 4:
            raise SpecError("augmentation takes pictures", received=images.shape, expected="(N, C, H, W)")
        flipped = np.where(self.flips[positions][:, None, None, None], images[..., ::-1], images)
        pad = self.augmentation.crop_padding
        if not pad:
            return flipped
        height, width = images.shape[2:]
        padded = np.pad(flipped, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        cut = [
            picture[:, top : top + height, left : left + width]
            for picture, (top, left) in zip(padded, self.offsets[positions], strict=True)
        ]
        return np.stack(cut)
