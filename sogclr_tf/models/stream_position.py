"""Where training stands in the epochs of a stream."""

import dataclasses
from collections.abc import Sequence
from typing import Self

from sogclr_tf.data.stream import Stream


@dataclasses.dataclass(frozen=True)
class StreamPosition:
    """The step of a stream that comes next, in terms of the steps that a model was trained for.

    The same numbers in a run that was interrupted as in one that was not.

    Attributes:
        step: the step of the stream, an int as all others; while `moving`, its lead over the
            model's own count of steps.
        moving: whether steps of training are steps of the stream, which they are not while a
            model is trained on something else.
        batch_size: examples of a step; 0 where no stream was trained on yet.
        steps_per_epoch: steps of an epoch of the stream.
        epoch_zero: the step of the stream at which epoch 0 of `fit` began, or would have.
    """

    step: int = 0
    moving: bool = False
    batch_size: int = 0
    steps_per_epoch: int = 0
    epoch_zero: int = 0

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """The reverse of `numbers`."""
        step, moving, *others = map(int, numbers)
        return cls(step, bool(moving), *others)

    @property
    def numbers(self) -> tuple[int, ...]:
        """All attributes, in order."""
        return tuple(map(int, dataclasses.astuple(self)))

    @classmethod
    def moving_from(cls, step: int, stream: Stream, trained_steps: int, epoch_zero: int) -> Self:
        """Training on a stream from its step number `step` (from 0) on."""
        lead = step - trained_steps
        return cls(lead, True, stream.batch_size, stream.steps_per_epoch, epoch_zero)

    def at_rest(self, trained_steps: int) -> Self:
        """The place after all steps up to `trained_steps`, while none moves it."""
        return dataclasses.replace(self, step=self._after(trained_steps), moving=False)

    @property
    def known(self) -> bool:
        """Whether a stream was ever trained on."""
        return self.batch_size > 0

    def fits(self, stream: Stream) -> bool:
        """Whether its steps are those of this stream."""
        return (self.batch_size, self.steps_per_epoch) == (
            stream.batch_size,
            stream.steps_per_epoch,
        )

    def step_of(self, stream: Stream, trained_steps: int) -> int:
        """The step at which a stream goes on after all steps up to `trained_steps`.

        The epoch stays where batches have another size. No example of a part epoch comes twice:
        where those behind do not fill whole batches of the stream, its next one begins after them.
        """
        step = self._after(trained_steps)
        if self.fits(stream) or not self.known:
            return step
        epoch, taken = divmod(step, self.steps_per_epoch)
        taken = -(-taken * self.batch_size // stream.batch_size)
        return epoch * stream.steps_per_epoch + min(taken, stream.steps_per_epoch)

    def _after(self, trained_steps: int) -> int:
        return self.step + trained_steps if self.moving else self.step
