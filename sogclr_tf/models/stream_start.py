"""Where a fit begins in its stream."""

import contextlib
from collections.abc import Callable
from typing import Any, Self

import keras
import tensorflow as tf

from sogclr_tf.data.stream import Stream
from sogclr_tf.models import examples_check, input_checks, keras_hooks
from sogclr_tf.models.stream_position import StreamPosition


class StreamStart(keras.callbacks.Callback):
    """Begins a fit where its model stands in the stream, unless the caller says otherwise.

    The last of the callbacks whose `on_train_begin` is called: others restore a model there. What
    one of them restored goes before what the caller said, as it does for Keras.

    Args:
        model: a `ContrastiveModel`.
        stream: what it is trained on.
        prepare: function of a step of the stream that gives the data set that begins there.
        initial_step: as for `ContrastiveModel.fit`.
        arguments: of Keras's `fit`; `steps_per_epoch` and `initial_epoch` are put into it.
    """

    def __init__(
        self,
        model: Any,
        stream: Stream,
        prepare: Callable[[int], Any],
        initial_step: int | None,
        arguments: dict[str, Any],
    ) -> None:
        super().__init__()
        self.set_model(model)
        self._stream, self._prepare = stream, prepare
        self._steps = arguments.setdefault("steps_per_epoch", stream.steps_per_epoch)
        self._asked = self._asked_step(initial_step, arguments.get("initial_epoch"))
        self._initial_epoch = 0 if self._asked is None else self._asked // self._steps
        arguments["initial_epoch"] = self._initial_epoch
        self._trained_steps = model.trained_steps
        self._passed_over = contextlib.ExitStack()
        self.first_step = self._model_step() if self._asked is None else self._asked
        self._check_execution(self._asked or 0)
        # Made at once, because it tells the shapes that the model is built for.
        self._made = (self.first_step, prepare(self.first_step))

    @property
    def data(self) -> keras_hooks.LateData:
        """What Keras is to be given as x."""
        return keras_hooks.LateData(self._begin)

    def __enter__(self) -> Self:
        self.model.training_stream = self._stream
        return self

    def __exit__(self, *error: object) -> None:
        self.model.training_stream = None
        self._passed_over.close()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        examples_check.check(self.model, self._stream.source)
        epoch = keras_hooks.backed_up_epoch(self.model) or self._initial_epoch
        restored = (
            keras_hooks.backed_up_epoch(self.model) is not None
            or self.model.trained_steps != self._trained_steps
        )
        if self._asked is None or restored:
            self.first_step = self._model_step()
            taken = self._taken_of_epoch(epoch, restored)
        else:
            taken = self._asked - epoch * self._steps
        self._check_execution(taken)
        self.model.stream_position = StreamPosition.moving_from(
            *(self.first_step, self._stream, self.model.trained_steps),
            epoch_zero=self.first_step - taken - epoch * self._steps,
        )
        self._passed_over.enter_context(keras_hooks.passing_over(self.model, taken))

    def _asked_step(self, initial_step, initial_epoch):
        """The step of the stream that the caller wants, or None."""
        if initial_step is None:
            return None if initial_epoch is None else initial_epoch * self._steps
        # The model's own count says where the model stands, in batches of whatever size.
        own = initial_step == self.model.trained_steps and self.model.stream_position.known
        return self._model_step() if own else int(initial_step)

    def _model_step(self):
        return self.model.stream_position.step_of(self._stream, self.model.trained_steps)

    def _taken_of_epoch(self, epoch, restored):
        """Steps of Keras's first epoch that are behind."""
        position = self.model.stream_position
        if restored and position.fits(self._stream):
            taken = self.first_step - position.epoch_zero - epoch * self._steps
            # All of them where it was saved after the last step, before the epoch ended.
            if 0 <= taken <= self._steps:
                return taken
        # An epoch that was begun is finished first; shorter ones of the caller's have no borders.
        whole = self._steps == self._stream.steps_per_epoch
        return self.first_step % self._steps if whole else 0

    def _check_execution(self, step):
        input_checks.check_execution(
            *(self._steps, step % self._steps),
            self.model.steps_per_execution,
            self.model.distribute_strategy,
        )

    def _begin(self):
        """The iterator over the stream from its first step on."""
        step, dataset = self._made
        if step != self.first_step:
            dataset = self._prepare(self.first_step)
        self._made = (None, None)
        if isinstance(dataset, tf.data.Dataset):
            dataset = self.model.distribute_strategy.experimental_distribute_dataset(dataset)
        return iter(dataset)
