import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, close

from sogclr_tf.training.schedules import PerUpdate, scaled_learning_rate, warmup_cosine


@pytest.mark.parametrize(
    ("base", "batch_size", "rule", "expected"),
    [
        (0.075, 4096, "sqrt", 4.8),
        (0.075, 256, "sqrt", 1.2),
        (0.3, 4096, "linear", 4.8),
        (0.3, 128, "linear", 0.15),
        (1.0, 64, "constant", 1.0),
    ],
)
def test_scaling_rules(base, batch_size, rule, expected):
    assert scaled_learning_rate(base, batch_size, rule) == pytest.approx(expected, rel=1e-12)


def test_warmup_then_cosine():
    schedule = warmup_cosine(2.0, total_steps=110, warmup_steps=10)
    steps = [0, 1, 9, 10, 35, 60, 85, 110, 111, 1000]
    quarter = 1 + np.sqrt(0.5)
    expected = [0, 0.2, 1.8, 2, quarter, 1, 2 - quarter, 0, 0, 0]
    assert_close([schedule(step) for step in steps], expected, terms=4)


def test_the_values_of_the_docstring():
    schedule = warmup_cosine(1.0, total_steps=100, warmup_steps=10)
    values = [float(schedule(step)) for step in (0, 1, 9, 10, 11, 55, 99, 100, 101)]
    assert values == close([0, 0.1, 0.9, 1, 0.9997, 0.5, 0.0003, 0, 0], terms=10000)


def test_without_warmup_it_starts_at_the_peak():
    schedule = warmup_cosine(2, total_steps=100, warmup_steps=0)
    assert_close([schedule(step) for step in (0, 50, 100)], [2, 1, 0], terms=4)


@pytest.mark.parametrize("kind", [int, np.int64, tf.constant])
def test_held_for_the_batches_of_an_update(kind):
    updates = {"total_steps": 9, "warmup_steps": 3}
    plain = warmup_cosine(0.3, **updates)
    held = warmup_cosine(0.3, **updates, gradient_accumulation_steps=4)
    want = [float(plain(update)) for update in range(11)]
    assert [float(held(kind(call))) for call in range(44)] == np.repeat(want, 4).tolist()
    assert len({*want}) == 9


@pytest.mark.parametrize(("warmup_steps", "accumulated"), [(0, 1), (10, 1), (10, 3)])
def test_rebuilt_from_its_config(warmup_steps, accumulated):
    schedule = warmup_cosine(
        0.3,
        total_steps=100,
        warmup_steps=warmup_steps,
        gradient_accumulation_steps=accumulated,
    )
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    for step in (0, 5, 10, 70):
        assert float(again(step)) == float(schedule(step))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: scaled_learning_rate(0.1, 64, "cubic"),
            r"'cubic' is unknown; choose one of sqrt, linear, constant\.",
        ),
        (lambda: scaled_learning_rate(0.1, 0, "sqrt"), r"batch_size is 0; give"),
        (lambda: warmup_cosine(0, total_steps=9, warmup_steps=1), r"peak is 0; give"),
        (lambda: warmup_cosine(1, total_steps=0, warmup_steps=0), r"total_steps is 0; give"),
        (
            lambda: warmup_cosine(1, total_steps=10, warmup_steps=10),
            r"warmup_steps is 10; give a number in 0\.\.9, fewer than total_steps=10\.",
        ),
        (lambda: warmup_cosine(1, total_steps=10, warmup_steps=-1), r"warmup_steps is -1"),
        (lambda: PerUpdate(None, 0), r"gradient_accumulation_steps is 0; give an int >= 1\."),
        (lambda: PerUpdate(None, 2.5), r"gradient_accumulation_steps is 2\.5; give"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call()
