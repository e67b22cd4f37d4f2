"""What is shown of a training."""

import re
import types

import keras
import pytest
from support.small_model import N, encoder, views

import sogclr_tf
from sogclr_tf.training import callbacks, progress


def fitted(**options):
    built = sogclr_tf.SogCLR(encoder(), sogclr_tf.GlobalContrastiveLoss(N, 0.5))
    built.compile(keras.optimizers.SGD(1e-5))
    return built.fit(views(), callbacks=[callbacks.Pace(batch_size=8)], **options).history


def test_the_bar_shows_what_is_short(capsys):
    history = fitted(epochs=2, verbose=1)
    shown = capsys.readouterr().out
    for name in ("loss", "contrast_accuracy", "examples/s"):
        assert f"{name}: " in shown
    for name in ("uniformity", "feature_std", "learning_rate"):
        assert name not in shown
        assert name in history
    assert history["examples_per_second"][1] > 0
    assert re.search(r"Epoch 2/2, about \d+ s left\n", shown)


def test_a_log_gets_a_readable_line_per_epoch(capsys):
    history = fitted(epochs=3, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    numbers = r"loss -?\d+\.\d+ +contrast_accuracy 0\.\d+ +learning_rate 0\.00001 +\S+ examples/s"
    for epoch, line in enumerate(lines[:2], start=1):
        assert re.fullmatch(rf"Epoch {epoch}/3  {numbers}  \d+ s  about \d+ s left", line), line
    # Nothing is left.
    assert re.fullmatch(rf"Epoch 3/3  {numbers}  \d+ s", lines[2]), lines[2]
    assert float(re.search(r"loss (\S+)", lines[2])[1]) == pytest.approx(
        history["loss"][2], abs=5e-4
    )


def test_nothing_is_shown_where_that_is_wanted(capsys):
    fitted(verbose=0)
    assert not capsys.readouterr().out


def test_the_time_left_is_reckoned_from_the_steps_of_this_fit(capsys, monkeypatch):
    """Two steps of three were done before; each of the others takes 2 s, the first of them 60."""
    clock = types.SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    shown = progress.Progress()
    shown.set_params({"verbose": 2, "epochs": 6, "steps": 3})
    shown.on_train_begin()
    for epoch, steps in ((2, [0, 0, 60]), (3, [2, 2, 2])):
        shown.on_epoch_begin(epoch)
        for batch, seconds in enumerate(steps):
            clock.now += seconds
            shown.on_train_batch_end(batch, {"loss": -0.5} if seconds else {})
        shown.on_epoch_end(epoch, {"loss": -0.5})
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 3/6  loss -0.500   60 s",
        "Epoch 4/6  loss -0.500   6 s  about 12 s left",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(
            (-0.54237, "-0.542"),
            (-7.7932e-2, "-0.0779"),
            (1.2e-3, "0.0012"),
            (1.25e-6, "0.00000125"),
        ),
        *((0.0, "0"), (12.3456, "12.346"), (12345.6, "12,346"), (float("nan"), "nan")),
        ([0.25], "0.250"),
    ],
)
def test_numbers_have_no_exponent(value, text):
    assert progress.readable(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.2, "0 s"), (89, "89 s"), (720, "12 min"), (5399, "90 min")),
        *((19_000, "5.3 h"), (181_440, "2.1 days")),
    ],
)
def test_a_time_has_the_unit_that_suits_it(seconds, text):
    assert progress.duration(seconds) == text
