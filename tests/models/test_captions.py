"""Two towers on images with several captions: what reaches the loss, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf
from models.test_two_tower import BATCH, IMAGES, N, assert_same_weights, model, pairs
from support.numerics import assert_all_close

import sogclr_tf

WORDS = np.random.default_rng(1)
# One to three captions of each image.
CAPTIONS = [
    [" ".join(WORDS.choice(list("abcdefgh"), 3)) for _ in range(1 + i % 3)] for i in range(N)
]
OFFSETS = np.concatenate([[0], np.cumsum([len(captions) for captions in CAPTIONS])])
M = int(OFFSETS[-1])
INDIVIDUAL = {"temperature_scheme": "individual", "rho": 1.0, "num_captions": M}


def by_rows(batch_size=BATCH, seed=0):
    """A stream of one's own, of a row for each caption, in which images come more than once."""
    owners = np.repeat(np.arange(N), np.diff(OFFSETS))
    rows = np.random.default_rng(seed).permutation(M)[: M // batch_size * batch_size]
    elements = {
        "image": IMAGES[owners[rows]],
        "text": np.array([text for captions in CAPTIONS for text in captions])[rows],
        "index": owners[rows],
        "caption_index": rows,
    }
    assert any(len(set(x)) < batch_size for x in np.split(owners[rows], len(rows) // batch_size))
    return tf.data.Dataset.from_tensor_slices(elements).batch(batch_size, drop_remainder=True)


def chunked(chunks):
    built = model(options=INDIVIDUAL)
    parts = ("image_encoder", "text_encoder", "contrastive_loss", "image_projector")
    parts = [getattr(built, part) for part in (*parts, "text_projector")]
    return sogclr_tf.TwoTowerSogCLR(*parts, chunks=chunks)


@pytest.mark.slow(reason="a step is traced")
def test_rows_of_images_and_of_the_captions_that_were_shown():
    stream = pairs(texts=CAPTIONS)
    assert stream.num_captions == M
    built = model(options=INDIVIDUAL)
    built.fit(stream, verbose=0)
    assert np.isfinite(built.contrastive_loss.log_u_a).all()
    shown = np.concatenate([batch["caption_index"] for batch in stream.epoch(0)])
    assert len(shown) == N
    visited = np.isfinite(built.contrastive_loss.log_u_b)
    np.testing.assert_array_equal(np.flatnonzero(visited), np.sort(shown))


@pytest.mark.slow(reason="three steps are traced")
def test_own_batches_with_an_image_twice_whole_and_in_chunks():
    """As the loss by hand; in chunks the same; and held out, whatever the captions' number."""
    batch = next(iter(by_rows()))
    one = tf.data.Dataset.from_tensors(batch)
    by_fit, in_chunks, by_hand = model(options=INDIVIDUAL), chunked(2), model(options=INDIVIDUAL)
    in_chunks.compile(by_fit.optimizer.__class__.from_config(by_fit.optimizer.get_config()))
    by_fit.fit(one, verbose=0)
    in_chunks.fit(one, verbose=0)
    a, b = by_hand.sides({**batch, "text": by_hand.tokenize(batch["text"])}, training=True)
    by_hand.contrastive_loss(a, b, tf.stack([batch["index"], batch["caption_index"]], axis=1))
    for built in (by_fit, in_chunks):
        assert_all_close(
            built.contrastive_loss.get_weights(), by_hand.contrastive_loss.get_weights()
        )
    assert_same_weights(in_chunks.image_encoder, by_fit.image_encoder, terms=100)
    logs = by_fit.evaluate(pairs(), return_dict=True, verbose=0)
    assert np.isfinite(logs["loss"])


@pytest.mark.parametrize(
    ("stream", "loss", "options", "message"),
    [
        (
            pairs,
            "two_way",
            {"num_captions": M},
            "has num_captions=48, but .* no caption_index: give",
        ),
        (
            by_rows,
            "two_way",
            {},
            "have a caption_index, .* give it num_captions, that of the pairs",
        ),
        (
            lambda: pairs(texts=CAPTIONS),
            "two_way",
            {"num_captions": M - 1},
            "up to 47, but the loss has a table for 47 captions: give it num_captions=48",
        ),
        (lambda: pairs(texts=CAPTIONS), "sogclr", {}, "'sogclr' has no rows of captions"),
        (
            lambda: by_rows().map(lambda x: {**x, "caption_index": tf.ones([BATCH, 1], tf.int32)}),
            "clip",
            {},
            r"caption_index is int32 \(8, 1\): expected whole numbers \[B\]",
        ),
    ],
)
def test_one_clear_line_before_the_first_step(stream, loss, options, message):
    with pytest.raises(ValueError, match=message) as error:
        model(loss, options=options).fit(stream(), verbose=0)
    assert "\n" not in str(error.value)


@pytest.mark.slow(reason="two steps are traced")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"index": tf.fill([BATCH], 7)},
            "^a batch holds captions of image 7 alone, which has no neg",
        ),
        (
            {"caption_index": tf.fill([BATCH], M)},
            r"^caption_index 48 of .* give .* larger num_captions",
        ),
    ],
)
def test_batches_that_a_stream_of_ones_own_stops_at(change, message):
    stream = by_rows().map(lambda batch: {**batch, **change})
    with pytest.raises(ValueError, match=message):
        model(options=INDIVIDUAL).fit(stream, verbose=0)
