"""What happens beside training: stopping at a broken loss, measuring the pace, saving."""

import math
import time

import keras
import numpy as np


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Raises FloatingPointError after the first step whose loss is NaN or infinite.

    The running mean of an epoch keeps a NaN, so it is named at the step that made it.
    """

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        # Across workers Keras hands over an array of one loss.
        loss = float(np.mean((logs or {}).get("loss", 0.0)))
        if not math.isfinite(loss):
            step = self.model.trained_steps
            raise FloatingPointError(
                f"the loss is {loss} at step {step}: training stopped. Lower the learning rate or "
                "raise the temperature; an index outside the table reads NaN too"
            )


class Pace(keras.callbacks.Callback):
    """Adds examples_per_second and learning_rate to the logs of each epoch.

    Args:
        batch_size: examples of a step, over all replicas.
    """

    def __init__(self, batch_size):
        super().__init__()
        self._batch_size = batch_size

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
        self._started = time.perf_counter()
        self._first_step = self.model.trained_steps

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        steps = self.model.trained_steps - self._first_step
        seconds = time.perf_counter() - self._started
        logs["examples_per_second"] = steps * self._batch_size / seconds
        rate = self.model.optimizer.learning_rate
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(rate))


class SaveCheckpoints(keras.callbacks.Callback):
    """Saves every so many epochs, and at the end of training.

    Args:
        checkpoints: `sogclr_tf.checkpoint.Checkpoints`.
        every_epochs: at least 1.
    """

    def __init__(self, checkpoints, every_epochs=1):
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"every_epochs is {every_epochs}: save every 1 epoch or more")
        self._checkpoints = checkpoints
        self._every = every_epochs

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        last = epoch + 1 == self.params["epochs"]
        if last or (epoch + 1) % self._every == 0:
            self._checkpoints.save()
