"""What a model remembers of its training: how far it is, where, and whose its table's rows are."""

import pathlib
from collections.abc import Callable
from typing import Any

import keras

from sogclr_tf.data.stream import Stream
from sogclr_tf.example_names import ExampleNames
from sogclr_tf.models import keras_hooks
from sogclr_tf.models.stream_position import StreamPosition

# The file of the names inside a .keras file.
_NAMES = "examples.npz"


class RemembersTraining(keras_hooks.BuildsItself):
    """A model that counts its training steps, and knows its streams and their examples.

    All are weights, so that every format keeps them. The names of the examples are too large for
    that: `.keras` files and `Checkpoints` keep them beside the weights.

    Attributes:
        averaged_step: the step whose weights Keras has replaced by averages of them, as it does
            when `fit` ends; None where it has not.
        averages_are_swapped_in: function of nothing, whether a callback of the fit at hand has
            put averages in the place of the weights.
        training_stream: the stream of the fit at hand; None outside of one, or of other data.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.averaged_step: int | None = None
        self.averages_are_swapped_in: Callable[[], bool] = bool
        self.training_stream: Stream | None = None
        # Not the optimizer's count, which passes over steps whose float16 gradients overflow: this
        # one says which batch comes next.
        self._trained_steps = self._add_numbers("trained_steps")
        self._examples = self._add_numbers("examples")
        self._stream_position = self._add_numbers("stream_position", len(StreamPosition().numbers))
        self._names_of_examples: Callable[[], ExampleNames | None] = _unknown

    @property
    def trained_steps(self) -> int:
        """Training steps so far, an int: batches of the stream that are behind."""
        return int(keras.ops.convert_to_numpy(self._trained_steps))

    @property
    def stream_position(self) -> StreamPosition:
        """Where training stands in its streams."""
        return StreamPosition.from_numbers(keras.ops.convert_to_numpy(self._stream_position))

    @stream_position.setter
    def stream_position(self, position: StreamPosition) -> None:
        self._stream_position.assign(position.numbers)

    @property
    def examples_fingerprint(self) -> int:
        """That of the names of the examples whose rows the table holds; 0 where unknown."""
        return int(keras.ops.convert_to_numpy(self._examples))

    def known_examples(self) -> ExampleNames | None:
        """The names of the examples whose rows the table holds; None where they are unknown."""
        names = self._names_of_examples()
        # Weights may have been loaded since, from a file that holds no names.
        return names if names and names.fingerprint == self.examples_fingerprint else None

    def remember_examples(
        self, names: Callable[[], ExampleNames | None], fingerprint: int | None = None
    ) -> None:
        """Says whose the rows of the table are.

        Args:
            names: function of nothing that gives the names, or None where they are lost; not the
                names themselves, because those of a million examples are large.
            fingerprint: theirs; None where the weights hold it already.
        """
        self._names_of_examples = names
        if fingerprint is not None:
            self._examples.assign(fingerprint)

    def save_assets(self, folder: str) -> None:
        """What a `.keras` file holds beside weights."""
        names = self.known_examples()
        if names is not None:
            names.save(pathlib.Path(folder, _NAMES))

    def load_assets(self, folder: str | None) -> None:
        """Reads what `save_assets` wrote, from a folder that is gone afterwards."""
        names = ExampleNames.load(pathlib.Path(folder, _NAMES)) if folder else None
        self.remember_examples(lambda: names)

    def load_own_variables(self, store: Any) -> None:
        """Files of version 0.2 hold the steps alone: whose their table is, is not known."""
        self.averaged_step = None
        if len(store.keys()) == 1:
            self._trained_steps.assign(store["0"])
        else:
            super().load_own_variables(store)

    def _add_numbers(self, name: str, *shape: int) -> keras.Variable:
        return self.add_weight(
            name=name,
            shape=shape,
            dtype="int64",
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )


def _unknown() -> None:
    """The names of a model that was never trained on a stream that has some."""
