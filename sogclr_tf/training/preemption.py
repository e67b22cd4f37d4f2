"""Stop at a signal without losing a step."""

import functools
import signal
import threading
from collections.abc import Callable
from typing import Any, Self

import tensorflow as tf

from sogclr_tf.training import strategy
from sogclr_tf.training.callbacks import SavesState
from sogclr_tf.training.checkpoint import Checkpoints


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Training ended early because a signal asked for it; its state is saved.

    Attributes:
        signal: signal.Signals.
        step: the step that the newest checkpoint holds, an int.
    """

    def __init__(self, received: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {received.name} at step {step}, which is saved")
        self.signal = received
        self.step = step


class StopOnSignal(SavesState):
    """Saves and raises `Stopped` at the end of the step in which SIGTERM or SIGINT comes.

        with StopOnSignal(checkpoints) as stop:
            model.fit(views, callbacks=[..., stop])

    Cluster managers send SIGTERM some time before they take a machine away. A second signal does
    what it would have done without. Of several workers all stop at the same step, whichever got
    the signal.

    Args:
        checkpoints: `sogclr_tf.Checkpoints`.

    Raises:
        Stopped: out of `fit`, after the step was saved.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> views = sogclr_tf.training_views(np.zeros([32, 8, 8, 3], np.uint8), batch_size=8)
        >>> stop = sogclr_tf.StopOnSignal(sogclr_tf.Checkpoints(model, "checkpoints"))
        >>> history = model.fit(views, epochs=2, verbose=0, callbacks=[stop])
        >>> history.epoch  # no signal came: both
        [0, 1]
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        super().__init__()
        self._checkpoints = checkpoints
        self._received: signal.Signals | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Python lets the main thread alone handle signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        if batch + 1 != self.params["steps"]:
            self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._stop_if_asked()

    def _note(self, number: int, _frame: object) -> None:
        self._received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        while self._former:
            signal.signal(*self._former.popitem())

    def _stop_if_asked(self) -> None:
        if self._anyone_asked():
            self._checkpoints.save()
            raise Stopped(self._received or signal.SIGTERM, self.model.trained_steps)

    def _anyone_asked(self) -> bool:
        asked = self._received is not None
        if not strategy.spans_workers(self.model.distribute_strategy):
            return asked
        return float(self._sum_over_workers(tf.constant(float(asked)))) > 0

    @functools.cached_property
    def _sum_over_workers(self) -> Callable:
        """A function, traced once: 2 ms a step with two workers on one machine."""
        workers = self.model.distribute_strategy

        @tf.function
        def total(flag):
            return workers.reduce("SUM", workers.run(lambda own: own, (flag,)), axis=None)

        return total
