"""The stream of image-text pairs: a text stays with its image, whatever the order."""

import numpy as np
import pytest
import tensorflow as tf

import sogclr_tf
from sogclr_tf.data.sources.filtered import FilteredSource

N = 10
# An image is as bright as its index; its text says it.
IMAGES = np.repeat(np.arange(N, dtype=np.uint8), 8 * 8 * 3).reshape(N, 8, 8, 3) * 20
TEXTS = [f"number {number}" for number in range(N)]
STILL = sogclr_tf.Policy(size=8, min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)


def seen(stream):
    """[(index, text, brightness)] in the order of the stream."""
    rows = []
    for batch in stream:
        brightness = np.round(batch["image"].numpy().mean((1, 2, 3)) / 20).astype(int)
        texts = [text.decode() for text in batch["text"].numpy()]
        rows += list(zip(batch["index"].numpy().tolist(), texts, brightness, strict=True))
    return rows


class TestPairs:
    @pytest.mark.parametrize("as_dataset", [False, True])
    def test_text_and_index_stay_with_the_image(self, as_dataset):
        given = (IMAGES, TEXTS)
        if as_dataset:
            columns = {"image": IMAGES, "text": TEXTS}
            given = (tf.data.Dataset.from_tensor_slices(columns),)
        pairs = sogclr_tf.training_pairs(*given, batch_size=5, policy=STILL)
        first, second = seen(pairs.epoch(0)), seen(pairs.epoch(1))
        assert sorted(first) == [(i, f"number {i}", i) for i in range(N)] == sorted(second)
        assert first != second

    def test_stream_from_a_step_on(self):
        pairs = sogclr_tf.training_pairs(IMAGES, TEXTS, batch_size=3, seed=4)
        whole = list(pairs.stream().take(6))
        later = list(pairs.stream(first_step=4).take(2))
        for got, want in zip(later, whole[4:], strict=True):
            for key in want:
                np.testing.assert_array_equal(got[key], want[key])

    def test_mild_views_keep_side_and_color(self):
        policy = sogclr_tf.training_pairs(IMAGES, TEXTS, batch_size=3).policy
        assert (policy.size, policy.flip, policy.grayscale) == (8, 0, 0)
        assert policy.min_area >= 0.5

    def test_samples(self):
        """The same images, as two epochs show them."""
        pairs = sogclr_tf.training_pairs(IMAGES, TEXTS, batch_size=5)
        originals, first, second = pairs.samples(4)
        assert len(originals) == len(first) == len(second) == 4
        np.testing.assert_array_equal(first, next(iter(pairs.stream()))["image"][:4])
        assert np.abs(np.array(first) - np.array(second)).max() > 0.01

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ((IMAGES, TEXTS[:3]), "expected 10 strings"),
            ((IMAGES, np.arange(N)), "expected 10 strings"),
            ((IMAGES,), "the array has no texts"),
            ((sogclr_tf.ArraySource(IMAGES), TEXTS), "texts belong inside the source"),
        ],
    )
    def test_bad_input(self, given, message):
        with pytest.raises(ValueError, match=message):
            sogclr_tf.training_pairs(*given, batch_size=5)

    def test_images_of_different_size_need_a_policy(self):
        data = tf.data.Dataset.from_generator(
            lambda: ({"image": IMAGES[row, : 3 + row], "text": TEXTS[row]} for row in range(4)),
            output_signature={
                "image": tf.TensorSpec([None, IMAGES.shape[2], 3], tf.uint8),
                "text": tf.TensorSpec([], tf.string),
            },
        )
        with pytest.raises(ValueError, match="differ in size: say how large a view is to be"):
            sogclr_tf.training_pairs(data, batch_size=2)


# Image i has as many captions as its row of two: 1, 2 or 3.
SEVERAL = [[f"number {i}, said {k}" for k in range(1 + i % 3)] for i in range(N)]
OFFSETS = np.concatenate([[0], np.cumsum([len(captions) for captions in SEVERAL])])
FLAT = [text for captions in SEVERAL for text in captions]


def several(images=IMAGES, texts=SEVERAL, **options):
    options = {"batch_size": 5, "policy": STILL, **options}
    return sogclr_tf.training_pairs(images, texts, **options)


class TestSeveralCaptions:
    def test_an_epoch_shows_every_image_once_with_a_caption_of_its_own(self):
        pairs = several()
        assert pairs.num_captions == len(FLAT)
        shown = np.zeros((N, 3), int)
        passing = iter(pairs.stream())
        for _ in range(60):
            found = [*rows_of(next(passing)), *rows_of(next(passing))]
            assert sorted(index for index, *_ in found) == list(range(N))
            for index, caption, text, brightness in found:
                assert text == FLAT[caption]
                assert text.startswith(f"number {index}, ")
                assert brightness == index
                shown[index, caption - OFFSETS[index]] += 1
        # Of 60 draws of one of three 20 are expected, with a standard deviation of 3.7.
        for counts, captions in zip(shown, SEVERAL, strict=True):
            assert (counts[: len(captions)] > 60 / len(captions) - 16).all()
            assert counts[len(captions) :].sum() == 0

    def test_the_same_from_a_step_on_and_on_two_hosts(self):
        pairs = several(batch_size=4, seed=3, finish="device")
        whole = list(pairs.stream().take(5))
        later = list(pairs.stream(first_step=3).take(2))
        hosts = [
            list(pairs.stream(3, tf.distribute.InputContext(2, host, 2)).take(2)) for host in (0, 1)
        ]
        for step, want in enumerate(whole[3:]):
            for key in want:
                np.testing.assert_array_equal(later[step][key], want[key])
                shares = np.concatenate([host[step][key] for host in hosts])
                np.testing.assert_array_equal(shares, want[key])

    def test_the_caption_is_drawn_whatever_else_is(self):
        """By seed, epoch and index: not by the batch size, the policy or what is left out."""
        source = sogclr_tf.ArraySource(IMAGES, texts=SEVERAL)
        some = FilteredSource(source, only=range(3, N))
        assert (some.num_captions, some.num_examples) == (len(FLAT), N)
        drawn = [captions_of(several()), captions_of(several(batch_size=10, policy=None))]
        assert drawn[0] == drawn[1] != captions_of(several(seed=1))
        of_some = captions_of(several(some, None, batch_size=7))
        assert of_some == {index: drawn[0][index] for index in range(3, N)}

    def test_views_are_as_with_one_text_each(self):
        moving = sogclr_tf.Policy(size=8)
        batches = [
            next(iter(several(IMAGES, texts, policy=moving).stream())) for texts in (SEVERAL, TEXTS)
        ]
        assert set(batches[0]) - set(batches[1]) == {"caption_index"}
        for key in ("image", "index"):
            np.testing.assert_array_equal(batches[0][key], batches[1][key])

    def test_texts_and_names(self):
        source = sogclr_tf.ArraySource(IMAGES, texts=SEVERAL)
        assert source.texts() == FLAT
        cut = [*SEVERAL[:2], ["number 2, said 0number", *SEVERAL[2][1:]], *SEVERAL[3:]]
        other = sogclr_tf.ArraySource(IMAGES, texts=cut).example_names()
        assert source.example_names().difference(other).startswith("example 2 was")

    def test_samples(self):
        assert len(several().samples(4)[0]) == 4

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            ([*SEVERAL[:3], "one", *SEVERAL[4:]], "mix lists and single texts, as that of image 3"),
            ([*SEVERAL[:3], [], *SEVERAL[4:]], "image 3 of the array has no caption"),
            (SEVERAL[:3], "are 3 lists: expected 10"),
            ([*SEVERAL[:3], [1, 2], *SEVERAL[4:]], "captions of image 3 of the array are int64"),
        ],
    )
    def test_bad_input(self, texts, message):
        with pytest.raises(ValueError, match=message):
            several(IMAGES, texts)


def rows_of(batch):
    """[(index, caption index, text, brightness)] of a batch."""
    brightness = np.round(batch["image"].numpy().mean((1, 2, 3)) / 20).astype(int)
    texts = [text.decode() for text in batch["text"].numpy()]
    numbers = (batch[key].numpy().tolist() for key in ("index", "caption_index"))
    return list(zip(*numbers, texts, brightness, strict=True))


def captions_of(pairs):
    """{index: caption index} of epoch 0."""
    rows = [row for batch in pairs.epoch(0) for row in rows_of(batch)]
    return {index: caption for index, caption, *_ in rows}


@pytest.fixture(scope="module")
def emoji(emoji_dir):
    return sogclr_tf.TfdsSource("emoji", "test", emoji_dir, text="caption")


class TestEmoji:
    def test_texts_in_the_order_of_the_images(self, emoji):
        texts = emoji.texts()
        assert len(texts) == len(set(texts)) == emoji.size == 193
        by_index = {
            int(example["index"]): example["text"].numpy().decode()
            for example in emoji.examples(seed=7)
        }
        assert [by_index[i] for i in range(193)] == texts

    @pytest.mark.slow(reason="every slice is read through")
    def test_slices_keep_index_and_text(self, emoji, emoji_dir):
        part = sogclr_tf.TfdsSource("emoji", "test[50%:]", emoji_dir, text="caption")
        for example in part.examples(seed=1).take(20):
            assert emoji.texts()[int(example["index"])] == example["text"].numpy().decode()

    def test_unknown_text_lists_the_valid_ones(self, emoji_dir):
        with pytest.raises(ValueError, match="has no text 'name': choose one of caption"):
            sogclr_tf.TfdsSource("emoji", "test", emoji_dir, text="name")
        with pytest.raises(ValueError, match="has no text 'label'"):
            sogclr_tf.TfdsSource("emoji", "test", emoji_dir, text="label")
