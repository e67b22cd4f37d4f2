"""How many steps ago training visited the entries of a loss's table."""

import numpy as np

from sogclr_tf.data.stream import Stream
from sogclr_tf.models.contrastive import ContrastiveModel

_TOGETHER = 4096


def steps_since_visit(
    model: ContrastiveModel, stream: Stream, index: np.ndarray, visited: np.ndarray
) -> np.ndarray | None:
    """Of each example, the steps that training has taken since the one that last drew it.

    The order of a stream is a function of its seed and the epoch, so that this is found without
    any record: of the epoch at hand, and of as many before as left some example out. Nothing is
    decoded, but a source that cannot read out of order is passed through.

    Args:
        model: trained on the stream, straight through as far as its step count goes.
        stream: the same, or one of another policy.
        index: int [N], the examples.
        visited: bool [N], whether the table has seen them.

    Returns:
        int64 [N], 0 for the examples of the newest step, -1 where none has visited. None where the
        model's steps are not those of this stream, or do not explain what the table has seen.
    """
    position, trained = model.stream_position, model.trained_steps
    if not (position.moving and position.fits(stream)):
        return None
    step = position.step_of(stream, trained)
    last = _last_steps(stream, step, max(0, step - trained), index[visited])[index]
    if not np.array_equal(last >= 0, visited):
        return None
    return np.where(visited, step - 1 - last, -1)


def current_epoch(model: ContrastiveModel, stream: Stream) -> int:
    """The number of the stream's epoch that the model's newest step belongs to; 0 before any."""
    step = model.stream_position.step_of(stream, model.trained_steps)
    return max(0, step - 1) // stream.steps_per_epoch


def _last_steps(stream, step, first, wanted):
    """int64 [num_examples]: the last step in [first, step) that draws an example; -1 for none.

    The wanted ones are all looked for; of others some that are further back stay -1.
    """
    last = np.full(stream.num_examples, -1, np.int64)
    of_epoch = stream.steps_per_epoch
    epoch = (step - 1) // of_epoch
    while (epoch + 1) * of_epoch > first and (last[wanted] < 0).any():
        begin, end = max(first, epoch * of_epoch), min(step, (epoch + 1) * of_epoch)
        drawn = _drawn(stream, begin, end)
        steps = begin + np.arange(len(drawn)) // stream.batch_size
        newer = last[drawn] >= 0
        last[drawn[~newer]] = steps[~newer]
        epoch -= 1
    return last


def _drawn(stream, begin, end):
    """int [examples]: the indices of the steps in [begin, end), in order."""
    examples = stream.examples(begin).map(lambda example: example["index"])
    examples = examples.take((end - begin) * stream.batch_size).batch(_TOGETHER)
    return np.concatenate(list(examples.as_numpy_iterator()))
