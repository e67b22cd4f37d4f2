"""What an exported encoder answers: its signatures, over a copy of its weights.

| signature | takes | returns |
|---|---|---|
| `serving_default` | `images`, float32 [B, H, W, C] in 0..1 | `features`, float32 [B, D] |
| `serving_bytes` | `image_bytes`, string [B], image files | `features`, float32 [B, D] |
| `projections` | `images` | `projections`, float32 [B, P], not normalized |
| `classify` | `images` | `probabilities`, float32 [B, K] |
| `classify_bytes` | `image_bytes` | `probabilities`, float32 [B, K] |

Images and files are checked in the graph: an empty batch, images of another shape and a file that
`sogclr_tf.data.files.decoding` refuses raise tf.errors.InvalidArgumentError, which a server sends
back. An image tower returns `embeddings` in place of `features`.
"""

import inspect
import os
from collections.abc import Sequence

import keras
import tensorflow as tf

from sogclr_tf.data import pixel_range
from sogclr_tf.data.evaluation_images import evaluation_image
from sogclr_tf.data.files import decoding
from sogclr_tf.data.pixel_format import PixelFormat
from sogclr_tf.data.view_size import Size, height_and_width
from sogclr_tf.models.keras_hooks import one_replica

WEIGHTS = ("float32", "bfloat16", "float16")


class ServedModel:
    """The object to write as a SavedModel, and its signatures.

    Args:
        encoder: built Keras layer, images -> features.
        image_shape: (H, W, C); H and W may be None.
        output: what the features are called.
        projector: built Keras layer, features -> projections; None for none.
        head: built Keras layer, features -> scores float [B, K]; None for none.
        names_file: path of a text file with the K names of the classes, which is copied into
            the SavedModel's assets; None for none.
        weights: dtype in which kernels are kept, one of `WEIGHTS`; whatever has one dimension
            alone, as biases and batch statistics, stays float32.
        image_size: of what a file's image becomes, as in evaluation: the side of a square, or
            (height, width); None leaves the signatures of files out.
        max_pixels: height * width above which a file's image is refused.
        pixel_format: of a file's image, with 3 channels or 1; by default 8 bits.

    Attributes:
        root: for `tf.saved_model.save`. Loaded it is called as `loaded(images, training=False)`,
            whose variables to train are `trainable_variables`, those of the encoder; `variables`
            are all, projector and head among them. For `keras.layers.TFSMLayer` it has the
            endpoint `train`, which is `serving_default` in training mode.
        signatures: {name: tf.function}.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        image_shape: Sequence[int | None],
        *,
        output: str = "features",
        projector: keras.layers.Layer | None = None,
        head: keras.layers.Layer | None = None,
        names_file: str | os.PathLike | None = None,
        weights: str = "float32",
        image_size: Size | None = None,
        max_pixels: int = decoding.MAX_PIXELS,
        pixel_format: PixelFormat | None = None,
    ) -> None:
        self._pixel_format = pixel_format or PixelFormat(image_shape[-1] or 3)
        self._shape, self._max_pixels = tuple(image_shape), max_pixels
        self._size = None if image_size is None else height_and_width(image_size, "image_size")
        self._weights, self._output = weights, output
        self._encoder = _Stored(encoder, weights)
        self._parts = [self._encoder]
        self.signatures: dict[str, tf.types.experimental.PolymorphicFunction] = {}
        self._answer(output, "serving_default", "serving_bytes")
        if projector is not None:
            self._answer("projections", "projections", None, projector)
        if head is not None:
            self._answer("probabilities", "classify", "classify_bytes", head)
        self.root = self._root()
        if names_file is not None:
            self.root.class_names = tf.saved_model.Asset(str(names_file))

    def _answer(self, output, of_images, of_files, layer=None):
        """Adds the signatures that return `output`: one of images and, where wanted, of files."""
        part = None
        if layer is not None:
            part = _Stored(layer, self._weights)
            self._parts.append(part)

        def answer(images):
            values = self._features(images)
            if part is not None:
                values = tf.cast(part(values), tf.float32)
            return {output: tf.nn.softmax(values) if output == "probabilities" else values}

        self.signatures[of_images] = tf.function(
            lambda images: answer(self._checked(images)), input_signature=[self._images_spec]
        )
        if of_files and self._size is not None:
            files = tf.TensorSpec((None,), tf.string, name="image_bytes")
            self.signatures[of_files] = tf.function(
                lambda image_bytes: answer(self._decoded(image_bytes)), input_signature=[files]
            )

    def plain_signature(self) -> tf.types.experimental.PolymorphicFunction:
        """`serving_default` without its checks, which not every runtime has."""
        return tf.function(
            lambda images: {self._output: self._features(images)},
            input_signature=[self._images_spec],
        )

    @property
    def _images_spec(self):
        return tf.TensorSpec((None, *self._shape), tf.float32, name="images")

    def _root(self):
        root = tf.train.Checkpoint()
        # Not those of projector and head, which no gradient of the features reaches.
        root.trainable_variables = list(self._encoder.trainable)
        root.variables = [v for part in self._parts for v in part.trainable + part.others]

        @tf.function
        def call(images, training=False):
            return self._features(images, training)

        def train(images):
            return {self._output: self._features(images, training=True)}

        for training in (False, True):
            call.get_concrete_function(self._images_spec, training=training)
        root.__call__ = call
        root.train = tf.function(train, input_signature=[self._images_spec])
        return root

    def _features(self, images, training=False):
        return tf.cast(self._encoder(images, training), tf.float32)

    def _checked(self, images):
        images = tf.ensure_shape(images, (None, *self._shape))
        return _not_empty(images)

    def _decoded(self, files):
        """Images as an evaluation sees them: float32 [B, height, width, C] in 0..1."""
        stated = self._pixel_format

        def reduced_to(file, box, ratio):
            found = decoding.decode_reduced(file, box, ratio, self._max_pixels, stated)
            if stated.value_range:
                found = found._replace(pixels=_within(found.pixels, stated.value_range))
            return found

        def image(file):
            return evaluation_image(file, self._size, decoding.shape, reduced_to)

        shape = (*self._size, stated.channels)
        return tf.map_fn(
            image, _not_empty(files), fn_output_signature=tf.TensorSpec(shape, tf.float32)
        )


def _within(pixels, value_range):
    check = tf.debugging.Assert(
        pixel_range.is_inside(pixels, value_range),
        [f"an image has values outside value_range {value_range}"],
    )
    with tf.control_dependencies([check]):
        return tf.identity(pixels)


def _not_empty(batch):
    check = tf.debugging.Assert(
        tf.shape(batch)[0] > 0, ["the batch is empty: send at least one image"]
    )
    with tf.control_dependencies([check]):
        return tf.identity(batch)


class _Stored:
    """A Keras layer that computes with a copy of its weights.

    Variables of their own can have another dtype, and belong to no distribution strategy.
    """

    def __init__(self, layer, dtype):
        self._layer = layer
        self.trainable = [_copied(v, dtype, True) for v in layer.trainable_variables]
        self.others = [_copied(v, dtype, False) for v in layer.non_trainable_variables]

    def __call__(self, inputs, training=False):
        layer = self._layer
        trainable = _cast(self.trainable, layer.trainable_variables)
        others = _cast(self.others, layer.non_trainable_variables)
        takes = "training" in inspect.signature(layer.call).parameters
        mode = {"training": training} if takes else {}
        with one_replica(layer):
            outputs, updated = layer.stateless_call(trainable, others, inputs, **mode)
        if training:
            for stored, value in zip(self.others, updated, strict=True):
                stored.assign(tf.cast(value, stored.dtype))
        return outputs


def _copied(variable, dtype, trainable):
    value = tf.convert_to_tensor(keras.ops.convert_to_numpy(variable))
    if value.dtype.is_floating and value.shape.rank > 1:
        value = tf.cast(value, dtype)
    return tf.Variable(value, trainable=trainable, name=variable.path.replace("/", "_"))


def _cast(stored, variables):
    return [tf.cast(s, v.dtype) for s, v in zip(stored, variables, strict=True)]
