"""Write encoders as files that others load: SavedModels for TF Serving, .keras, TFLite."""

import contextlib
import operator
import os
import pathlib
import shutil
import tempfile

import keras
import tensorflow as tf

from sogclr_tf import decoding, served, warmup
from sogclr_tf.whole_file import replacing

# TF Serving reads only folders whose name is an integer, so it never sees one of these.
TEMPORARY_PREFIX = ".exporting-"
WEIGHTS = served.WEIGHTS


def export_encoder(
    model,
    path,
    *,
    version=None,
    image_shape=None,
    image_size=None,
    head=None,
    class_names=None,
    weights="float32",
    max_pixels=decoding.MAX_PIXELS,
    warmup_batches=(),
    keep=None,
):
    """Exports an encoder as `path/<version>/`, in TF Serving's layout.

    Its signatures, for any B:

    `serving_default`  `images` float32 [B, H, W, C] in 0..1 -> `features` float32 [B, D]
    `serving_bytes`    `image_bytes` string [B], image files -> `features` float32 [B, D]
    `projections`      `images` -> `projections` float32 [B, P]; of a model with a projector
    `classify`         `images` -> `probabilities` float32 [B, K]; with a head
    `classify_bytes`   `image_bytes` -> `probabilities` float32 [B, K]; with a head

    Files are decoded as `sogclr_tf.decoding` does, and the square in their middle resized, as in
    evaluation. `tf.saved_model.load` gives an object with `trainable_variables`, called as
    `loaded(images, training=False)`; neither it nor a server needs this package or Keras.

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
        image_size: int, the side to which the image of a file is resized; by default the encoder's.
            Where it takes any size, or is not square, or C is not 3, and none is given, the
            signatures of files are left out.
        head: built Keras layer, features [B, C] -> scores [B, K], whose softmax are the
            probabilities; by default the model's online probe, where it has one.
        class_names: K strings without line breaks, written to `assets/class_names.txt`.
        weights: dtype of the kernels in the file, "float32", "bfloat16" or "float16". They are
            cast to the encoder's own when a request is computed.
        max_pixels: height * width above which the image of a file is refused.
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
    """
    encoder = _checked_encoder(model)
    shape = _image_shape(encoder, image_shape)
    if weights not in WEIGHTS:
        raise ValueError(f"weights is {weights!r}: choose one of {', '.join(WEIGHTS)}.")
    if any(batch < 1 for batch in warmup_batches):
        raise ValueError(f"warmup_batches is {warmup_batches}: each must be at least 1.")
    if warmup_batches:
        warmup.require()
    head = _head(model, head)
    _check_names(class_names, head)

    def write(folder):
        with _names_file(class_names) as names_file:
            model_of = served.ServedModel(
                encoder,
                shape,
                projector=getattr(model, "projector", None),
                head=head,
                names_file=names_file,
                weights=weights,
                image_size=_file_size(shape, image_size),
                max_pixels=max_pixels,
            )
            _check_count(class_names, model_of.signatures)
            tf.saved_model.save(model_of.root, str(folder), model_of.signatures)
        if warmup_batches:
            warmup.write_requests(model_of.signatures, warmup_batches, folder)

    return _publish(path, version, write, keep)


def export_keras(model, path):
    """Saves an encoder as a `.keras` file, whole or not at all; what was there is replaced.

    Encoders of `sogclr_tf.resnet` are made of Keras's own layers: `keras.models.load_model` reads
    the file without this package.

    Args:
        model: as for `export_encoder`.
        path: of the file, `*.keras`; its folder is made where missing.

    Returns:
        pathlib.Path of the file.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: the encoder is not built, or the file's name is another.
    """
    encoder, path = _checked_encoder(model), pathlib.Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path is {path}: expected a name that ends in .keras.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        encoder.save(temporary)
    return path


def export_tflite(model, path, *, image_shape=None, quantise=True):
    """Converts an encoder to a TFLite file, whole or not at all; what was there is replaced.

    The file's signature `serving_default` takes `images` and returns `features`, as that of
    `export_encoder`, for any batch.

    Args:
        model: as for `export_encoder`.
        path: of the file; its folder is made where missing.
        image_shape: as for `export_encoder`.
        quantise: whether kernels are kept in 8 bits (dynamic-range quantisation), a quarter of the
            room; activations stay float32.

    Returns:
        pathlib.Path of the file.

    Raises:
        TypeError: `model` is no Keras model.
        ValueError: as for `export_encoder`.
    """
    encoder, path = _checked_encoder(model), pathlib.Path(path)
    served_model = served.ServedModel(encoder, _image_shape(encoder, image_shape))
    with tempfile.TemporaryDirectory() as folder:
        signature = served_model.plain_signature()
        tf.saved_model.save(served_model.root, folder, {"serving_default": signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        if quantise:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converted = converter.convert()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(converted)
    return path


def export_towers(model, path, *, version=None, image_shape=None, keep=None):
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
    text_encoder = _checked_encoder(model.text_encoder)
    shape = _image_shape(_checked_encoder(model.image_encoder), image_shape)
    folders = [path / "image", path / "text"]
    version = max(_free_version(folder, version, keep) for folder in folders)
    images = tf.TensorSpec((None, *shape), tf.float32, name="images")
    parts = [model.image_encoder, model.image_projector], [text_encoder, model.text_projector]
    if hasattr(text_encoder, "tokenise"):
        texts, embed = tf.TensorSpec((None,), tf.string, name="texts"), model.embed_texts
        parts[1].extend(filter(None, [getattr(text_encoder, "vectorization", None)]))
    else:
        tokens = (None, *text_encoder.input_shape[1:])
        texts, embed = tf.TensorSpec(tokens, tf.int32, name="tokens"), model.embed_tokens
    return tuple(
        _publish(folder, version, _embeddings(function, spec, tracked), keep)
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


def _publish(path, version, write, keep):
    """Writes `path/<version>/` by `write(folder)`, whole or not at all; its path."""
    path = pathlib.Path(path)
    target = path / str(_free_version(path, version, keep))
    path.mkdir(parents=True, exist_ok=True)
    for leftover in path.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=path) as temporary:
        # A folder inside, because the temporary one is closed to other users, TF Serving's too.
        written = pathlib.Path(temporary) / "model"
        write(written)
        os.rename(written, target)
    if keep is not None:
        _remove_old(path, keep)
    return target


def _remove_old(path, keep):
    """Removes all but the highest versions, each hidden first: a server never sees half of one."""
    versions = _versions(path)
    for number in sorted(versions)[:-keep]:
        hidden = path / f"{TEMPORARY_PREFIX}{number}"
        os.rename(versions[number], hidden)
        shutil.rmtree(hidden)


@contextlib.contextmanager
def _names_file(class_names):
    """The path of a text file with a name in each line; None without names."""
    if class_names is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "class_names.txt"
        path.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        yield path


def _head(model, head):
    """The layer that scores classes, if any."""
    if head is None:
        probe = getattr(model, "probe", None)
        return probe.head().layer() if probe is not None else None
    if not isinstance(head, keras.layers.Layer) or not head.built:
        raise ValueError(f"head is {head!r}: expected a built Keras layer from features to scores.")
    return head


def _check_names(class_names, head):
    if class_names is None:
        return
    if head is None:
        raise ValueError("class_names name the scores of a head, but there is none: pass head=.")
    lines = [name for name in class_names if "\n" in name or "\r" in name]
    if lines:
        raise ValueError(f"the class name {lines[0]!r} has a line break: leave it out.")


def _check_count(class_names, signatures):
    if class_names is None:
        return
    outputs = signatures["classify"].get_concrete_function().structured_outputs
    classes = outputs["probabilities"].shape[-1]
    if len(class_names) != classes:
        raise ValueError(
            f"{len(class_names)} class_names for a head of {classes} classes: give one for each."
        )


def _file_size(shape, image_size):
    """The side to which images of files are resized; None where they cannot be."""
    height, width, channels = shape
    if image_size is not None:
        if not all(side in (None, image_size) for side in (height, width)) or channels != 3:
            raise ValueError(
                f"image_size is {image_size}, but the encoder takes {shape}: leave it out."
            )
        return image_size
    return height if height == width and channels == 3 else None


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


def _versions(path):
    """{number: folder} of the versions that are there."""
    return {int(entry.name): entry for entry in path.glob("*") if entry.name.isdecimal()}


def _free_version(path, version, keep):
    existing = _versions(path)
    if keep is not None and keep < 1:
        raise ValueError(f"keep is {keep}: at least 1 version must be kept.")
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
    if keep is not None and sum(other > number for other in existing) >= keep:
        raise ValueError(
            f"version {number} is below the {keep} highest of {path}, which alone are kept: "
            "pass a higher version, or a larger keep."
        )
    return number
