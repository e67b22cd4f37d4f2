"""Images as the weights of another library expect them, within the encoder."""

from collections.abc import Sequence

import keras


def normalized_images(
    images: keras.KerasTensor, input_normalization: Sequence[Sequence[float]] | None
) -> keras.KerasTensor:
    """Returns `images` less a mean and divided by a deviation, or as they are for None.

    Args:
        images: symbolic [B, H, W, C], in 0..1.
        input_normalization: (mean, deviation), C floats each, deviations above 0; or None.

    Raises:
        ValueError: if `input_normalization` is neither.
    """
    if input_normalization is None:
        return images
    channels = images.shape[-1]
    try:
        mean, deviation = ([float(value) for value in values] for values in input_normalization)
        valid = len(mean) == len(deviation) == channels and min(deviation) > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            f"input_normalization is {input_normalization!r}; give (mean, deviation), "
            f"{channels} floats each, deviations above 0."
        )
    variance = [value**2 for value in deviation]
    # In float32, since 16 bits do not hold the 256 levels of a pixel.
    return keras.layers.Normalization(
        mean=mean, variance=variance, dtype="float32", name="normalization"
    )(images)
