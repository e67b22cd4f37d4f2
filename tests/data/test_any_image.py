"""Whatever holds images: a view shows their values, or somebody is told why not.

Collections are drawn at random, each a function of its number: what holds them, dtype, channels,
values, sizes, labels, and what is stated of them. `support.image_oracle` says by the documentation
what must come out.
"""

import collections
import dataclasses
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf
from support.exhaustive import exhaustive
from support.image_cases import draw
from support.image_kinds import KINDS
from support.image_oracle import REASONS, expected, order

import sogclr_tf
from sogclr_tf.data import augment
from sogclr_tf.data.drawing import Drawer
from sogclr_tf.data.files.decode_errors import why
from sogclr_tf.data.refusal import line_of

CASES, AT_ONCE = 1_000, 100
READ = exhaustive(100, CASES)
# Of so many cases one goes through a training stream too, and one of files is read by a pipeline.
STREAMED, TRACED = 16, 8
FEW = (23, 54, 74, 89, 18, 31, 77, 93)
EPOCH = tf.constant(0, tf.int64)


def identity(size):
    return sogclr_tf.Policy(size, min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)


def changed(size):
    return dataclasses.replace(identity(size), jitter=1, saturation=0, hue=0)


def read(source, traced):
    """The examples, pixels and labels (or None) of a source.

    Args:
        traced: whether to read as evaluations do, beside one example after the other.
    """
    examples = list(source.examples())
    assert [int(example["index"]) for example in examples] == [*range(source.size)]
    pixels = [source.pixels(example).numpy() for example in examples]
    labels = [int(example["label"]) for example in examples] if source.labeled else None
    if traced:
        images, read_labels = source.images_and_labels()
        for got, wanted in zip(images.as_numpy_iterator(), pixels, strict=True):
            np.testing.assert_array_equal(got, wanted)
        assert (None if read_labels is None else [*read_labels]) == labels
    return examples, pixels, labels


def said(error):
    """The line that a user sees of an error."""
    if isinstance(error, tf.errors.InvalidArgumentError):
        return line_of(error) or why(error.message)
    return str(error)


def check_refusal(error, case, wanted):
    line = said(error)
    assert line, f"no plain words: {error}"
    assert "\n" not in line, line
    assert len(line) < 500, line
    reasons = [key for key in wanted.refusals if re.search(REASONS[key], line)]
    assert reasons, f"expected one of {[*wanted.refusals]}, got: {line}"
    places = wanted.refusals[reasons[0]]
    if places is not None:
        named = int(re.search(REASONS[reasons[0]], line).group(1))
        assert order(case)[named] in places, line


def check_close(got, image, tolerance, what):
    """Within the tolerance, or half a step of 8 bits where it is uint8."""
    if got.dtype == np.uint8:
        got, tolerance = got / 255.0, max(0.5 / 255, tolerance)
    assert got.shape == image.shape, what
    worst = np.abs(got.astype(np.float64) - image).max()
    assert worst <= tolerance, f"{what}: off by {worst}, allowed {tolerance}"


def check_changed(got, image, tolerance):
    """In every channel a larger value stays larger, or as large."""
    white = 255 if got.dtype == np.uint8 else 1
    for channel in range(image.shape[-1]):
        values, changed = image[..., channel].ravel(), got[..., channel].ravel() / white
        changed = changed[np.argsort(values)]
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert np.diff(changed).min() >= -8 * tolerance - 1e-6, f"channel {channel}"


def check_views(source, example, pixels, image, tolerance):
    """Of one example: whole, resized, and as a view."""
    size = image.shape[:2]
    check_close(augment.whole(pixels, size).numpy(), image, tolerance, "evaluation")
    resized = augment.whole(pixels, (4, 4)).numpy()
    assert resized.dtype == np.float32
    assert resized.min() >= 0
    assert resized.max() <= 1
    slack = 0.25 * (image.max() - image.min()) + tolerance
    assert resized.min() >= image.min() - slack
    assert resized.max() <= image.max() + slack
    drawn = {**example, "epoch": EPOCH}
    view = Drawer(source, [identity(size)], 0).views(drawn)[0].numpy()
    check_close(view, image, tolerance, "view")


def check_stream(source, case, wanted):
    """The training stream: every view is that of its index, with its label.

    Of squares the second is of another brightness and contrast.
    """
    places = order(case)
    size = wanted.images[0].shape[:2]
    is_changed = size == (8, 8)
    policies = identity(size), (changed if is_changed else identity)(size)
    views = sogclr_tf.training_views(source, batch_size=2, policy=policies[0], policy_b=policies[1])
    seen = 0
    for batch in views.epoch(0).as_numpy_iterator():
        for row, index in enumerate(batch["index"]):
            place = places[index]
            for view in ("view_a", "view_b"):
                got = batch[view][row]
                assert got.dtype == (np.uint8 if wanted.whole else np.float32)
                values = wanted.images[place], wanted.tolerances[place]
                if view == "view_b" and is_changed:
                    check_changed(got, *values)
                else:
                    check_close(got, *values, view)
            if wanted.labels is not None:
                assert batch["label"][row] == wanted.labels[place]
            seen += 1
    assert seen == source.size // 2 * 2


def check_values(source, examples, pixels, labels, case, wanted):
    for index, place in enumerate(order(case)):
        got = pixels[index]
        assert got.dtype == (np.uint8 if wanted.whole else np.float32)
        check_close(got, wanted.images[place], wanted.tolerances[place], f"pixels of {index}")
        if wanted.labels is not None:
            assert labels[index] == wanted.labels[place], index
        if index == case.number % len(pixels):
            check_views(
                source, examples[index], got, wanted.images[place], wanted.tolerances[place]
            )
    if case.number % STREAMED == 0 and len({image.shape for image in wanted.images}) == 1:
        check_stream(source, case, wanted)


def check(case, folder):
    wanted = expected(case)
    try:
        source = KINDS[case.kind].make(case, folder)
        unlabeled = [*wanted.refusals] == ["labels"]
        traced = not KINDS[case.kind].encoded or case.number % TRACED == 0 or unlabeled
        found = read(source, traced)
    except (ValueError, FileNotFoundError, tf.errors.InvalidArgumentError) as error:
        check_refusal(error, case, wanted)
    else:
        assert wanted.unsure or not wanted.refusals, f"not refused: {wanted.refusals}"
        check_values(source, *found, case, wanted)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_all(numbers, folder):
    failures = []
    for number in numbers:
        case = draw(number)
        try:
            check(case, folder / str(number))
        # Whatever it is: a failure is one line that says which case to draw again.
        except Exception as error:
            said_so = " ".join(str(error).split())[:400]
            failures.append(f"{case!r}: {type(error).__name__}: {said_so}")
    assert not failures, f"{len(failures)} of {len(numbers)}:\n" + "\n".join(failures)


def test_a_few(tmp_path):
    """Soon read: arrays, data sets of which one is of differing sizes, files, and refusals."""
    check_all(FEW, tmp_path)


@pytest.mark.slow(reason="hundreds of collections")
@pytest.mark.parametrize("first", range(0, READ, AT_ONCE))
def test_values_or_a_reason(tmp_path, first):
    check_all(range(first, first + AT_ONCE), tmp_path)


def test_every_outcome_is_drawn():
    outcomes = collections.Counter()
    for number in range(CASES):
        case = draw(number)
        wanted = expected(case)
        outcomes[case.kind, "refused" if wanted.refusals else "values"] += 1
        outcomes.update([*wanted.refusals])
    for kind in KINDS:
        for outcome in ("values", "refused"):
            assert outcomes[kind, outcome] >= 8, (kind, outcome)
    for reason in REASONS:
        assert outcomes[reason] >= 4, reason
