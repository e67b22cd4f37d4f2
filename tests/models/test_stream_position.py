"""Where training goes on in its stream, as numbers."""

import pytest
from support.small_model import views

from sogclr_tf.models.stream_position import StreamPosition

# Three steps an epoch.
STREAM = views()


def trained(step, stream=STREAM, trained_steps=0):
    return StreamPosition.moving_from(step, stream, trained_steps, epoch_zero=0)


def test_a_model_that_was_never_trained_begins_at_the_start():
    assert StreamPosition().step_of(STREAM, 0) == 0
    assert not StreamPosition().known


def test_steps_of_training_are_steps_of_the_stream():
    assert trained(4, trained_steps=10).step_of(STREAM, 17) == 11


def test_at_rest_none_moves_it():
    resting = trained(4).at_rest(2)
    assert resting.step_of(STREAM, 100) == 6
    assert resting.at_rest(100) == resting


def test_numbers_are_those_of_a_run_without_a_break():
    assert trained(0, trained_steps=0) == trained(5, trained_steps=5)
    position = trained(4, trained_steps=10)
    assert StreamPosition.from_numbers(position.numbers) == position


@pytest.mark.parametrize(
    ("batch_size", "step", "expected"),
    [
        pytest.param(4, 6, 12, id="at the end of an epoch, half the batch"),
        pytest.param(12, 6, 4, id="at the end of an epoch, another batch"),
        pytest.param(4, 7, 14, id="within an epoch, half the batch"),
        pytest.param(12, 7, 5, id="8 examples behind, so the first batch of 12 is left out"),
        pytest.param(24, 8, 3, id="16 examples behind, so the only batch is left out"),
    ],
)
def test_another_batch_size_keeps_the_epoch_and_repeats_no_example(batch_size, step, expected):
    assert trained(step).step_of(views(batch_size=batch_size), 0) == expected
