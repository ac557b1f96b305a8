"""Random flips, colours, turns, crops, holes and mixtures, drawn on the host for each image and epoch, or step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnbench.errors import SpecError
from cnnbench.spec.streams import stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


MOST = {"jitter": 1.0, "rotation": 180.0, "scale": 0.9}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images vary.

    Args:
        flip: Mirror left to right with probability 1/2.
        jitter: a. With m the image's mean over all values and g(y, x) its mean over channels, x becomes m + c (x - m),
            then g + s (x - g) where it has three channels, then x + b: c and s uniform in [1 - a, 1 + a], b in
            [-a, a], in standard deviations of the dataset.
        rotation: Turn about the centre by an angle that is uniform in [-rotation, rotation] degrees.
        scale: a. Enlarge about the centre by a factor that is uniform in [1 - a, 1 + a]. Both sample linearly, once;
            beyond the edge there are zeros.
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
    jitter: float = 0.0
    rotation: float = 0.0
    scale: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop_padding", "cutout", "mixup"):
            if getattr(self, name) < 0:
                raise SpecError(f"{name} is not valid", received=getattr(self, name), expected="at least 0")
        for name, most in MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise SpecError(f"{name} is not valid", received=getattr(self, name), expected=f"0 to {most:g}")

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
        places = generator.random((count, 2))
        return Draws(self, flips & self.flip, offsets, places, 2 * generator.random((count, 5)) - 1)

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
    """An epoch's choices: whether to flip (N,), the crop's offset (N, 2), and the hole's centre (N, 2) in [0, 1).

    ``shares`` (N, 5) in [-1, 1) of the most by which contrast, saturation, brightness, angle and size change.
    """

    augmentation: Augmentation
    flips: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    places: NDArray[np.float64]
    shares: NDArray[np.float64]

    def apply(self, images: NDArray[np.float32], positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The images (B, C, H, W), which are those at ``positions`` of the dataset, varied."""
        import numpy as np

        asked = self.augmentation
        if asked == Augmentation(mixup=asked.mixup):
            return images
        if images.ndim != 4:
            raise SpecError("augmentation takes pictures", received=images.shape, expected="(N, C, H, W)")
        varied = images.copy()
        if asked.flip:
            flips = self.flips[positions]
            varied[flips] = images[flips, ..., ::-1]
        if asked.jitter:
            varied = jittered(varied, asked.jitter * self.shares[positions, :3])
        if asked.rotation or asked.scale:
            angles = np.radians(asked.rotation) * self.shares[positions, 3]
            varied = turned(varied, angles, 1 + asked.scale * self.shares[positions, 4])
        if asked.crop_padding:
            varied = self._cropped(varied, positions)
        if asked.cutout:
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


def jittered(images: NDArray[np.float32], changes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Images of other contrast, saturation (of three channels) and brightness, as ``Augmentation.jitter`` says.

    Args:
        images: (B, C, H, W).
        changes: (B, 3): c - 1, s - 1 and b.
    """
    import numpy as np

    contrast, saturation, brightness = np.asarray(changes, np.float32).T[:, :, None, None, None]
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    found: NDArray[np.float32] = images + contrast * (images - mean)
    if images.shape[1] == 3:
        found += saturation * (found - found.mean(axis=1, keepdims=True))
    found += brightness
    return found


def turned(
    images: NDArray[np.float32], angles: NDArray[np.float64], factors: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Images turned and enlarged about their centres, sampled linearly; what lies beyond the edge is 0.

    Args:
        images: (B, C, H, W).
        angles: (B,) in radians, counter-clockwise.
        factors: (B,), above 1 enlarges.
    """
    import numpy as np

    count, channels, height, width = images.shape
    padded = np.zeros((count, channels, height + 2, width + 2), images.dtype)
    padded[:, :, 1:-1, 1:-1] = images
    flat, plane, stride = padded.reshape(-1), (height + 2) * (width + 2), width + 2
    y, x = (np.arange(height) - (height - 1) / 2)[:, None], np.arange(width) - (width - 1) / 2
    cosine, sine = ((of(angles) / factors)[:, None, None] for of in (np.cos, np.sin))
    first, rest = [], []
    for place, side in ((sine * x + cosine * y, height), (cosine * x - sine * y, width)):
        inside = np.clip(place + (side + 1) / 2, 0, side + 1)  # of the padded image
        first.append(np.minimum(inside.astype(np.int64), side))
        rest.append((inside - first[-1]).astype(np.float32)[:, None])
    index = (first[0] * stride + first[1])[:, None]
    index = index + (np.arange(count * channels) * plane).reshape(count, channels, 1, 1)
    parts = [flat[offset:].take(index, mode="clip") for offset in (0, 1, stride, stride + 1)]
    above, below = (one + rest[1] * (other - one) for one, other in (parts[:2], parts[2:]))
    found: NDArray[np.float32] = above + rest[0] * (below - above)
    return found
