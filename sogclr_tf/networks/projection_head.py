"""The projection head: a small network from features to the space of the contrastive loss."""

from typing import Any

import keras

from sogclr_tf.networks.normalization import normalization as normalization_layer
from sogclr_tf.networks.normalization import require_one_of

NORMALIZATIONS = ("batch", "layer")


def projection_head(
    features: int,
    *,
    hidden: int | None = None,
    output: int = 128,
    layers: int = 2,
    normalization: str = "batch",
    name: str = "projector",
) -> keras.Sequential:
    """Returns SimCLR's projection head (arXiv 2002.05709, section 4.2), built.

    The model maps features float [B, `features`] to projections float32 [B, `output`], not
    normalized; they are float32 under mixed precision too. Each hidden layer is Dense, batch
    normalization, ReLU; the last is Dense, batch normalization. No Dense layer has a bias. The
    last normalization has a gamma but no beta, as in SimCLR's code: a shared offset would only
    pull all projections toward one direction. Kernels start from a normal of deviation 0.01, as
    they do there. Statistics are those of the global batch, unless `normalization` is "layer".

    Args:
        features: width of the encoder's output, int >= 1.
        hidden: width of the hidden layers, int >= 1; `features` unless given.
        output: width of the projections, int >= 1.
        layers: number of Dense layers: 2 or 3, or 1 for a linear head.
        normalization: "batch"; or "layer", in the same places, over the channels of each example
            alone: then, behind an encoder without batch normalization, a projection depends on
            its own image and on no other of the batch.
        name: the model's name.

    Returns:
        A Keras model from features [B, C] to projections [B, D].

    Raises:
        ValueError: if a width is not an int >= 1, `layers` is not 1, 2 or 3, or for an unknown
            normalization.

    Examples:
        >>> import sogclr_tf
        >>> projector = sogclr_tf.projection_head(512)  # SimCLR's: 512 to 512 to 128
        >>> projector.output_shape
        (None, 128)
    """
    hidden = features if hidden is None else hidden
    for what, width in (("features", features), ("hidden", hidden), ("output", output)):
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ValueError(f"{what} is {width!r}; give a width, an int of at least 1.")
    if layers not in (1, 2, 3):
        raise ValueError(f"layers is {layers!r}; choose 1 (linear), 2 or 3.")
    require_one_of("normalization", normalization, NORMALIZATIONS)
    head = [keras.Input((features,), name="features")]
    for index in range(1, layers):
        head += _dense(hidden, f"hidden{index}", normalization)
        head.append(keras.layers.ReLU(name=f"hidden{index}_relu"))
    head += _dense(output, "output", normalization, center=False, dtype="float32")
    return keras.Sequential(head, name=name)


def _dense(width: int, prefix: str, normalization: str, **options: Any) -> list[keras.layers.Layer]:
    """A Dense layer and its normalization, which takes the options."""
    dense = keras.layers.Dense(
        width,
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        name=f"{prefix}_dense",
    )
    return [dense, normalization_layer(normalization, f"{prefix}_", channels=width, **options)]


def linear_projector(output: int = 128, name: str = "projector") -> keras.layers.Dense:
    """CLIP's projection: linear, without bias, float32 under mixed precision too.

    Args:
        output: D, the width of the projections.
        name: the layer's name.
    """
    return keras.layers.Dense(output, use_bias=False, dtype="float32", name=name)
