"""Stop at a signal without losing a step."""

import functools
import signal
import threading

import keras
import tensorflow as tf

from sogclr_tf.training import strategy


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Training ended early because a signal asked for it; its state is saved.

    Attributes:
        signal: signal.Signals.
        step: the step that the newest checkpoint holds, an int.
    """

    def __init__(self, received, step):
        super().__init__(f"stopped by {received.name} at step {step}, which is saved")
        self.signal = received
        self.step = step


class StopOnSignal(keras.callbacks.Callback):
    """Saves and raises `Stopped` at the end of the step in which SIGTERM or SIGINT comes.

        with StopOnSignal(checkpoints) as stop:
            model.fit(views, callbacks=[..., stop])

    Cluster managers send SIGTERM some time before they take a machine away. Put it last among the
    callbacks: the last step of an epoch is saved when the others have written what they know of
    the epoch. A second signal does what it would have done without. Of several workers all stop at
    the same step, whichever got the signal.

    Args:
        checkpoints: `sogclr_tf.checkpoint.Checkpoints`.
    """

    def __init__(self, checkpoints):
        super().__init__()
        self._checkpoints = checkpoints
        self._received = None
        self._former = {}

    def __enter__(self):
        # Python lets the main thread alone handle signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error):
        self._restore()

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if batch + 1 != self.params["steps"]:
            self._stop_if_asked()

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        self._stop_if_asked()

    def _note(self, number, _frame):
        self._received = signal.Signals(number)
        self._restore()

    def _restore(self):
        while self._former:
            signal.signal(*self._former.popitem())

    def _stop_if_asked(self):
        if self._anyone_asked():
            self._checkpoints.save()
            raise Stopped(self._received or signal.SIGTERM, self.model.trained_steps)

    def _anyone_asked(self):
        asked = self._received is not None
        if not strategy.spans_workers(self.model.distribute_strategy):
            return asked
        return float(self._sum_over_workers(tf.constant(float(asked)))) > 0

    @functools.cached_property
    def _sum_over_workers(self):
        """A function, traced once: 2 ms a step with two workers on one machine."""
        workers = self.model.distribute_strategy

        @tf.function
        def total(flag):
            return workers.reduce("SUM", workers.run(lambda own: own, (flag,)), axis=None)

        return total
