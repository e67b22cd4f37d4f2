"""Write encoders as SavedModels that TF Serving serves."""

import operator
import os
import pathlib
import shutil
import tempfile

import keras
import tensorflow as tf

# TF Serving reads only folders whose name is an integer, so it never sees one of these.
TEMPORARY_PREFIX = ".exporting-"


def export_encoder(model, path, *, version=None, image_shape=None):
    """Exports an encoder, in inference mode, as `path/<version>/` in TF Serving's layout.

    The endpoint `serving_default` takes `images`, float32 [B, H, W, C] in 0..1 for any B, and
    returns `{"features": float32 [B, D]}`. The version folder appears whole or not at all: it is
    written under a hidden name beside its place and then renamed. What an export that was killed
    left behind is removed by the next one, so only one process may export to a path at a time.
    The model is left as it was.

    Args:
        model: a built Keras encoder, images -> features; or a model that holds one as `.encoder`,
            whose projector and tables are then left out.
        path: folder of the served model on a local or mounted disk; made where missing.
        version: integer from 0; by default one above the highest in `path`, starting at 1.
        image_shape: (H, W, C), for an encoder that does not know its input shape, such as a
            subclassed model. H and W may be None: the endpoint then takes any size.

    Returns:
        pathlib.Path of the version folder.

    Raises:
        FileExistsError: `path` holds that version already.
        TypeError: `version` is no integer, or `model` no Keras model.
        ValueError: a negative version, an encoder that is not built, or a shape that is unknown or
            not that of the encoder.
    """
    encoder = _checked_encoder(model)
    images = tf.TensorSpec((None, *_image_shape(encoder, image_shape)), tf.float32, name="images")

    def serve(images):
        return {"features": tf.cast(encoder(images, training=False), tf.float32)}

    return _publish(path, version, serve, images, [encoder])


def export_towers(model, path, *, version=None, image_shape=None):
    """Exports both towers of a `TwoTowerSogCLR` as `path/image/<version>/` and `path/text/...`.

    Each is a served model of its own in TF Serving's layout, written as `export_encoder` writes
    one. The endpoint `serving_default` takes `images`, float32 [B, H, W, C] in 0..1, or `texts`,
    string [B], and returns `{"embeddings": float32 [B, D]}`, L2-normalised: the cosine of an image
    and a text is their inner product. The vocabulary is inside. Of a text encoder without
    `tokenise` the endpoint takes `tokens`, int32 [B, L].

    Args:
        model: a built `TwoTowerSogCLR`.
        path: folder of both, on a local or mounted disk; made where missing.
        version: integer from 0; by default one above the highest in `path`, starting at 1.
        image_shape: (H, W, C), for an image encoder that does not know its input shape.

    Returns:
        (pathlib.Path of the image tower's version folder, of the text tower's).

    Raises:
        FileExistsError: `path` holds that version already.
        TypeError: `version` is no integer.
        ValueError: a negative version, a model that is not built, or a shape that is unknown or not
            that of the encoder.
    """
    path = pathlib.Path(path)
    text_encoder = _checked_encoder(model.text_encoder)
    shape = _image_shape(_checked_encoder(model.image_encoder), image_shape)
    folders = [path / "image", path / "text"]
    version = max(_free_version(folder, version) for folder in folders)
    images = tf.TensorSpec((None, *shape), tf.float32, name="images")
    parts = [model.image_encoder, model.image_projector], [text_encoder, model.text_projector]
    if hasattr(text_encoder, "tokenise"):
        texts, embed = tf.TensorSpec((None,), tf.string, name="texts"), model.embed_texts
        parts[1].extend(filter(None, [getattr(text_encoder, "vectorization", None)]))
    else:
        tokens = (None, *text_encoder.input_shape[1:])
        texts, embed = tf.TensorSpec(tokens, tf.int32, name="tokens"), model.embed_tokens
    return tuple(
        _publish(folder, version, _embeddings(function), spec, tracked)
        for folder, function, spec, tracked in zip(
            folders, (model.embed_images, embed), (images, texts), parts, strict=True
        )
    )


def _embeddings(function):
    return lambda values: {"embeddings": function(values)}


def _publish(path, version, serve, signature, parts):
    """Writes `path/<version>/` with one endpoint, whole or not at all; its path."""
    path = pathlib.Path(path)
    target = path / str(_free_version(path, version))
    path.mkdir(parents=True, exist_ok=True)
    for leftover in path.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=path) as temporary:
        # A folder inside, because the temporary one is closed to other users, TF Serving's too.
        written = pathlib.Path(temporary) / "model"
        _write(serve, signature, parts, written)
        os.rename(written, target)
    return target


def _checked_encoder(model):
    encoder = getattr(model, "encoder", model)
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(
            f"model must be a Keras encoder or hold one as `.encoder`, got {type(model).__name__}."
        )
    if not encoder.built:
        raise ValueError(
            f"The encoder '{encoder.name}' is not built, so it has no weights to export: "
            "call it once on a batch of images."
        )
    return encoder


def _image_shape(encoder, image_shape):
    # Keras raises AttributeError from the property where no single input shape is known.
    known = getattr(encoder, "input_shape", None)
    if image_shape is None and not (isinstance(known, tuple) and len(known) == 4):
        raise ValueError(
            f"The encoder '{encoder.name}' does not know its image shape (input_shape is {known}): "
            "pass image_shape=(H, W, C)."
        )
    shape = known[1:] if image_shape is None else tuple(image_shape)
    if len(shape) != 3 or shape[2] is None:
        raise ValueError(f"image_shape must be (H, W, C) with a known C, got {shape}.")
    if known is not None and not tf.TensorShape(known[1:]).is_compatible_with(shape):
        raise ValueError(
            f"image_shape is {shape}, but the encoder '{encoder.name}' takes {known[1:]}: "
            "leave image_shape out."
        )
    return shape


def _free_version(path, version):
    existing = [int(entry.name) for entry in path.glob("*") if entry.name.isdecimal()]
    if version is None:
        return max(existing, default=0) + 1
    try:
        number = operator.index(version)
    except TypeError:
        number = None
    if number is None or isinstance(version, bool):
        raise TypeError(f"version must be an integer from 0, got {version!r}.")
    if number < 0:
        raise ValueError(f"version must be an integer from 0, got {version}.")
    if number in existing:
        raise FileExistsError(
            f"{path} already holds version {number}: pass another, or none for the next free one."
        )
    return number


def _write(serve, signature, parts, folder):
    archive = keras.export.ExportArchive()
    for part in parts:
        archive.track(part)
    archive.add_endpoint("serving_default", serve, input_signature=[signature])
    archive.write_out(str(folder), verbose=False)
