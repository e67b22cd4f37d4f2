"""Pre-training, from wherever it stands to the last epoch."""

import logging
import statistics
from typing import Any

import keras
from ml_collections import ConfigDict

from sogclr_tf.evaluation.normalizer_monitor import NormalizerError
from sogclr_tf.experiment.environment import versions
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.task import Task
from sogclr_tf.experiment.verbosity import verbosity
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.report.image_sheets import view_sheet
from sogclr_tf.training.callbacks import Pace, SaveCheckpoints
from sogclr_tf.training.checkpoint import Checkpoints
from sogclr_tf.training.preemption import StopOnSignal

_LOG = logging.getLogger("sogclr_tf")


def train(
    task: Task,
    folder: RunFolder,
    model: ContrastiveModel,
    checkpoints: Checkpoints,
    step: int,
    chief: bool,
) -> None:
    """Trains from `step` on to the last epoch; the chief leaves metrics, all leave checkpoints.

    Raises:
        Stopped: a signal came; the step is saved.
    """
    stream = task.stream
    epoch = model.stream_position.step_of(stream, step) // stream.steps_per_epoch
    if step:
        _LOG.info("resumed at step %d, epoch %d", step, epoch)
    if chief:
        folder.rewind_metrics(epoch)
    with StopOnSignal(checkpoints) as stop:
        model.fit(
            stream,
            epochs=task.config.epochs,
            initial_step=step,
            verbose=verbosity(chief),
            callbacks=[*_callbacks(task, folder, checkpoints, chief), stop],
        )
    if chief:
        pace = folder.history().get("examples_per_second", [0.0])
        weights = task.config.encoder.get("weights")
        folder.update_result(
            **({"started_from": weights} if weights else {}),
            steps=model.trained_steps,
            examples_per_second=round(statistics.median(pace), 1),
            num_examples=stream.num_examples,
            versions=versions(),
        )


class _DrawsViews(keras.callbacks.Callback):
    """Draws what the encoder sees, once, after the first step, which need not wait for it."""

    def __init__(self, task: Task, folder: RunFolder, pace: Pace) -> None:
        super().__init__()
        self._task, self._folder, self._pace = task, folder, pace
        self._drawn = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._first_step = self.model.trained_steps

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        # Not counted by batches: of an epoch that is resumed Keras passes over some.
        if not self._drawn and self.model.trained_steps > self._first_step:
            with self._pace.paused():
                self._draw()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._draw()

    def _draw(self) -> None:
        if self._drawn:
            return
        self._drawn = True
        samples, bands = self._task.stream.samples(16), self._task.config.report.bands
        view_sheet(*samples, self._folder.plot("views.png"), bands=bands)


class _KeptNormalizerError(NormalizerError):
    """Leaves each measurement in the run's folder, for the report."""

    def __init__(self, folder: RunFolder, **options: Any) -> None:
        super().__init__(**options)
        self._folder = folder

    def measure(self) -> dict[str, float]:
        figures = super().measure()
        self._folder.keep_normalizer(self.last)  # type: ignore[arg-type]
        return figures


def _callbacks(task: Task, folder: RunFolder, checkpoints: Checkpoints, chief: bool) -> list:
    """What writes beside training; checkpoints last, when the rest of an epoch is written."""
    save = _saving(task.config, checkpoints)
    if not chief:
        return [save]
    pace = Pace(task.stream.batch_size)
    return [
        pace,
        *task.monitors(),
        *_normalizer(task.config, folder),
        _DrawsViews(task, folder, pace),
        keras.callbacks.LambdaCallback(on_epoch_end=folder.append_metrics),
        keras.callbacks.TensorBoard(str(folder.events), write_graph=False),
        save,
    ]


def _normalizer(config: ConfigDict, folder: RunFolder) -> list:
    """What measures the loss's table, if the config wants it."""
    every_epochs = config.monitor.normalizer_every_epochs
    return [_KeptNormalizerError(folder, every_epochs=every_epochs)] if every_epochs else []


def _saving(config: ConfigDict, checkpoints: Checkpoints) -> SaveCheckpoints:
    settings = config.checkpoint
    return SaveCheckpoints(checkpoints, settings.every_epochs or None, settings.every_steps or None)
