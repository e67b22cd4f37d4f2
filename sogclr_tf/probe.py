"""A linear classifier that learns beside an encoder, from its features, and never changes it."""

import keras
import tensorflow as tf

from sogclr_tf import replica


@keras.saving.register_keras_serializable(package="sogclr_tf")
class OnlineProbe(keras.layers.Layer):
    """Multinomial logistic regression on the features of every training step.

        model = SogCLR(encoder, loss, probe=OnlineProbe(num_classes=10))

    Its step follows the encoder's, by Adam of its own, on features through which no gradient
    flows: the encoder trains as it would without. Features are L2-normalised and scaled by the root
    of their number, so that one learning rate suits every encoder. Called, it gives logits float32
    [B, num_classes] of features [B, C].

    Args:
        num_classes: labels lie in [0, num_classes).
        learning_rate: Adam's, > 0.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(self, num_classes, learning_rate=1e-3, name="online_probe", **kwargs):
        super().__init__(name=name, dtype="float32", autocast=False, **_without_dtype(kwargs))
        if num_classes != int(num_classes) or num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}: a probe needs a whole number >= 2")
        if not learning_rate > 0:
            raise ValueError(f"learning_rate of the probe is {learning_rate}: it must be > 0")
        self.num_classes = int(num_classes)
        self.learning_rate = float(learning_rate)
        self.accuracy = keras.metrics.Mean(name="probe_accuracy")
        self.optimizer = keras.optimizers.Adam(self.learning_rate)

    def build(self, input_shape):
        # Not trainable to the model, whose optimizer leaves these weights alone.
        self.kernel, self.bias = (
            self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)
            for name, shape in (
                ("kernel", (input_shape[-1], self.num_classes)),
                ("bias", (self.num_classes,)),
            )
        )
        self.optimizer.build([self.kernel, self.bias])
        self.built = True

    def call(self, features):
        return tf.matmul(_scaled(features), self.kernel) + self.bias

    def score(self, features, labels):
        """Adds this replica's share of a batch to `accuracy`; (logits, which labels are known).

        Args:
            features: float [b, C], raw.
            labels: int [b]; examples of a negative label are left out.
        """
        known = tf.cast(labels >= 0, tf.float32)
        logits = self(features)
        correct = tf.equal(tf.argmax(logits, axis=1, output_type=labels.dtype), labels)
        self.accuracy.update_state(tf.cast(correct, tf.float32), sample_weight=known)
        return logits, known

    def learn(self, features, labels):
        """One step; `accuracy` takes in how it did before. Arguments as for `score`."""
        features = tf.stop_gradient(tf.cast(features, tf.float32))
        logits, known = self.score(features, labels)
        # The gradient of the mean cross-entropy over the global batch, of which the optimizer adds
        # up the replicas' shares; written out, as a tape would cost more than the step.
        total = replica.mean(known) * tf.cast(tf.size(known) * replica.count(), tf.float32)
        excess = tf.nn.softmax(logits) - tf.one_hot(labels, self.num_classes)
        excess *= (known / tf.maximum(total, 1.0))[:, tf.newaxis]
        gradients = tf.matmul(_scaled(features), excess, transpose_a=True), tf.reduce_sum(excess, 0)
        self.optimizer.apply_gradients(zip(gradients, (self.kernel, self.bias), strict=True))

    def get_config(self):
        config = _without_dtype(super().get_config())
        return {**config, "num_classes": self.num_classes, "learning_rate": self.learning_rate}


def _scaled(features):
    features = tf.cast(features, tf.float32)
    normalised = tf.math.l2_normalize(features, axis=-1, epsilon=1e-24)
    return normalised * tf.sqrt(tf.cast(tf.shape(features)[-1], tf.float32))


def _without_dtype(config):
    return {name: value for name, value in config.items() if name != "dtype"}
