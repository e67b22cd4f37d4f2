"""An encoder as a SavedModel for TF Serving."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.data.files import decoding
from sogclr_tf.data.files.decoding import FILE_CHANNELS
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.view_size import Size, height_and_width
from sogclr_tf.export import warmup
from sogclr_tf.export.checks import checked_encoder, checked_image_shape
from sogclr_tf.export.signatures import WEIGHTS, ServedModel
from sogclr_tf.export.versions import publish
from sogclr_tf.printable import check_printable


def export_encoder(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    version: int | None = None,
    image_shape: tuple | None = None,
    image_size: Size | None = None,
    head: keras.layers.Layer | None = None,
    class_names: Sequence[str] | None = None,
    weights: str = "float32",
    max_pixels: int = decoding.MAX_PIXELS,
    pixel_format: PixelFormat | None = None,
    warmup_batches: Sequence[int] = (),
    keep: int | None = None,
) -> pathlib.Path:
    """Exports an encoder as `path/<version>/`, in TF Serving's layout.

    Its signatures, for any B:

    `serving_default`  `images` float32 [B, H, W, C] in 0..1 -> `features` float32 [B, D]
    `serving_bytes`    `image_bytes` string [B], image files -> `features` float32 [B, D]
    `projections`      `images` -> `projections` float32 [B, P]; of a model with a projector
    `classify`         `images` -> `probabilities` float32 [B, K]; with a head
    `classify_bytes`   `image_bytes` -> `probabilities` float32 [B, K]; with a head

    Files are decoded as `sogclr_tf.data.files.decoding` does, and the largest part in their middle
    that has the encoder's proportions is resized, as in evaluation. `tf.saved_model.load` gives an
    object with `trainable_variables`, called as `loaded(images, training=False)`; neither it nor a
    server needs this package or Keras.

    The version folder appears whole or not at all: it is written under a hidden name beside its
    place and then renamed. What an export that was killed left behind is removed by the next one,
    so only one process may export to a path at a time. The model is left as it was.

    Args:
        model: a built Keras encoder, images -> features; or a model that holds one as `.encoder`,
            with its `.projector` and `.probe` where it has them.
        path: folder of the served model on a local or mounted disk; made where missing.
        version: integer from 0; by default one above the highest in `path`, starting at 1.
        image_shape: (H, W, C), for an encoder that does not know its input shape, such as a
            subclassed model. H and W may be None: the endpoint then takes any size.
        image_size: to which the image of a file is resized, the side of a square or (height,
            width); by default the encoder's. Where it takes any size and none is given, or C is
            neither 3 nor 1, the signatures of files are left out.
        head: built Keras layer, features [B, C] -> scores [B, K], whose softmax are the
            probabilities; by default the model's online probe, where it has one.
        class_names: K strings without control characters, written to `assets/class_names.txt`.
        weights: dtype of the kernels in the file, "float32", "bfloat16" or "float16". They are
            cast to the encoder's own when a request is computed.
        max_pixels: height * width above which the image of a file is refused.
        pixel_format: which values of a file are 0 and 1, as it was in training:
            `views.source.pixel_format`, or `sogclr_tf.PixelFormat(1, value_range=(0, 4095))`. By
            default those of 8 bits.
        warmup_batches: batch sizes for which TF Serving is to send a request to every signature
            when it loads the version; needs the package tensorflow-serving-api.
        keep: how many of the highest versions stay, this one among them; None for all.

    Returns:
        pathlib.Path of the version folder.

    Raises:
        FileExistsError: `path` holds that version already.
        ModuleNotFoundError: `warmup_batches` without tensorflow-serving-api.
        TypeError: `version` is no integer, or `model` no Keras model.
        ValueError: an encoder or head that is not built, a shape that is unknown or not that of the
            encoder, class names without a head or of another number, or an argument out of range.

    Examples:
        >>> import numpy as np
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> path = sogclr_tf.export_encoder(encoder, "my_encoder")
        >>> path.as_posix()
        'my_encoder/1'
        >>> served = tf.saved_model.load(path)  # needs TensorFlow alone
        >>> images = np.zeros([2, 16, 16, 3], np.float32)
        >>> served.signatures["serving_default"](images=tf.constant(images))["features"].shape
        TensorShape([2, 8])
    """
    encoder = checked_encoder(model)
    shape = checked_image_shape(encoder, image_shape)
    kind = stated_format(pixel_format, shape)
    check_options(weights, warmup_batches)
    head = _head(model, head)
    _check_names(class_names, head)

    def write(folder):
        write_served(
            folder,
            encoder,
            shape,
            projector=getattr(model, "projector", None),
            head=head,
            class_names=class_names,
            weights=weights,
            image_size=file_size(shape, image_size),
            max_pixels=max_pixels,
            pixel_format=kind,
            warmup_batches=warmup_batches,
        )

    return publish(path, version, write, keep)


def write_served(
    folder: pathlib.Path,
    encoder: keras.layers.Layer,
    shape: tuple,
    *,
    class_names: Sequence[str] | None,
    warmup_batches: Sequence[int],
    pixel_format: PixelFormat,
    **options: Any,
) -> None:
    """Writes the SavedModel of an encoder of images to a folder, with its requests of warm-up.

    Args:
        folder: pathlib.Path, made here.
        encoder, shape, pixel_format: as for `ServedModel`, whose further arguments `options` are.
        class_names, warmup_batches: as for `export_encoder`.

    Raises:
        ValueError: class names of another number than the head's classes.
    """
    with _names_file(class_names) as names_file:
        served = ServedModel(
            encoder, shape, names_file=names_file, pixel_format=pixel_format, **options
        )
        _check_count(class_names, served.signatures)
        tf.saved_model.save(served.root, str(folder), served.signatures)
    if warmup_batches:
        warmup.write_requests(served.signatures, warmup_batches, folder, pixel_format)


def stated_format(pixel_format: PixelFormat | None, shape: tuple) -> PixelFormat:
    """The format of the images of files, as given or that of 8 bits.

    Raises:
        ValueError: the encoder takes images [H, W, C] of another number of channels.
    """
    kind = pixel_format or PixelFormat(shape[-1])
    if kind.channels != shape[-1]:
        raise ValueError(
            f"pixel_format has {kind.channels} channels, but the encoder takes {shape}: give that "
            "of the images that it was trained on"
        )
    return kind


def check_options(weights: str, warmup_batches: Sequence[int]) -> None:
    """Raises ValueError of options out of range, ModuleNotFoundError of what warm-up needs."""
    if weights not in WEIGHTS:
        raise ValueError(f"weights is {weights!r}: choose one of {', '.join(WEIGHTS)}.")
    if any(batch < 1 for batch in warmup_batches):
        raise ValueError(f"warmup_batches is {warmup_batches}: each must be at least 1.")
    if warmup_batches:
        warmup.require()


@contextlib.contextmanager
def _names_file(class_names: Sequence[str] | None) -> Iterator[pathlib.Path | None]:
    """The path of a text file with a name in each line; None without names."""
    if class_names is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "class_names.txt"
        path.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        yield path


def _head(model: keras.Model, head: keras.layers.Layer | None) -> keras.layers.Layer | None:
    """The layer that scores classes, if any."""
    if head is None:
        probe = getattr(model, "probe", None)
        return probe.linear_probe().layer() if probe is not None else None
    if not isinstance(head, keras.layers.Layer) or not head.built:
        raise ValueError(f"head is {head!r}: expected a built Keras layer from features to scores.")
    return head


def _check_names(class_names, head):
    if class_names is None:
        return
    if head is None:
        raise ValueError("class_names name the scores of a head, but there is none: pass head=.")
    for name in class_names:
        check_printable(name, "a name of class_names", "each is a line of a file")


def _check_count(class_names, signatures):
    if class_names is None:
        return
    outputs = signatures["classify"].get_concrete_function().structured_outputs
    classes = outputs["probabilities"].shape[-1]
    if len(class_names) != classes:
        raise ValueError(
            f"{len(class_names)} class_names for a head of {classes} classes: give one for each."
        )


def file_size(shape: tuple, image_size: Size | None) -> tuple | None:
    """(height, width) to which images of files are resized; None where they cannot be.

    Raises:
        ValueError: the encoder, which takes images of a shape [H, W, C], takes no such ones.
    """
    *size, channels = shape
    if image_size is None:
        return None if None in size or channels not in FILE_CHANNELS else tuple(size)
    given = height_and_width(image_size, "image_size")
    if not tf.TensorShape(size).is_compatible_with(given) or channels not in FILE_CHANNELS:
        raise ValueError(
            f"image_size is {image_size}, but the encoder takes {shape}: leave it out."
        )
    return given
