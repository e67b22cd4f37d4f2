"""Training that starts from the weights of an encoder which was trained before.

Names and shapes say which array goes where. They do not say what a network computes with it: a
convolution padded otherwise, or images normalized otherwise, have the same arrays. So both networks
are given the same few images, and weights whose features differ are refused.
"""

import logging
import os
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.export.load import ServedEncoder, load_encoder
from sogclr_tf.models import keras_hooks
from sogclr_tf.models.encoder_checks import check_one_tensor

_LOG = logging.getLogger("sogclr_tf")

ADVICE = (
    "make the encoder as that one was made, with the same padding, stride_in, input_normalization "
    "and the like"
)
# How far features may be apart, as a share of the largest: what is left of rounding behind the
# layers of a deep network, for the coarsest numbers that either of the two computes with.
_ROUNDING = {"float64": 1e-4, "float32": 1e-4, "float16": 4e-3, "bfloat16": 3e-2}
# Height and width where any are taken: even, since odd ones hide how a stride of 2 is padded.
_SIZE = (64, 48)
_HALVES = {"float16", "bfloat16"}
# Not a weight, but where random numbers stand, as of Dropout.
_SEED = "seed_generator_state"
# How many misfits are named.
_NAMED = 3


class Start(NamedTuple):
    """What an encoder is to start from.

    Attributes:
        path: where it was read.
        values: arrays, in the order and of the shapes of the encoder's `weights`.
        halves: the dtype of 16 bits in which some of them were stored; None where none was.
    """

    path: str | os.PathLike
    values: list[np.ndarray]
    halves: str | None = None

    def assign(self, encoder: keras.Model) -> None:
        """Gives an encoder its weights, and says in the log where they come from."""
        for weight, value in zip(encoder.weights, self.values, strict=True):
            weight.assign(value)
        kept = f", stored in {self.halves}" if self.halves else ""
        _LOG.info("encoder starts from %s (%d arrays%s)", self.path, len(self.values), kept)


def start_from(encoder: keras.Model, path: str | os.PathLike) -> None:
    """Gives an encoder the weights of another, to train on from there.

        encoder = sogclr_tf.ResNet(50, input_shape=(64, 64, 3))
        sogclr_tf.start_from(encoder, "runs/imagenet/saved_model")
        model = sogclr_tf.SogCLR(encoder, loss)

    Call it before the model that holds the encoder is trained. All weights must have a counterpart
    of their shape. Of SavedModels and `.keras` files the features of a few images are compared too,
    so that an encoder which computes something else with the same weights is refused; a checkpoint
    holds values alone.

    Args:
        encoder: a built Keras model, images -> features; it is left as it was where this raises.
        path: what `load_encoder` reads: a run folder or checkpoint, a SavedModel or the folder of
            its versions, whose kernels may be stored in 16 bits, or a `.keras` file.

    Raises:
        TypeError: `encoder` is no Keras model.
        ValueError: there is no encoder at `path`, its weights do not fit, or the features of the
            two differ.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> trained = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> path = sogclr_tf.export_keras(trained, "trained.keras")
        >>> encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> sogclr_tf.start_from(encoder, path)
        >>> all(map(np.array_equal, encoder.get_weights(), trained.get_weights()))
        True
    """
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(
            f"encoder must be a Keras model, got {type(encoder).__name__}: a SavedModel is started "
            "from, but not trained"
        )
    if not encoder.built:
        raise ValueError(
            f"the encoder '{encoder.name}' is not built, so it has no weights to replace: call it "
            "once on a batch of images"
        )
    source = load_encoder(path, encoder)
    if isinstance(source, keras.layers.Layer) and encoder in keras_hooks.layers_below(source):
        # Of a checkpoint, which was restored in place.
        _LOG.info("encoder starts from %s (%d arrays)", path, len(encoder.weights))
        return
    fitting(encoder, source, path).assign(encoder)


def fitting(
    encoder: keras.Model,
    source: "keras.Model | ServedEncoder",
    path: str | os.PathLike,
    advice: str = ADVICE,
) -> Start:
    """The weights of `source` for `encoder`, which computes the same with them; changes nothing.

    Args:
        encoder: a built Keras model, images [B, H, W, C] in 0..1 -> features [B, D].
        source: what `load_encoder` gave.
        path: where that was read, for messages.
        advice: what to do where the two are different networks, for messages.

    Raises:
        ValueError: they are; their images differ in size or channels; a weight is not finite.
    """
    if isinstance(source, keras.layers.Layer):
        check_one_tensor(source)
    shape = _common_shape(encoder, source, path)
    pairs = _paired(encoder, source, path, advice)
    stored = {keras.backend.standardize_dtype(variable.dtype) for _, variable in pairs}
    given = {id(own): _array(variable) for own, variable in pairs}
    values = [given[id(weight)] for weight in encoder.weights]
    for weight, value in zip(encoder.weights, values, strict=True):
        if not np.isfinite(value).all():
            raise ValueError(
                f"{path} holds weights that are not finite ({weight.path}): choose an older one"
            )
    _check_features(encoder, source, given, shape, path, advice)
    return Start(path, values, next(iter(stored & _HALVES), None))


def _array(variable):
    value = keras.ops.convert_to_numpy(variable)
    # NumPy itself has no bfloat16.
    return value.astype(np.float32) if value.dtype.name in _HALVES else value


def _common_shape(encoder, source, path):
    """(H, W, C) of images that both take."""
    there, here = _image_shape(source), _image_shape(encoder)
    if not tf.TensorShape(there).is_compatible_with(here):
        raise ValueError(
            f"{path} takes images {there}, but the encoder '{encoder.name}' takes {here}: build it "
            "for those (height, width, channels)"
        )
    usual = (*_SIZE, 3)
    return tuple(a or b or c for a, b, c in zip(there, here, usual, strict=True))


def _image_shape(encoder):
    # Keras raises AttributeError from the property where no single input shape is known.
    shape: Any = getattr(encoder, "input_shape", None)
    known = isinstance(shape, tuple) and len(shape) == 4
    return shape[1:] if known else (None, None, None)


def _paired(encoder, source, path, advice):
    """[(variable of the encoder, that of the source)], by name, or by order where those differ.

    Keras counts up the names of layers that were given none, as in conv2d_3.
    """
    if isinstance(source, ServedEncoder):
        # An export lists them so.
        own = encoder.trainable_weights + encoder.non_trainable_weights
        theirs = [variable for variable in source.variables if _SEED not in variable.name]
    else:
        own, theirs = encoder.weights, source.weights
    here, there = _named(own, encoder.name), _named(theirs, getattr(source, "name", encoder.name))
    named = len(here) == len(own) and len(there) == len(theirs)
    if not named or here.keys() != there.keys():
        pairs = list(zip(own, theirs, strict=False))
        if len(own) != len(theirs) or any(tuple(a.shape) != tuple(b.shape) for a, b in pairs):
            raise ValueError(_misfit(here, there, encoder, path, advice))
        return pairs
    if any(tuple(variable.shape) != tuple(there[name].shape) for name, variable in here.items()):
        raise ValueError(_misfit(here, there, encoder, path, advice))
    return [(variable, there[name]) for name, variable in here.items()]


def _named(variables, model):
    """{name: variable}, as both Keras and an export write it, without the name of the model."""
    names = [getattr(v, "path", None) or v.name.removesuffix(":0") for v in variables]
    names = [name.replace("/", "_") for name in names]
    if all(name.startswith(f"{model}_") for name in names):
        names = [name.removeprefix(f"{model}_") for name in names]
    return dict(zip(names, variables, strict=True))


def _misfit(here, there, encoder, path, advice):
    shapes = [
        f"{name} {tuple(there[name].shape)} there, {tuple(variable.shape)} here"
        for name, variable in here.items()
        if name in there and tuple(variable.shape) != tuple(there[name].shape)
    ]
    parts = [
        f"{len(names)} {what}: {', '.join(names[:_NAMED])}{', ...' * (len(names) > _NAMED)}"
        for what, names in (
            ("missing in it", [name for name in here if name not in there]),
            ("left over", [name for name in there if name not in here]),
            ("of another shape", shapes),
        )
        if names
    ]
    parts = parts or [f"{len(there)} arrays there, {len(here)} here, of other shapes"]
    return f"{path} does not fit the encoder '{encoder.name}' ({'; '.join(parts)}): {advice}"


def _check_features(encoder, source, given, shape, path, advice):
    images = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    expected = _float64(source(tf.constant(images), training=False))
    found = _float64(_called_with(encoder, given, images))
    if found.shape == expected.shape:
        apart = abs(found - expected).max() / max(abs(expected).max(), 1e-30)
        allowed = max(_ROUNDING[dtype] for dtype in _dtypes(encoder) | _dtypes(source))
        if apart <= allowed:
            return
        how = f"features of the same images are apart by {apart:.2g} of the largest"
    else:
        how = f"its features have shape {expected.shape[1:]}, the encoder's {found.shape[1:]}"
    raise ValueError(
        f"{path} has the arrays of the encoder '{encoder.name}', but is another network ({how}): "
        f"{advice}"
    )


def _float64(features):
    return keras.ops.convert_to_numpy(tf.cast(features, tf.float64))


def _called_with(encoder, given, images):
    """What an encoder makes of images with {id of a variable: value} in place of what it has."""
    trainable, others = (
        [tf.constant(given[id(v)], v.dtype) if id(v) in given else v.value for v in variables]
        for variables in (encoder.trainable_variables, encoder.non_trainable_variables)
    )
    features, _ = encoder.stateless_call(trainable, others, images, training=False)
    return features


def _dtypes(encoder):
    """The names of the floats that an encoder computes with, as far as `_ROUNDING` has them."""
    if isinstance(encoder, ServedEncoder):
        return encoder.compute_dtypes & _ROUNDING.keys() or {"float32"}
    found = {part.compute_dtype for part in keras_hooks.layers_below(encoder)}
    return found & _ROUNDING.keys() or {"float32"}
