"""The exact objective over images with several captions, and that the loss estimates it."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close, close
from support.reference import log_mean_exp, normalized, numeric_gradient

import sogclr_tf
from sogclr_tf import exact_global_objective

COUNTS = [2, 1, 3, 1]
OWNERS = np.repeat(np.arange(4), COUNTS)


def captions_of(image):
    return np.flatnonzero(image == OWNERS)


def log_u(a, b, t):
    """(log u of each image, log g of each caption), from projections of each row, in a loop."""
    a, b = normalized(a), normalized(b)
    of_rows = np.zeros((2, len(OWNERS)))
    for side, (own, other) in enumerate(((a, b), (b, a))):
        for row, image in enumerate(OWNERS):
            of_others = [
                log_mean_exp([(own[row] @ other[s] - a[row] @ b[row]) / t for s in captions_of(j)])
                for j in range(len(COUNTS))
                if j != image
            ]
            of_rows[side, row] = log_mean_exp(of_others)
    return [log_mean_exp(of_rows[0, captions_of(i)]) for i in range(len(COUNTS))], of_rows[1]


def objective(a, b, t):
    images, captions = log_u(a, b, t)
    of_texts = [np.mean(captions[captions_of(i)]) for i in range(len(COUNTS))]
    return t * (np.mean(images) + np.mean(of_texts)) / 2


def projections():
    """Of each image, and of each caption."""
    random = np.random.default_rng(0)
    return (random.normal(size=(n, 3)).astype(np.float32) for n in (len(COUNTS), len(OWNERS)))


@pytest.mark.parametrize("block", [3, 100])
def test_loop_form_and_finite_differences(block):
    images, b = projections()
    # As drawn views differ, the projections of an image in its rows may.
    a = images[OWNERS] + 0.1 * b[::-1]
    got = exact_global_objective((a, b), temperature=0.2, image=OWNERS + 5, block=block)
    assert got.value == close(objective(a, b, 0.2), at_least=1)
    assert_close(got.gradients[0], numeric_gradient(lambda x: objective(x, b, 0.2), a))
    assert_close(got.gradients[1], numeric_gradient(lambda x: objective(a, x, 0.2), b))


def test_the_loss_estimates_it():
    """The mean over all draws of a caption of each image, where the tables are right: exactly F."""
    t, (images, b) = 0.3, projections()
    loss = sogclr_tf.TwoWayGlobalContrastiveLoss(4, t, 1e-7, num_captions=len(OWNERS))
    of_tables = log_u(images[OWNERS], b, t)
    draws = list(itertools.product(*(captions_of(i) for i in range(4))))
    values, gradients = [], []
    for drawn in draws:
        for table, rows in zip((loss.log_u_a, loss.log_u_b), of_tables, strict=True):
            table.assign(np.float32(rows))
        sides = tf.constant(images), tf.constant(b)
        with tf.GradientTape() as tape:
            tape.watch(sides)
            index = np.stack([np.arange(4), drawn], axis=1)
            value = loss(sides[0], tf.gather(sides[1], drawn), index)
        values.append(float(value))
        gradients.append([tf.convert_to_tensor(g).numpy() for g in tape.gradient(value, sides)])
    want = exact_global_objective((images[OWNERS], b), temperature=t, image=OWNERS)
    assert np.mean(values) == close(want.value, at_least=1)
    of_images = np.zeros_like(images)
    np.add.at(of_images, OWNERS, want.gradients[0])
    for found, exact in zip(
        zip(*gradients, strict=True), (of_images, want.gradients[1]), strict=True
    ):
        assert_close(np.mean(found, axis=0), exact)


def test_one_caption_each_is_as_without():
    _, b = projections()
    a = b[::-1] + 1
    want = exact_global_objective((a, b), temperature=0.2, negatives="other")
    got = exact_global_objective((a, b), temperature=0.2, image=np.arange(len(b))[::-1])
    assert got.value == close(want.value, at_least=1)
    assert_close(got.gradients, want.gradients)


@pytest.mark.slow(reason="a model is traced")
def test_of_a_model():
    from models.test_captions import INDIVIDUAL, M, N, by_rows, model

    built, data = model(options=INDIVIDUAL), by_rows()
    temperatures = [np.linspace(0.1, 0.3, n).astype(np.float32) for n in (N, M)]
    built.contrastive_loss.temperatures_a.assign(temperatures[0])
    built.contrastive_loss.temperatures_b.assign(temperatures[1])
    got = exact_global_objective(built, data)
    rows = next(iter(data.unbatch().batch(M)))
    image, caption = rows["index"].numpy(), rows["caption_index"].numpy()
    a, b = (side.numpy() for side in built.sides({**rows, "text": built.tokenize(rows["text"])}))
    of_anchors = np.concatenate([temperatures[0][image], temperatures[1][caption]])
    want = exact_global_objective((a, b), temperature=of_anchors, image=image)
    of_texts = np.bincount(image, temperatures[1][caption]) / np.bincount(image)
    rho = (temperatures[0].mean() + of_texts.mean()) / 2
    assert got.value == close(want.value + rho, at_least=1)
    with pytest.raises(ValueError, match="has num_captions: an image's entry is of all its"):
        sogclr_tf.normalizer_error(built, data)
    with pytest.raises(ValueError, match="has a table|have a caption_index"):
        exact_global_objective(model(options={}), data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negatives": "both"}, "negatives is 'both': images with several captions"),
        ({"image": OWNERS[:3]}, r"image has shape \(3,\): expected \[7\]"),
        ({"image": np.ones(7)}, "all rows are captions of image 1"),
        ({"temperature": np.linspace(0.1, 1, 7)}, "rows of one image have different temperatures"),
    ],
)
def test_bad_option(options, message):
    images, b = projections()
    with pytest.raises(ValueError, match=message):
        exact_global_objective(
            (images[OWNERS], b), **{"temperature": 0.2, "image": OWNERS, **options}
        )
