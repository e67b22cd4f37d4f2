"""What happens beside training: stopping at a broken loss, the pace, saving."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from sogclr_tf.training.averaged_weights import averages_weights, restart_averages
from sogclr_tf.training.checkpoint import Checkpoints
from sogclr_tf.training.progress import Progress

_LOG = logging.getLogger("sogclr_tf")

# Below it the mean cosine of two images' features is above 0.9975. Encoders that learn have more:
# 0.34 at the end of configs/digits.py, 0.67 of configs/cifar10_small.py.
_COLLAPSED = 0.05

_ADVICE = (
    "Lower the learning rate or raise the temperature; an index outside the table reads NaN too"
)


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Raises FloatingPointError after the first step whose loss is NaN or infinite.

    The running mean of an epoch keeps a NaN, so it is named at the step that made it.

    Args:
        advice: what to do, a sentence of the message.
    """

    def __init__(self, advice: str = _ADVICE) -> None:
        super().__init__()
        self._advice = advice

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        # Across workers Keras hands over an array of one loss.
        loss = float(np.mean((logs or {}).get("loss", 0.0)))
        if not math.isfinite(loss):
            step = self.model.trained_steps
            raise FloatingPointError(
                f"the loss is {loss} at step {step}: training stopped. {self._advice}"
            )


class Pace(keras.callbacks.Callback):
    """Adds examples_per_second to the logs of steps and epochs, learning_rate to those of epochs.

    Of a step it is the pace of the epoch so far.

    Args:
        batch_size: examples of a step, over all replicas.
    """

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self._batch_size = batch_size

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._started = time.perf_counter()
        self._first_step = self.model.trained_steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        logs["examples_per_second"] = self._pace()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        logs["examples_per_second"] = self._pace()
        rate = self.model.optimizer.learning_rate
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(rate))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of what is done inside, between two steps, out of the pace."""
        began = time.perf_counter()
        yield
        self._started += time.perf_counter() - began

    def _pace(self) -> float:
        steps = self.model.trained_steps - self._first_step
        return steps * self._batch_size / (time.perf_counter() - self._started)


class WarnOfCollapse(keras.callbacks.Callback):
    """Warns, once, after an epoch at whose end the features of all images are nearly one vector.

    Such an encoder tells no images apart, though the loss may look as ever. A `feature_std` below
    0.05 says so.
    """

    def __init__(self) -> None:
        super().__init__()
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        spread = (logs or {}).get("feature_std", 1.0)
        if spread < _COLLAPSED and not self._warned:
            self._warned = True
            _LOG.warning(
                "feature_std is %.4f in epoch %d: the features of all images are nearly the same "
                "(healthy encoders have 0.2 and more). Lower the learning rate, or look at the "
                "views: images that an augmentation wipes out cannot be told apart",
                spread,
                epoch + 1,
            )


class SavesState(keras.callbacks.Callback):
    """A callback that saves the state of training, and is called behind those that look on.

    So the last step of an epoch is saved when the others have written what they know of the epoch.
    """


def in_order(callbacks: Any, progress: bool) -> list[keras.callbacks.Callback]:
    """The callbacks of a training: those that are given, and what no training is without.

    Args:
        callbacks: a callback, several, or None.
        progress: whether a bar shows the training.
    """
    given = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    given = [callback for callback in given if callback is not None]
    saving = [callback for callback in given if isinstance(callback, SavesState)]
    others = [callback for callback in given if not isinstance(callback, SavesState)]
    # First, so that nothing is saved after the step that spoilt the weights; the bar last of those
    # that look on, so that it shows what the others have added.
    looking_on = [StopAtNonFiniteLoss(), *others, WarnOfCollapse()]
    if progress:
        looking_on.append(Progress())
    # At the end of an epoch it puts averages in the place of the weights.
    swapping = [c for c in looking_on if isinstance(c, keras.callbacks.SwapEMAWeights)]
    return [*(c for c in looking_on if c not in swapping), *saving, *swapping]


def swapped_in(callbacks: Any) -> bool:
    """Whether one of a fit's callbacks has put averages in the place of the weights by now.

    Args:
        callbacks: several, or a `keras.callbacks.CallbackList`.
    """
    swaps = getattr(callbacks, "callbacks", callbacks)
    return any(getattr(swap, "_ema_weights_in_model", False) for swap in swaps)


class SaveCheckpoints(SavesState):
    """Saves every so many epochs or steps, and at the end of training.

    Weights are saved as the optimizer left them, with their averages beside them where it keeps
    some (`use_ema`), before Keras ends the training by putting the averages in their place. Weights
    that another callback restores at the end (`EarlyStopping(restore_best_weights=True)`) are saved
    as the newest checkpoint, under the step that they are of, and are their own averages there.

    Args:
        checkpoints: `sogclr_tf.Checkpoints`.
        every_epochs: at least 1; None to save by steps alone.
        every_steps: at least 1; None to save by epochs alone. With `steps_per_execution` the first
            step after so many that Keras shows.

    Raises:
        ValueError: every_epochs or every_steps is below 1.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> checkpoints = sogclr_tf.Checkpoints(model, "checkpoints")
        >>> save = sogclr_tf.SaveCheckpoints(checkpoints, every_epochs=None, every_steps=3)
        >>> views = sogclr_tf.training_views(np.zeros([32, 8, 8, 3], np.uint8), batch_size=8)
        >>> history = model.fit(views, epochs=2, verbose=0, callbacks=[save])  # 8 steps
        >>> checkpoints.restore()
        8
    """

    def __init__(
        self, checkpoints: Checkpoints, every_epochs: int | None = 1, every_steps: int | None = None
    ) -> None:
        super().__init__()
        for name, value in (("every_epochs", every_epochs), ("every_steps", every_steps)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: save every 1 or more")
        self._checkpoints = checkpoints
        self._every_epochs = every_epochs
        self._every_steps = every_steps

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._saved_step = self._epoch_step = self.model.trained_steps

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        if self._every_steps and batch + 1 != self.params["steps"]:
            self._save_if_due()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._epoch_step = self.model.trained_steps
        last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        if last or (self._every_epochs and (epoch + 1) % self._every_epochs == 0):
            self._save()
        elif self._every_steps:
            self._save_if_due()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        # By now Keras has put averages in the place of weights that none has restored since.
        averaged = averages_weights(self.model.optimizer)
        restored = self.model.trained_steps != self._epoch_step
        if averaged and restored:
            # Else those of a later step would stand beside what was restored, and be read for it.
            restart_averages(self.model)
        if not averaged or restored:
            self._save()
        elif self._saved_step != self._epoch_step:
            _LOG.warning(
                "step %d is not saved, the newest checkpoint is of step %d: a callback behind "
                "SwapEMAWeights stopped the training, put it before that one",
                self._epoch_step,
                self._saved_step,
            )

    def _save_if_due(self):
        if self.model.trained_steps // self._every_steps > self._saved_step // self._every_steps:
            self._save()

    def _save(self) -> None:
        self._checkpoints.save()
        self._saved_step = self.model.trained_steps
