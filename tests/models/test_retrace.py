"""What a step is made of is traced once: a second trace would cost seconds, and in silence."""

import keras
import numpy as np
import pytest

import sogclr_tf
from sogclr_tf.training import callbacks, schedules

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
N, BATCH, CLASSES = 24, 8, 3


@pytest.fixture
def traces(monkeypatch):
    """A list that grows by the number of images a step is traced for, at each trace."""
    found, train_step = [], sogclr_tf.SogCLR.train_step

    def counted(self, data):
        found.append(data["view_a"].shape[0])
        return train_step(self, data)

    monkeypatch.setattr(sogclr_tf.SogCLR, "train_step", counted)
    return found


def views(batch_size=BATCH):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (N, 8, 8, 3), np.uint8)
    source = sogclr_tf.ArraySource(images, random.integers(0, CLASSES, N))
    return sogclr_tf.training_views(source, batch_size=batch_size)


def model(steps_per_execution=1):
    keras.utils.set_random_seed(0)
    built = sogclr_tf.SogCLR(
        sogclr_tf.small_resnet(widths=(4,), input_shape=(8, 8, 3)),
        sogclr_tf.GlobalContrastiveLoss(N),
        probe=sogclr_tf.OnlineProbe(CLASSES),
    )
    built.compile(
        sogclr_tf.LARS(schedules.warmup_cosine(0.1, total_steps=12, warmup_steps=2)),
        steps_per_execution=steps_per_execution,
        jit_compile=False,
    )
    return built


def monitors():
    """What the command has beside training, as far as it looks at the model."""
    images = np.random.default_rng(1).integers(0, 256, (12, 8, 8, 3), np.uint8)
    labeled = images, np.arange(12) % CLASSES
    return [
        callbacks.Pace(BATCH),
        sogclr_tf.HeldOutAccuracy(labeled, labeled, every_epochs=1),
    ]


@pytest.mark.parametrize("steps_per_execution", [1, pytest.param(3, marks=AGAIN)])
@pytest.mark.slow(reason="a training with every monitor")
def test_two_epochs_with_monitors_and_another_fit(traces, steps_per_execution):
    built = model(steps_per_execution)
    built.fit(views(), epochs=1, callbacks=monitors(), verbose=0)
    once = list(traces)
    assert set(once) == {BATCH}
    built.fit(views(), epochs=3, initial_epoch=1, callbacks=monitors(), verbose=0)
    assert built.trained_steps == 9
    assert traces == once


@pytest.mark.slow(reason="a step is traced and compiled anew for each case")
def test_resumed_within_an_epoch(traces, tmp_path):
    built = model()
    built.fit(views(), epochs=1, verbose=0)
    checkpoints = sogclr_tf.Checkpoints(built, tmp_path)
    checkpoints.save()
    traces.clear()

    resumed = model()
    checkpoints = sogclr_tf.Checkpoints(resumed, tmp_path)
    resumed.fit(views(), epochs=3, initial_step=checkpoints.restore() + 1, verbose=0)
    assert resumed.trained_steps == 8
    assert traces == [BATCH]


@pytest.mark.slow(reason="a step is traced and compiled anew for each case")
def test_the_step_is_traced_again_for_other_batches(traces):
    """A mutation, which shows that the tests above see what they are there to see."""
    built = model()
    built.fit(views(), epochs=1, verbose=0)
    built.fit(views(batch_size=12), epochs=1, verbose=0)
    assert len(traces) > 1


@pytest.mark.slow(reason="a step is traced and compiled anew for each case")
def test_compiled_by_xla(traces):
    built = model()
    built.compile(sogclr_tf.LARS(0.1), jit_compile=True)
    built.fit(views(), epochs=2, verbose=0)
    assert traces == [BATCH]
