"""The order of an image's axes, which is one everywhere in this package."""

import keras


def check_channels_last() -> None:
    """Raises ValueError where Keras is set to make layers for images [B, C, H, W]."""
    found = keras.config.image_data_format()
    if found != "channels_last":
        raise ValueError(
            f"Keras's image_data_format is '{found}' (keras.json), but images here are "
            "[B, H, W, C]: call keras.config.set_image_data_format('channels_last') before the "
            "encoder is built"
        )
