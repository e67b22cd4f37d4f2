"""Encoders read back: from a checkpoint, from a SavedModel, or from a .keras file."""

import contextlib
import os
import pathlib
import re

import keras
import tensorflow as tf

from sogclr_tf.error_line import first_line
from sogclr_tf.export import checkpoint_graph

# What a .keras file may hold: Keras finds these classes by name once they are defined.
from sogclr_tf.models import sogclr, two_tower  # noqa: F401
from sogclr_tf.models.unit_range import expects_255, in_unit_range
from sogclr_tf.networks import text_encoder  # noqa: F401

# Where the models of this package keep the encoder of images.
_ATTRIBUTES = ("encoder", "image_encoder")


def load_encoder(
    path: str | os.PathLike, encoder: keras.Model | None = None
) -> "keras.Model | ServedEncoder":
    """The encoder that a run trained, an export wrote or Keras saved.

    Args:
        path: on a local or mounted disk, str or pathlib.Path, one of
            a run folder with `checkpoints/` inside, a folder of `step-N.index` files, whose newest
            counts, or the prefix of one, `.../step-123`;
            a SavedModel of `export_encoder`, `.../saved_model/540`, or the folder of versions,
            whose newest counts;
            a `.keras` file of an encoder, or of a model that has one as `.encoder` or
            `.image_encoder`.
        encoder: for a checkpoint, which holds values alone: a built Keras model of the layers that
            it was made with. Its weights are replaced, by their averages where the optimizer kept
            some (`use_ema`). Not looked at otherwise. Of a model with
            `encoder_range=255` it is the one that the model was given; what is returned has the
            multiplication before it.

    Returns:
        A Keras model, which can be trained, or of a SavedModel a `ServedEncoder`, which cannot.
        Both are called as `encoder(images, training=False)`, float32 [B, H, W, C] in 0..1, and
        give features [B, C].

    Raises:
        ValueError: there is nothing of these kinds, it cannot be read, or does not fit `encoder`.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> path = sogclr_tf.export_encoder(encoder, "my_encoder")
        >>> again = sogclr_tf.load_encoder("my_encoder")  # its highest version
        >>> images = np.random.default_rng(0).integers(0, 256, [4, 16, 16, 3], np.uint8)
        >>> features = [sogclr_tf.extract_features(each, images) for each in (encoder, again)]
        >>> np.allclose(*features, atol=1e-4)
        True
    """
    path = pathlib.Path(path).expanduser()
    if path.suffix == ".keras" and path.is_file():
        return _from_keras_file(path)
    checkpoint = _newest_checkpoint(path)
    if checkpoint is not None:
        return _from_checkpoint(checkpoint, encoder)
    saved_model = _newest_saved_model(path)
    if saved_model is not None:
        return ServedEncoder(saved_model)
    found = "holds no encoder" if path.exists() else "does not exist"
    raise ValueError(
        f"{path} {found}: expected a run folder, a folder of step-N.index files or the "
        "prefix of one (.../step-N), a SavedModel or the folder of its versions, or a .keras file, "
        "which tools/import_weights.py makes of weights of other libraries"
    )


class ServedEncoder:
    """An exported encoder, called as a Keras model is; its weights cannot be trained.

    Attributes:
        path: pathlib.Path of its version folder.
        input_shape: (None, H, W, C), as of a Keras model; H and W may be None.

    Raises:
        ValueError: the folder cannot be read, or its endpoint is not one of `export_encoder`.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        try:
            # Kept, because the endpoint's variables live as long as this.
            self._model = tf.saved_model.load(str(path))
        except (tf.errors.OpError, OSError, ValueError, IndexError) as error:
            raise ValueError(
                f"{path} cannot be read ({first_line(error)}): export it again"
            ) from error
        self._serve = self._model.signatures.get("serving_default")
        inputs = self._serve.structured_input_signature[1] if self._serve else {}
        outputs = self._serve.structured_outputs if self._serve else {}
        if list(inputs) != ["images"] or "features" not in outputs:
            raise ValueError(
                f"{path} maps {', '.join(inputs) or 'nothing'} to {', '.join(outputs) or 'nothing'}"
                ": expected images to features, as sogclr_tf.export_encoder writes it"
            )
        self.input_shape = tuple(inputs["images"].shape)

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Features float32 [B, C] of images, float in 0..1, [B, H, W, C].

        Raises:
            ValueError: images of another size, or `training` is True.
        """
        if training:
            raise ValueError(f"{self} cannot be trained: load its checkpoint or .keras file")
        if not tf.TensorShape(self.input_shape).is_compatible_with(images.shape):
            raise ValueError(
                f"images are {tuple(images.shape)}, but {self} takes {self.input_shape}: resize "
                "them, or export the encoder for that size"
            )
        return self._serve(images=tf.cast(images, tf.float32))["features"]

    @property
    def variables(self) -> list[tf.Variable]:
        """Those of the encoder, which is not all there are: first the trainable ones."""
        own = {id(variable) for variable in self._serve.variables}
        return [variable for variable in self._model.variables if id(variable) in own]

    @property
    def compute_dtypes(self) -> set[str]:
        """The names of the dtypes that its convolutions, products and the like compute in."""
        library = self._serve.graph.as_graph_def().library
        nodes = [node for function in library.function for node in function.node_def]
        # A variable that is stored in another dtype is read and passed on in that one.
        types = {node.attr["T"].type for node in nodes if node.op != "Identity"} - {0}
        return {tf.as_dtype(number).name for number in types}

    def __repr__(self) -> str:
        return f"the SavedModel {self.path}"


def is_checkpoint(path: str | os.PathLike) -> bool:
    """Whether `load_encoder` reads a path as a checkpoint, and so needs an encoder to fill."""
    path = pathlib.Path(path).expanduser()
    is_keras_file = path.suffix == ".keras" and path.is_file()
    return not is_keras_file and _newest_checkpoint(path) is not None


def _from_keras_file(path):
    try:
        loaded = keras.models.load_model(path, compile=False)
    # Keras raises what its own reading, zip or h5py do.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read ({first_line(error)}): save the model again, and import what "
            "defines its classes first"
        ) from error
    for name in _ATTRIBUTES:
        loaded = getattr(loaded, name, loaded)
    return loaded


def _newest_checkpoint(path):
    """The prefix of a checkpoint, a str, or None."""
    if pathlib.Path(f"{path}.index").is_file():
        return str(path)
    for folder in (path / "checkpoints", path):
        names = (re.fullmatch(r"step-(\d+)\.index", file.name) for file in folder.glob("step-*"))
        steps = [int(name[1]) for name in names if name]
        if steps:
            return str(folder / f"step-{max(steps)}")
    return None


def _newest_saved_model(path):
    """The folder of a SavedModel, or None."""
    if (path / "saved_model.pb").is_file():
        return path
    versions = [file.parent for file in path.glob("*/saved_model.pb")]
    versions = [folder for folder in versions if folder.name.isdecimal()]
    return max(versions, key=lambda folder: int(folder.name), default=None)


def _from_checkpoint(prefix, encoder):
    if encoder is None or not getattr(encoder, "built", False):
        raise ValueError(
            f"{prefix} is a checkpoint, which holds values alone: pass the encoder, built, of the "
            "config it was made with"
        )
    try:
        reader = tf.train.load_checkpoint(prefix)
        attribute, encoder = _fitting(prefix, reader, encoder)
        parts = tf.train.Checkpoint(**{attribute: encoder})
        restored = tf.train.Checkpoint(model=parts).restore(prefix)
        restored.assert_existing_objects_matched().expect_partial()
        _assign_averages(reader, attribute, encoder)
    # What a truncated file shows as.
    except (tf.errors.OpError, IndexError) as error:
        raise ValueError(
            f"{prefix} cannot be read ({first_line(error)}): choose another checkpoint"
        ) from error
    return encoder


def _fitting(prefix, reader, encoder):
    """(the attribute of the model that the encoder was, the encoder that takes 0..1).

    Raises:
        ValueError: the checkpoint's is another.
    """
    if expects_255(encoder):
        scaled = in_unit_range(encoder, 255)
        # It fits unless the model was trained with encoder_range=1.
        with contextlib.suppress(ValueError):
            return _check_fit(prefix, reader, scaled), scaled
    return _check_fit(prefix, reader, encoder), encoder


def _check_fit(prefix, reader, encoder):
    """The attribute of the model that a checkpoint's encoder was, if it fits.

    Raises:
        ValueError: it does not fit; the message names the first variable.
    """
    nodes = checkpoint_graph.nodes_of(reader)
    parts = checkpoint_graph.parts_of_model(nodes)
    attribute = next((name for name in _ATTRIBUTES if name in parts), None)
    if attribute is None:
        raise ValueError(f"{prefix} holds no encoder: expected a checkpoint of sogclr_tf")
    pairs = _pairs(nodes, parts[attribute], encoder)
    shapes = reader.get_variable_to_shape_map()
    for variable, node in pairs:
        found = checkpoint_graph.stored(nodes, node)
        shape = found and tuple(shapes[found.checkpoint_key])
        if shape != tuple(variable.shape):
            raise _misfit(
                prefix,
                f"{variable.path} is {tuple(variable.shape)} in the encoder, "
                f"{shape or 'missing'} in the checkpoint",
            )
    matched = {node for _, node in pairs}
    for node in checkpoint_graph.below(nodes, parts[attribute]) - matched:
        found = checkpoint_graph.stored(nodes, node)
        if found:
            shape = tuple(shapes[found.checkpoint_key])
            raise _misfit(
                prefix, f"{found.full_name} is missing in the encoder, {shape} in the checkpoint"
            )
    return attribute


def _assign_averages(reader, attribute, encoder):
    """Gives an encoder the averages that its optimizer kept of the weights, where it kept some."""
    nodes = checkpoint_graph.nodes_of(reader)
    averages = checkpoint_graph.averages(nodes, reader)
    if not averages:
        return
    for variable, node in _pairs(nodes, checkpoint_graph.parts_of_model(nodes)[attribute], encoder):
        if node in averages:
            average = checkpoint_graph.stored(nodes, averages[node])
            variable.assign(reader.get_tensor(average.checkpoint_key))


def _misfit(prefix, what):
    return ValueError(
        f"{prefix} does not fit the encoder ({what}): give the config it was made with"
    )


def _pairs(nodes, node, encoder):
    """[(variable, number of its node in the checkpoint or None)] of all below an encoder.

    By the names of attributes, as TensorFlow restores, whatever layers are called.
    """
    view = tf.train.TrackableView(encoder)
    pairs, seen, waiting = [], set(), [(encoder, node)]
    while waiting:
        part, node = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, keras.Variable):
            pairs.append((part, node))
        stored = checkpoint_graph.children(nodes, node)
        children = [(child, stored.get(name)) for name, child in view.children(part).items()]
        waiting.extend(reversed(children))
    return pairs
