"""Both towers of an image-text model as SavedModels for TF Serving."""

import os
import pathlib

import keras
import tensorflow as tf

from sogclr_tf.export.checks import checked_encoder, checked_image_shape
from sogclr_tf.export.versions import free_version, publish
from sogclr_tf.models.two_tower import TwoTowerSogCLR


def export_towers(
    model: TwoTowerSogCLR,
    path: str | os.PathLike,
    *,
    version: int | None = None,
    image_shape: tuple | None = None,
    keep: int | None = None,
) -> tuple[pathlib.Path, ...]:
    """Exports both towers of a `TwoTowerSogCLR` as `path/image/<version>/` and `path/text/...`.

    Each is a served model of its own in TF Serving's layout, written as `export_encoder` writes
    one. The endpoint `serving_default` takes `images`, float32 [B, H, W, C] in 0..1, or `texts`,
    string [B], and returns `{"embeddings": float32 [B, D]}`, L2-normalized: the cosine of an image
    and a text is their inner product. The vocabulary is inside. Of a text encoder without
    `tokenize` the endpoint takes `tokens`, int32 [B, L].

    Args:
        model: a built `TwoTowerSogCLR`.
        path: folder of both, on a local or mounted disk; made where missing.
        version: integer from 0; by default one above the highest in `path`, starting at 1.
        image_shape: (H, W, C), for an image encoder that does not know its input shape.
        keep: how many of the highest versions of each stay; None for all.

    Returns:
        (pathlib.Path of the image tower's version folder, of the text tower's).

    Raises:
        FileExistsError: `path` holds that version already.
        TypeError: `version` is no integer.
        ValueError: a negative version, a model that is not built, or a shape that is unknown or not
            that of the encoder.
    """
    path = pathlib.Path(path)
    text_encoder = checked_encoder(model.text_encoder)
    shape = checked_image_shape(checked_encoder(model.image_encoder), image_shape)
    folders = [path / "image", path / "text"]
    version = max(free_version(folder, version, keep) for folder in folders)
    images = tf.TensorSpec((None, *shape), tf.float32, name="images")
    parts = [model.image_encoder, model.image_projector], [text_encoder, model.text_projector]
    if hasattr(text_encoder, "tokenize"):
        texts, embed = tf.TensorSpec((None,), tf.string, name="texts"), model.embed_texts
        parts[1].extend(filter(None, [getattr(text_encoder, "vectorization", None)]))
    else:
        tokens = (None, *text_encoder.input_shape[1:])
        texts, embed = tf.TensorSpec(tokens, tf.int32, name="tokens"), model.embed_tokens
    return tuple(
        publish(folder, version, _embeddings(function, spec, tracked), keep)
        for folder, function, spec, tracked in zip(
            folders, (model.embed_images, embed), (images, texts), parts, strict=True
        )
    )


def _embeddings(function, spec, parts):
    """A function that writes a SavedModel of one endpoint to a folder."""

    def write(folder):
        archive = keras.export.ExportArchive()
        for part in parts:
            archive.track(part)
        archive.add_endpoint(
            "serving_default",
            lambda values: {"embeddings": function(values)},
            input_signature=[spec],
        )
        archive.write_out(str(folder), verbose=False)

    return write
