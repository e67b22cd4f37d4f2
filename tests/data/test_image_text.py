"""The stream of image-text pairs: a text stays with its image, whatever the order."""

import numpy as np
import pytest
import tensorflow as tf

import sogclr_tf

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
