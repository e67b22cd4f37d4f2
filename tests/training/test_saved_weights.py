"""Which weights a checkpoint holds where Keras or a callback puts others in their place."""

import keras
import numpy as np
import pytest
from support import small_model
from support.small_model import views

from sogclr_tf import Checkpoints, SaveCheckpoints
from sogclr_tf.training.averaged_weights import put_in_place

STEPS = views().steps_per_epoch


def model(use_ema=True, ema_momentum=0.9):
    built = small_model.model()
    averaging = {"use_ema": True, "ema_momentum": ema_momentum} if use_ema else {}
    built.compile(keras.optimizers.SGD(0.5, **averaging), jit_compile=False)
    return built


def fit(built, *callbacks, epochs=2, **options):
    built.fit(views(), epochs=epochs, callbacks=list(callbacks), verbose=0, **options)
    return built


def restored(folder, **options):
    built = model(**options)
    Checkpoints(built, folder).restore()
    return built


def assert_same(one, other):
    for want, got in zip(one.trainable_weights, other.trainable_weights, strict=True):
        np.testing.assert_array_equal(got.numpy(), want.numpy())


@pytest.fixture(scope="module")
def without():
    """Two epochs by an optimizer that keeps no averages."""
    return fit(model(use_ema=False))


@pytest.fixture(scope="module")
def whole():
    """Three epochs that nothing interrupted, whose weights are averages in the end."""
    return fit(model(), epochs=3)


@pytest.mark.parametrize(
    "when",
    [
        {"every_epochs": 1},
        *(
            pytest.param(when, marks=pytest.mark.slow(reason="the same at other steps"))
            for when in ({"every_epochs": 3}, {"every_epochs": None, "every_steps": 4})
        ),
    ],
)
def test_weights_and_averages_are_both_saved(tmp_path, without, whole, when):
    first = model()
    fit(first, SaveCheckpoints(Checkpoints(first, tmp_path), **when))
    second = restored(tmp_path)
    assert second.trained_steps == 2 * STEPS
    assert_same(without, second)
    averages = second.optimizer._model_variables_moving_average
    for average, weight in zip(averages, first.trainable_weights, strict=True):
        np.testing.assert_array_equal(np.asarray(average), weight.numpy())
    fit(second, epochs=3, initial_step=2 * STEPS)
    assert_same(whole, second)


def test_averages_that_are_swapped_in_after_an_epoch(tmp_path):
    first = model()
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    fit(first, swap, SaveCheckpoints(Checkpoints(first, tmp_path)), epochs=1)
    assert_same(fit(model(use_ema=False), epochs=1), restored(tmp_path))


def test_a_stop_behind_the_swap_is_told(tmp_path, caplog):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            self.model.stop_training = True

    class StopBehind(keras.callbacks.SwapEMAWeights, Stop):
        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            Stop.on_epoch_end(self, epoch, logs)

    first = model()
    save = SaveCheckpoints(Checkpoints(first, tmp_path), every_epochs=3)
    fit(first, StopBehind(swap_on_epoch=True), save)
    assert f"step {STEPS} is not saved, the newest checkpoint is of step 0" in caplog.text
    assert not list(tmp_path.glob("*.index"))


@pytest.mark.slow(reason="a training is saved and resumed by hand")
def test_averages_saved_by_hand_are_told(tmp_path, caplog):
    first = fit(model())
    Checkpoints(first, tmp_path).save()
    assert f"the checkpoint of step {2 * STEPS} holds averages" in caplog.text
    assert_same(first, restored(tmp_path))


@pytest.mark.parametrize("use_ema", [False, True])
def test_the_best_weights_are_the_newest_checkpoint(tmp_path, use_ema):
    """The second of four epochs is the best."""
    watched, kept = iter([3, 1, 2, 4]), []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            logs["watched"] = next(watched)
            kept.append([weight.numpy() for weight in self.model.trainable_weights])

    first = model(use_ema)
    best = keras.callbacks.EarlyStopping(
        "watched", mode="min", patience=2, restore_best_weights=True
    )
    # Wherever it stands, it is called behind the others.
    fit(first, SaveCheckpoints(Checkpoints(first, tmp_path)), Watch(), best, epochs=9)
    steps = {int(path.stem.split("-")[1]) for path in tmp_path.glob("*.index")}
    assert steps == {2 * STEPS, 3 * STEPS, 4 * STEPS}
    second = restored(tmp_path, use_ema=use_ema)
    assert second.trained_steps == 2 * STEPS
    for want, weight in zip(kept[1], second.trainable_weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), want)
    # And so they are what is read of it: the averages at hand are those of two epochs later.
    put_in_place(second)
    assert_same(first, second)
