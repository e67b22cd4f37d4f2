"""What `fit` takes of a stream, however often and in whatever order it is called."""

import keras
import pytest
from support.recorder import Recorder, crash_at, expected, stream

from sogclr_tf import Checkpoints, SaveCheckpoints

# Of 26 examples 8 fill three batches, 16 one, 4 six.
EIGHT = stream(8)
STEPS = EIGHT.steps_per_epoch


def test_several_calls_equal_one():
    model = Recorder()
    for _ in range(3):
        model.fit(EIGHT, epochs=1, verbose=0)
    assert model.seen == expected(EIGHT, range(3 * STEPS))


def test_an_epoch_that_was_begun_is_finished_first():
    model = Recorder()
    with pytest.raises(EOFError):
        model.fit(EIGHT, epochs=2, verbose=0, callbacks=[crash_at(STEPS + 2)])
    model.fit(EIGHT, epochs=2, verbose=0)
    assert model.seen == expected(EIGHT, range(3 * STEPS))


def test_shorter_epochs_of_the_callers_own_have_no_borders():
    model = Recorder()
    model.fit(EIGHT, epochs=1, steps_per_epoch=2, verbose=0)
    model.fit(EIGHT, epochs=2, steps_per_epoch=2, verbose=0)
    assert model.seen == expected(EIGHT, range(6))


def test_the_caller_may_say_otherwise():
    model = Recorder()
    model.fit(EIGHT, epochs=2, verbose=0)
    model.fit(EIGHT, epochs=1, initial_epoch=0, verbose=0)
    model.fit(EIGHT, epochs=3, initial_step=STEPS + 1, verbose=0)
    steps = [*range(2 * STEPS), *range(STEPS), *range(STEPS + 1, 3 * STEPS)]
    assert model.seen == expected(EIGHT, steps)


@pytest.mark.parametrize("save_freq", ["epoch", 2])
@pytest.mark.parametrize("crash", [STEPS + 1, 2 * STEPS + 3])
def test_backup_and_restore(tmp_path, save_freq, crash):
    def fit(*callbacks):
        model = Recorder()
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=save_freq)
        history = model.fit(EIGHT, epochs=4, verbose=0, callbacks=[backup, *callbacks])
        return model, history.epoch

    with pytest.raises(EOFError):
        fit(crash_at(crash))
    model, epochs = fit()
    # The crash comes before the end of its epoch, but after the backup of its step.
    saved = (crash - 1) // STEPS * STEPS if save_freq == "epoch" else crash // 2 * 2
    assert model.seen == expected(EIGHT, range(saved, 4 * STEPS))
    assert epochs == list(range(saved // STEPS, 4))
    # Keras would begin every later fit of this model at the epoch that was restored.
    model.fit(EIGHT, epochs=1, verbose=0)
    assert model.seen == expected(EIGHT, range(saved, 5 * STEPS))


@pytest.mark.parametrize("batch_size", [16, 4])
def test_another_batch_size_goes_on_with_the_next_epoch(tmp_path, batch_size):
    model = Recorder()
    model.fit(EIGHT, epochs=5, verbose=0, callbacks=[SaveCheckpoints(Checkpoints(model, tmp_path))])
    again, other = Recorder(), stream(batch_size)
    step = Checkpoints(again, tmp_path).restore()
    assert step == 5 * STEPS
    history = again.fit(other, epochs=10, initial_step=step, verbose=0)
    assert history.epoch == [5, 6, 7, 8, 9]
    steps = other.steps_per_epoch
    assert again.seen == expected(other, range(5 * steps, 10 * steps))


def test_what_a_callback_restores_decides():
    """The best weights are those after two epochs: with them their place in the data."""
    watched = iter([3, 1, 2, 4])
    best = keras.callbacks.EarlyStopping("w", mode="min", patience=2, restore_best_weights=True)
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: logs.update(w=next(watched))  # noqa: ARG005
    )
    model = Recorder()
    model.fit(EIGHT, epochs=9, verbose=0, callbacks=[watch, best])
    assert model.trained_steps == 2 * STEPS
    model.fit(EIGHT, epochs=1, verbose=0)
    assert model.seen == expected(EIGHT, [*range(4 * STEPS), *range(2 * STEPS, 3 * STEPS)])


def test_training_on_something_else_moves_nothing():
    model = Recorder()
    model.fit(EIGHT, epochs=1, verbose=0)
    taken = len(model.seen)
    model.fit(stream(4).epoch(0), epochs=2, verbose=0)
    own = len(model.seen)
    model.fit(EIGHT, epochs=1, verbose=0)
    assert model.seen[:taken] + model.seen[own:] == expected(EIGHT, range(2 * STEPS))


def test_the_place_is_kept_in_a_keras_file(tmp_path):
    model = Recorder()
    model.fit(EIGHT, epochs=1, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    again = Recorder()
    again.load_weights(tmp_path / "model.weights.h5")
    again.fit(EIGHT, epochs=1, verbose=0)
    assert again.seen == expected(EIGHT, range(STEPS, 2 * STEPS))
