"""A linear classifier that learns beside an encoder, from its features, and never changes it."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.losses import replica
from sogclr_tf.models.linear_probe import LinearProbe

# The average that classifies reaches back so many steps, or a tenth of all where those are fewer.
_MEMORY = 1000.0


@keras.saving.register_keras_serializable(package="sogclr_tf")
class OnlineProbe(keras.layers.Layer):
    """Multinomial logistic regression on the features of every training step.

        model = SogCLR(encoder, loss, probe=OnlineProbe(num_classes=10))

    Its step follows the encoder's, by Adam of its own, on features through which no gradient
    flows: the encoder trains as it would without. Features are standardized by the statistics of
    the global batch, so that one learning rate suits every encoder. A moving average of the weights
    classifies, which takes the noise of the steps away: called, the probe gives its logits float32
    [B, num_classes] of features [B, C], standardized as in training on the average. Where the
    optimizer of the model averages the encoder's weights (`use_ema`), it learns from features of
    the averaged encoder, in inference mode, at the cost of one more forward pass.

    Args:
        num_classes: labels lie in [0, num_classes).
        learning_rate: Adam's, > 0.
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> probe = sogclr_tf.OnlineProbe(num_classes=10)
        >>> model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss(), probe=probe)
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> images = np.random.default_rng(0).integers(0, 256, [64, 8, 8, 3], np.uint8)
        >>> source = sogclr_tf.ArraySource(images, labels=np.arange(64) % 10)
        >>> views = sogclr_tf.training_views(source, batch_size=32)
        >>> history = model.fit(views, epochs=1, verbose=0).history
        >>> 0 <= history["probe_accuracy"][0] <= 1
        True
    """

    def __init__(
        self,
        num_classes: int,
        learning_rate: float = 1e-3,
        name: str = "online_probe",
        **kwargs: Any,
    ) -> None:
        kwargs.pop("dtype", None)
        super().__init__(name=name, dtype="float32", autocast=False, **kwargs)
        if num_classes != int(num_classes) or num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}: a probe needs a whole number >= 2")
        if not learning_rate > 0:
            raise ValueError(f"learning_rate of the probe is {learning_rate}: it must be > 0")
        self.num_classes = int(num_classes)
        self.learning_rate = float(learning_rate)
        self.accuracy = keras.metrics.Mean(name="probe_accuracy")
        self.optimizer = keras.optimizers.Adam(self.learning_rate)
        self.standardize = keras.layers.BatchNormalization(
            center=False, scale=False, synchronized=True, dtype="float32", name="standardize"
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.standardize.build((None, input_shape[-1]))
        shapes = {"kernel": (input_shape[-1], self.num_classes), "bias": (self.num_classes,)}
        self.kernel, self.bias = (self._weight(name, shape) for name, shape in shapes.items())
        self.mean_kernel, self.mean_bias = (
            self._weight(f"mean_{name}", shape) for name, shape in shapes.items()
        )
        self.optimizer.build([self.kernel, self.bias])
        self.built = True

    def _weight(self, name: str, shape: tuple[int | None, ...]) -> keras.Variable:
        # Not trainable to the model, whose optimizer leaves these weights alone.
        return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)

    def call(self, features: tf.Tensor) -> tf.Tensor:
        return self._logits(self.standardize(tf.cast(features, tf.float32), training=False))

    def classify(
        self, features: tf.Tensor | np.ndarray, population: tf.Tensor | np.ndarray
    ) -> tf.Tensor:
        """The class of each image: int64 [M].

        Whole images lie otherwise than the views of training, by which the probe's own statistics
        were made: they are standardized by those of their own kind.

        Args:
            features: float [M, C] of the images.
            population: float [N, C] of other images that were shown to the encoder likewise.
        """
        mean, variance = tf.nn.moments(tf.cast(population, tf.float32), axes=[0])
        deviation = tf.sqrt(variance + self.standardize.epsilon)
        return tf.argmax(self._logits((features - mean) / deviation), axis=1)

    def linear_probe(self) -> LinearProbe:
        """What it has learned, as a `LinearProbe`: the logits of its call."""
        variance = keras.ops.convert_to_numpy(self.standardize.moving_variance)
        return LinearProbe.from_standardized(
            keras.ops.convert_to_numpy(self.standardize.moving_mean),
            np.sqrt(variance + self.standardize.epsilon),
            *(keras.ops.convert_to_numpy(x) for x in (self.mean_kernel, self.mean_bias)),
        )

    def score(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        """Adds how this replica's share of a batch is classified to `accuracy`.

        Args:
            features: float [b, C], raw.
            labels: int [b]; examples of a negative label are left out.
        """
        self._count(self(features), labels)

    def learn(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        """One step; `accuracy` takes in how it did before. Arguments as for `score`."""
        features = tf.stop_gradient(tf.cast(features, tf.float32))
        features = self.standardize(features, training=True)
        known = self._count(self._logits(features), labels)
        # The gradient of the mean cross-entropy over the global batch, of which the optimizer adds
        # up the replicas' shares; written out, as a tape would cost more than the step.
        total = replica.mean(known) * tf.cast(tf.size(known) * replica.count(), tf.float32)
        probabilities = tf.nn.softmax(tf.matmul(features, self.kernel) + self.bias)
        excess = probabilities - tf.one_hot(labels, self.num_classes)
        excess *= (known / tf.maximum(total, 1.0))[:, tf.newaxis]
        gradients = tf.matmul(features, excess, transpose_a=True), tf.reduce_sum(excess, axis=0)
        self.optimizer.apply_gradients(zip(gradients, (self.kernel, self.bias), strict=True))
        self._average()

    def _logits(self, standardized: tf.Tensor) -> tf.Tensor:
        return tf.matmul(standardized, self.mean_kernel) + self.mean_bias

    def _count(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Updates `accuracy`; 1 for each example with a label and 0 for others, float32 [b]."""
        known = tf.cast(labels >= 0, tf.float32)
        correct = tf.equal(tf.argmax(logits, axis=1, output_type=labels.dtype), labels)
        self.accuracy.update_state(tf.cast(correct, tf.float32), sample_weight=known)
        return known

    def _average(self) -> None:
        steps = tf.cast(self.optimizer.iterations.value, tf.float32)
        share = tf.maximum(1.0 / _MEMORY, 1.0 / (1.0 + steps / 10.0))
        for mean, weight in ((self.mean_kernel, self.kernel), (self.mean_bias, self.bias)):
            mean.assign_add(share * (weight - mean))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, "num_classes": self.num_classes, "learning_rate": self.learning_rate}
