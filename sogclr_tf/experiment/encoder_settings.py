"""The options of an encoder, where a command names another one than its recipe."""

import logging
from collections.abc import Collection

from ml_collections import ConfigDict

from sogclr_tf.experiment.config import default_config
from sogclr_tf.networks.encoders import check_options, encoder_options

_LOG = logging.getLogger("sogclr_tf")
# What is no option of the encoder itself.
NO_OPTIONS = ("name", "weights")


def settle_encoder(config: ConfigDict, recipe: ConfigDict, given: Collection[str]) -> None:
    """Leaves out of a config what its recipe says of another encoder, and says so in the log.

    Args:
        config: a recipe's with what the command changed in it; changed in place.
        recipe: the recipe's own.
        given: the dotted keys that the command set, such as "encoder.name".

    Raises:
        ValueError: the encoder is unknown, or does not take an option that the command set.
    """
    encoder, name = config.encoder, config.encoder.name
    options = {key for key, value in encoder.items() if value is not None} - {*NO_OPTIONS}
    own = {key for key in options if f"encoder.{key}" in given}
    check_options(name, sorted(own))
    if name == recipe.encoder.name:
        return
    taken = encoder_options(name)
    # A function that takes anything was not what the recipe spoke of either.
    others = [key for key in encoder if key in options - own and key not in (taken or ())]
    if not others:
        return
    _LOG.info(
        "encoder %r does not take %s, which the recipe has for %s: left out",
        name,
        ", ".join(f"{key}={encoder[key]}" for key in others),
        recipe.encoder.name,
    )
    schema = default_config().encoder
    with encoder.unlocked():
        for key in others:
            if key in schema:
                encoder[key] = None
            else:
                del encoder[key]
