"""Both towers of an image-text model as SavedModels for TF Serving."""

import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.data.files import decoding
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.view_size import Size
from sogclr_tf.export import warmup
from sogclr_tf.export.checks import checked_encoder, checked_image_shape
from sogclr_tf.export.saved_model import check_options, file_size, stated_format, write_served
from sogclr_tf.export.versions import free_version, publish
from sogclr_tf.models.two_tower import TwoTowerSogCLR
from sogclr_tf.printable import check_printable


def export_towers(
    model: TwoTowerSogCLR,
    path: str | os.PathLike,
    *,
    version: int | None = None,
    image_shape: tuple | None = None,
    image_size: Size | None = None,
    class_names: Sequence[str] | None = None,
    weights: str = "float32",
    max_pixels: int = decoding.MAX_PIXELS,
    pixel_format: PixelFormat | None = None,
    warmup_batches: Sequence[int] = (),
    keep: int | None = None,
) -> tuple[pathlib.Path, ...]:
    """Exports both towers of a `TwoTowerSogCLR` as `path/image/<version>/` and `path/text/...`.

        image, text = sogclr_tf.export_towers(model, "towers", class_names=["a dog", "a house"])
        embed = tf.saved_model.load(str(text)).signatures["serving_default"]
        embed(texts=tf.constant(["a red heart"]))["embeddings"]    # float32 [1, 128]

    Each is a served model of its own in TF Serving's layout, written as `export_encoder` writes
    one. Embeddings are L2-normalized: the cosine of an image and a text is their inner product.
    The vocabulary is inside. For any B:

    image `serving_default`  `images` float32 [B, H, W, C] in 0..1 -> `embeddings` float32 [B, D]
    image `serving_bytes`    `image_bytes` string [B], image files -> `embeddings` float32 [B, D]
    image `classify`         `images` -> `probabilities` float32 [B, K]; with class names
    image `classify_bytes`   `image_bytes` -> `probabilities` float32 [B, K]; with class names
    text `serving_default`   `texts` string [B] -> `embeddings` float32 [B, D]; of a text encoder
                             without `tokenize`, `tokens` int32 [B, L]

    Args:
        model: a built `TwoTowerSogCLR`.
        path: folder of both, on a local or mounted disk; made where missing.
        version: integer from 0; by default one above the highest in `path`, starting at 1.
        image_shape: (H, W, C), for an image encoder that does not know its input shape.
        image_size, max_pixels, pixel_format: of the images of files, as for `export_encoder`.
        class_names: K strings by which images are classified, as `zero_shot` does: a class's
            probability is the softmax over the cosines to all names, divided by the temperature of
            the loss. Written to `assets/class_names.txt` of the image tower.
        weights: dtype of the image tower's kernels in the file, as for `export_encoder`.
        warmup_batches: as for `export_encoder`, of both towers.
        keep: how many of the highest versions of each stay; None for all.

    Returns:
        (pathlib.Path of the image tower's version folder, of the text tower's).

    Raises:
        FileExistsError: `path` holds that version already.
        ModuleNotFoundError: `warmup_batches` without tensorflow-serving-api.
        TypeError: `version` is no integer.
        ValueError: a negative version, a model that is not built, a shape that is unknown or not
            that of the encoder, class names that are no names or that the text encoder cannot
            tokenize, or an argument out of range.

    Examples:
        >>> import sogclr_tf
        >>> image_encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> words = sogclr_tf.vocabulary(["a cat", "a dog"])
        >>> text_encoder = sogclr_tf.TextEncoder(words, length=4, width=16)
        >>> model = sogclr_tf.TwoTowerSogCLR(image_encoder, text_encoder, sogclr_tf.CLIPLoss())
        >>> images, texts = sogclr_tf.export_towers(model, "towers", class_names=["a cat", "a dog"])
        >>> images.as_posix(), texts.as_posix()
        ('towers/image/1', 'towers/text/1')
    """
    path = pathlib.Path(path)
    text_encoder = checked_encoder(model.text_encoder)
    shape = checked_image_shape(checked_encoder(model.image_encoder), image_shape)
    kind = stated_format(pixel_format, shape)
    check_options(weights, warmup_batches)
    head = None if class_names is None else _classifier(model, class_names)
    version = max(free_version(path / side, version, keep) for side in ("image", "text"))

    def write_image(folder):
        write_served(
            folder,
            model.image_tower(shape),
            shape,
            output="embeddings",
            head=head,
            class_names=class_names,
            weights=weights,
            image_size=file_size(shape, image_size),
            max_pixels=max_pixels,
            pixel_format=kind,
            warmup_batches=warmup_batches,
        )

    def write_text(folder):
        _write_text(model, text_encoder, folder, warmup_batches, kind)

    return (
        publish(path / "image", version, write_image, keep),
        publish(path / "text", version, write_text, keep),
    )


def _classifier(model, class_names):
    """A Keras layer from embeddings of images to scores of the classes that are named."""
    if len(class_names) < 2:
        raise ValueError(f"class_names has {len(class_names)}: give at least 2 to choose among")
    for name in class_names:
        check_printable(name, "a name of class_names", "each is a line of a file")
    directions = model.embed_texts(list(class_names)).numpy().T
    temperature = model.contrastive_loss.mean_temperature()
    head = keras.layers.Dense(len(class_names), use_bias=False, dtype="float32", name="class_names")
    head.build((None, len(directions)))
    head.set_weights([directions / np.float32(temperature)])
    return head


def _write_text(model, text_encoder, folder, warmup_batches, kind):
    parts = [text_encoder, model.text_projector]
    if hasattr(text_encoder, "tokenize"):
        spec, embed = tf.TensorSpec((None,), tf.string, name="texts"), model.embed_texts
        parts.extend(filter(None, [getattr(text_encoder, "vectorization", None)]))
    else:
        tokens = (None, *text_encoder.input_shape[1:])
        spec, embed = tf.TensorSpec(tokens, tf.int32, name="tokens"), model.embed_tokens
    archive = keras.export.ExportArchive()
    for part in parts:
        archive.track(part)
    answer = tf.function(lambda values: {"embeddings": embed(values)}, input_signature=[spec])
    archive.add_endpoint("serving_default", answer)
    archive.write_out(str(folder), verbose=False)
    if warmup_batches:
        warmup.write_requests({"serving_default": answer}, warmup_batches, folder, kind)
