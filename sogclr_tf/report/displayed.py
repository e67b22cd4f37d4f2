"""Images of any channels and bits, as a screen can show them."""

from collections.abc import Sequence

import numpy as np

# Percentiles that become black and white.
_STRETCH = (2, 98)


def displayed(
    image: np.ndarray, bands: Sequence[int] = (), like: np.ndarray | None = None
) -> np.ndarray:
    """An image as uint8, or float in 0..1, [H, W, 1 or 3].

    One of 1 or 3 channels is shown as it is. Of others some are shown, and each is stretched, as
    the values of satellites and other instruments fill little of their range.

    Args:
        image: uint8, or float in 0..1, [H, W, C].
        bands: the channels to show as red, green and blue, or one to show as gray, from 0; by
            default the first three, or the first of two.
        like: an image [H, W, C] whose stretch is to be taken, so that both can be compared; by
            default its own.

    Raises:
        ValueError: the image is of another shape or dtype.
    """
    image = np.asarray(image)
    if image.ndim != 3 or not (image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating)):
        raise ValueError(
            f"an image is {image.dtype} {image.shape}: expected [H, W, C] of uint8 or of floats in "
            "0..1; give one at a time"
        )
    if not bands and image.shape[-1] in (1, 3):
        return image
    chosen = list(bands) or ([0] if image.shape[-1] < 3 else [0, 1, 2])
    stretched = (image if like is None else np.asarray(like))[..., chosen]
    low, high = np.percentile(stretched, _STRETCH, axis=(0, 1))
    span = np.maximum(high - low, np.finfo(np.float32).tiny)
    return np.clip((image[..., chosen] - low) / span, 0, 1).astype(np.float32)
