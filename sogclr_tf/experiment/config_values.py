"""What the values of a config must be, where no code behind it says so in time."""

from ml_collections import ConfigDict

from sogclr_tf.data.stated_pixels import checked_channels, checked_range
from sogclr_tf.data.view_size import height_and_width


def check_values(config: ConfigDict) -> None:
    """Raises ValueError where the size, channels or values of images are none.

    And where a batch or an update has no such parts, a share is out of range, or views cannot be
    finished at such a place.

    Args:
        config: one with all keys of the schema.
    """
    height_and_width(config.data.image_size, "data.image_size")
    channels = checked_channels(config.data.channels)
    checked_range(config.data.value_range)
    if config.data.finish not in ("auto", "host", "device"):
        raise ValueError(f"data.finish is {config.data.finish!r}: expected auto, host or device")
    bands = config.report.bands
    if bands and (len(bands) not in (1, 3) or not all(0 <= band < channels for band in bands)):
        raise ValueError(
            f"report.bands is {bands}: expected one or three channels in [0, {channels})"
        )
    chunks, accumulated = config.chunks, config.optimizer.gradient_accumulation_steps
    if chunks < 1 or config.batch_size % chunks:
        raise ValueError(
            f"chunks is {chunks}: expected a whole number that divides the batch_size of "
            f"{config.batch_size}"
        )
    if accumulated < 1:
        raise ValueError(
            f"optimizer.gradient_accumulation_steps is {accumulated}: give the batches that make "
            "one update, 1 for none to be accumulated"
        )
    ema = config.optimizer.ema
    if not 0 <= ema < 1:
        raise ValueError(
            f"optimizer.ema is {ema}: give a number in [0, 1), such as 0.999, or 0 for no average"
        )
