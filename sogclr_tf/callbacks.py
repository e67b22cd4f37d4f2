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
    """Saves every so many epochs or steps, and at the end of training.

    Put it last among the callbacks: the last step of an epoch is saved when the others have
    written what they know of the epoch.

    Args:
        checkpoints: `sogclr_tf.checkpoint.Checkpoints`.
        every_epochs: at least 1; None to save by steps alone.
        every_steps: at least 1; None to save by epochs alone. With `steps_per_execution` the first
            step after so many that Keras shows.
    """

    def __init__(self, checkpoints, every_epochs=1, every_steps=None):
        super().__init__()
        for name, value in (("every_epochs", every_epochs), ("every_steps", every_steps)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: save every 1 or more")
        self._checkpoints = checkpoints
        self._every_epochs = every_epochs
        self._every_steps = every_steps

    def on_train_begin(self, logs=None):  # noqa: ARG002
        self._saved_step = self.model.trained_steps

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if self._every_steps and batch + 1 != self.params["steps"]:
            self._save_if_due()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        if self._every_epochs and (epoch + 1) % self._every_epochs == 0:
            self._save()
        elif self._every_steps:
            self._save_if_due()

    def on_train_end(self, logs=None):  # noqa: ARG002
        self._save()

    def _save_if_due(self):
        if self.model.trained_steps // self._every_steps > self._saved_step // self._every_steps:
            self._save()

    def _save(self):
        self._checkpoints.save()
        self._saved_step = self.model.trained_steps
