"""The Keras model that learns an encoder by contrasting views."""

import contextlib

import keras
import tensorflow as tf

from sogclr_tf import augment, contract, replica
from sogclr_tf.callbacks import StopAtNonFiniteLoss
from sogclr_tf.data import Views
from sogclr_tf.objectives import ContrastiveLoss
from sogclr_tf.projector import projection_head


@keras.saving.register_keras_serializable(package="sogclr_tf")
class SogCLR(keras.Model):
    """An encoder, a projector and a contrastive objective, trained by `fit`.

        model = SogCLR(encoder, GlobalContrastiveLoss(num_examples=50_000))
        model.compile(optimizer=keras.optimizers.Adam(1e-3))
        model.fit(sogclr_tf.training_views(images, batch_size=64), epochs=100)

    Calling the model gives the encoder's features; the projector serves training alone. The
    objective's table is one of the model's weights, so `save_weights`, `tf.train.Checkpoint` and
    `.keras` files keep it. Under a `tf.distribute` strategy, build the model in its scope.

    Args:
        encoder: any Keras model from images [B, H, W, 3] in 0..1 to features [B, C].
        loss: an objective, such as `GlobalContrastiveLoss` or `NTXentLoss`.
        projector: a Keras layer or model from features [B, C] to projections [B, D]; None for
            `projection_head(C)`, SimCLR's two layers to 128.

    Raises:
        TypeError: `loss` is no objective of this package.
        ValueError: the encoder's output is not [B, C].
    """

    def __init__(self, encoder, loss, projector=None, name="sogclr", **kwargs):
        super().__init__(name=name, **kwargs)
        if not isinstance(loss, ContrastiveLoss):
            raise TypeError(
                f"loss is {loss!r}: expected an objective such as "
                "sogclr_tf.GlobalContrastiveLoss(num_examples=len(images))"
            )
        self.encoder = encoder
        # Not `loss`, which is what Keras's compile() sets.
        self.objective = loss
        self.projector = projector
        self._loss_mean = keras.metrics.Mean(name="loss")
        self._accuracy_mean = keras.metrics.Mean(name="contrast_accuracy")
        # Not the optimizer's count, which passes over steps whose float16 gradients overflow: this
        # one says which batch comes next.
        self._trained_steps = self.add_weight(
            name="trained_steps",
            shape=(),
            dtype="int64",
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )
        if encoder.built and hasattr(encoder, "input_shape"):
            self.build(encoder.input_shape)

    def build(self, input_shape):
        """Makes all weights, for images of `input_shape` (batch, height, width, channels)."""
        features = self.encoder(keras.KerasTensor(tuple(input_shape))).shape
        if len(features) != 2 or features[-1] is None:
            raise ValueError(
                f"the encoder's output has shape {features}: expected features [B, C], so end it "
                "with a pooling or Flatten layer"
            )
        if self.projector is None:
            self.projector = projection_head(features[-1])
        elif not self.projector.built:
            self.projector.build(features)
        self.built = True

    @property
    def metrics(self):
        return [self._loss_mean, self._accuracy_mean]

    @property
    def trained_steps(self):
        """Training steps so far, an int: batches of the stream that are behind."""
        return int(keras.ops.convert_to_numpy(self._trained_steps))

    def call(self, images, training=False):
        """Features float32 [B, C] of images uint8, or float in 0..1, [B, H, W, 3]."""
        return self.encoder(augment.as_float(images), training=training)

    def project(self, images, training=False):
        """Projections [B, D] of images: what the objective compares, before normalisation."""
        return self.projector(self(images, training=training), training=training)

    def fit(self, x=None, y=None, *, initial_step=None, **kwargs):
        """Keras's `fit` on a training stream, checked before the first step.

        Args:
            x: `sogclr_tf.training_views(...)`, or a tf.data.Dataset or a dictionary of arrays that
                follows the contract of `sogclr_tf.data`. `Views` bring their own steps per epoch,
                each epoch in a new order; `initial_epoch` starts them there.
            y: none; contrastive learning has no targets.
            initial_step: steps of training that are behind, in place of `initial_epoch`, such as
                `Checkpoints.restore()` returns. `Views` go on at the very next batch; the epoch
                that it falls into shows the steps it had, and ends with the means of all of them.
            **kwargs: as for `keras.Model.fit`; `validation_data` is of the same kinds as x.
                Training stops with FloatingPointError at a loss that is not finite.

        Raises:
            ValueError: x does not follow the contract, or does not fit the model or its strategy;
                `steps_per_execution` does not divide an epoch, or is above 1 where it cannot be.
        """
        if y is not None:
            raise ValueError("y was given: contrastive learning has no targets, pass views alone")
        contract.check_stream(x, self.objective, self.distribute_strategy)
        contract.check_initial_step(initial_step, x, kwargs)
        first_step = taken = 0
        if isinstance(x, Views):
            steps = kwargs.setdefault("steps_per_epoch", x.steps_per_epoch)
            first_step = initial_step or kwargs.get("initial_epoch", 0) * steps
            kwargs["initial_epoch"], taken = divmod(first_step, steps)
        contract.check_execution(
            kwargs.get("steps_per_epoch"), taken, self.steps_per_execution, self.distribute_strategy
        )
        if isinstance(kwargs.get("validation_data"), Views):
            kwargs["validation_data"] = kwargs["validation_data"].epoch(0)
        x = self._prepare(x, first_step)
        callbacks = kwargs.pop("callbacks", None) or []
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            # First, so that nothing is saved after the step that spoilt the weights.
            callbacks = [StopAtNonFiniteLoss(), *_as_list(callbacks)]
        # Shuffling is the stream's; Keras warns if left to try.
        with contract.clear_errors(), self._passing_over(taken):
            return super().fit(x, callbacks=callbacks, **{"shuffle": False, **kwargs})

    def _prepare(self, x, first_step):
        """What Keras is to iterate over: guarded, and a share of it on every host."""
        stream = x.stream(first_step) if isinstance(x, Views) else x
        if not isinstance(stream, tf.data.Dataset):
            self._build_from(stream["view_a"].shape)
            return stream
        contract.check_encoder(stream.element_spec, self.encoder)
        self._build_from(contract.unpack(stream.element_spec)["view_a"].shape)
        strategy = self.distribute_strategy
        if isinstance(x, Views) and strategy.num_replicas_in_sync > 1:
            return strategy.distribute_datasets_from_function(
                lambda context: contract.guard_indices(
                    x.stream(first_step, context), self.objective
                )
            )
        return contract.guard_indices(stream, self.objective)

    @contextlib.contextmanager
    def _passing_over(self, taken):
        """Lets Keras's first epoch count `taken` steps that a restored model has behind it.

        Keras begins every epoch at its first step, with the running means at zero. Its step is
        replaced for so long as it would take those steps again; the means are as restored.
        """
        if not taken:
            yield
            return
        self.make_train_function()
        train_function = self.train_function
        variables = self.metrics_variables
        means = [keras.ops.convert_to_numpy(variable) for variable in variables]
        passed = 0

        def pass_over(_iterator):
            nonlocal passed
            if not passed:
                for variable, mean in zip(variables, means, strict=True):
                    variable.assign(mean)
            passed += self.steps_per_execution
            if passed >= taken:
                self.train_function = train_function
            return {}

        self.train_function = pass_over
        try:
            yield
        finally:
            self.train_function = train_function

    def evaluate(self, x=None, y=None, **kwargs):
        """Loss and contrast accuracy on a stream, in inference mode; the table is left alone.

        Every example counts as seen for the first time, as for images held out of training.
        """
        contract.check_stream(x, None, self.distribute_strategy)
        if isinstance(x, Views):
            x = x.epoch(0)
        return super().evaluate(x, y, **kwargs)

    def train_step(self, data):
        batch = contract.unpack(data)
        with tf.GradientTape() as tape:
            loss, metrics = self._contrast(batch, training=True)
            total = self.optimizer.scale_loss(loss + self._penalty())
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(total, weights), weights, strict=True))
        self._trained_steps.assign_add(1)
        return self._log(loss, metrics)

    def test_step(self, data):
        return self._log(*self._contrast(contract.unpack(data), training=False))

    def _contrast(self, batch, training):
        images = tf.concat([batch["view_a"], batch["view_b"]], axis=0)
        a, b = tf.split(self.project(images, training=training), 2)
        return self.objective.loss_and_metrics(a, b, batch["index"], training=training)

    def _penalty(self):
        """The encoder's own regularisation losses; this replica's share of them."""
        return tf.add_n(self.losses) / replica.count() if self.losses else 0.0

    def _log(self, loss, metrics):
        self._loss_mean.update_state(loss)
        self._accuracy_mean.update_state(metrics["contrast_accuracy"])
        logs = self.get_metrics_result()
        if replica.across_workers():
            # Keras averages the logs of several workers over their first axis, so they need one.
            return {name: tf.reshape(value, [1]) for name, value in logs.items()}
        return logs

    def _build_from(self, shape):
        if not self.built:
            self.build(shape)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):  # noqa: ARG002
        """Replaces Keras's trial call, which calls the model on a batch as if it were images.

        All weights exist by now; the optimizer's must be made outside the replicas' step.
        """
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def get_config(self):
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "loss": keras.saving.serialize_keras_object(self.objective),
            "projector": keras.saving.serialize_keras_object(self.projector),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "loss", "projector")
        }
        return cls(**{**config, **parts})


def _as_list(callbacks):
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
