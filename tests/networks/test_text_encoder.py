"""The text encoder: its words, its mask, and a vocabulary that goes where the weights go."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf.networks import text_encoder

TEXTS = ["Red heart", "red apple, green apple", "two dogs!", "a red dog"]
WORDS = text_encoder.vocabulary(TEXTS)


def encoder(words=WORDS, **options):
    keras.utils.set_random_seed(0)
    return sogclr_tf.TextEncoder(words, **{"length": 5, "width": 8, "heads": 2, **options})


class TestVocabulary:
    def test_most_frequent_first_without_case_and_punctuation(self):
        assert WORDS[:4] == ["", "[UNK]", "red", "apple"]
        assert set(WORDS[4:]) == {"heart", "green", "two", "dogs", "a", "dog"}

    def test_of_a_dataset(self):
        assert text_encoder.vocabulary(tf.data.Dataset.from_tensor_slices(TEXTS)) == WORDS

    def test_rare_words_are_dropped(self):
        assert text_encoder.vocabulary(TEXTS, max_tokens=4) == WORDS[:4]

    def test_bad_input(self):
        with pytest.raises(ValueError, match="max_tokens is 2"):
            text_encoder.vocabulary(TEXTS, max_tokens=2)
        with pytest.raises(ValueError, match="hold no word"):
            text_encoder.vocabulary(["", "!"])


class TestEncoder:
    def test_tokens(self):
        tokens = encoder().tokenize(["RED apple", "a zebra", "", "red " * 9])
        red, apple, a = (WORDS.index(word) for word in ("red", "apple", "a"))
        want = [[red, apple, 0, 0, 0], [a, 1, 0, 0, 0], [0] * 5, [red] * 5]
        np.testing.assert_array_equal(tokens, want)

    def test_tokens_in_a_pipeline(self):
        built = encoder()
        stream = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2).map(built.tokenize)
        got = np.concatenate(list(stream.as_numpy_iterator()))
        np.testing.assert_array_equal(got, built.tokenize(TEXTS))

    @pytest.mark.parametrize("blocks", [0, 1, 2])
    def test_padding_counts_for_nothing(self, blocks):
        """The same words in a longer encoder, whose further places are padding."""
        short, long = encoder(blocks=blocks), encoder(blocks=blocks, length=9)
        for weight, given in zip(long.trainable_weights, short.trainable_weights, strict=True):
            grown = np.ones(weight.shape, np.float32)
            grown[tuple(slice(size) for size in given.shape)] = given
            weight.assign(grown)
        tokens = short.tokenize(TEXTS)
        padded = tf.pad(tokens, [(0, 0), (0, 4)])
        assert_close(long(padded), short(tokens), terms=4)

    def test_mean_of_words_by_hand(self):
        """Without blocks: the mean over the words of the normalized sum of word and place."""
        built = encoder(blocks=0)
        words, places = (weight.numpy() for weight in built.trainable_weights[:2])
        tokens = built.tokenize(["red apple"]).numpy()[0, :2]
        x = words[tokens] + places[:2]
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6)
        assert_close(built(built.tokenize(["red apple"]))[0], x.mean(0))

    def test_order_of_words_matters(self):
        one, other = encoder()(encoder().tokenize(["red apple dog", "dog apple red"]))
        assert np.abs(one - other).max() > 1e-3

    def test_no_words_are_finite_with_gradients(self):
        built = encoder()
        with tf.GradientTape() as tape:
            features = built(built.tokenize(["", "red"]))
            loss = tf.reduce_sum(features**2)
        np.testing.assert_array_equal(features[0], np.zeros(8))
        for gradient in tape.gradient(loss, built.trainable_weights):
            assert np.isfinite(tf.convert_to_tensor(gradient)).all()

    def test_dropout_is_for_training_alone(self):
        built = encoder(dropout=0.5)
        tokens = built.tokenize(TEXTS)
        np.testing.assert_array_equal(built(tokens), built(tokens))
        assert np.abs(built(tokens, training=True) - built(tokens)).max() > 1e-3

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"heads": 3}, "heads is 3: give a number that divides width 8"),
            ({"length": 0}, "length is 0"),
            ({"blocks": -1}, "blocks is -1"),
            ({"words": ["", "[UNK]", "a", "a"]}, "3 of them different"),
        ],
    )
    def test_bad_option(self, options, message):
        with pytest.raises(ValueError, match=message):
            encoder(**options)


class TestVocabularyIsAWeight:
    # As many bytes and words, but in another order: the shapes alone tell nothing.
    OTHER = [*WORDS[:2], *WORDS[2:][::-1]]

    @pytest.mark.parametrize("suffix", [".weights.h5", ".keras", "checkpoint"])
    def test_every_format_brings_the_words_along(self, tmp_path, suffix):
        built, again = encoder(), encoder(self.OTHER)
        again.tokenize(TEXTS)
        path = str(tmp_path / f"encoder{suffix}")
        if suffix == ".keras":
            built.save(path)
            again = keras.saving.load_model(path)
        elif suffix == ".weights.h5":
            built.save_weights(path)
            again.load_weights(path)
        else:
            checkpoint = tf.train.Checkpoint(model=again)
            checkpoint.restore(tf.train.Checkpoint(model=built).save(path))
        assert again.words == WORDS
        np.testing.assert_array_equal(again.tokenize(TEXTS), built.tokenize(TEXTS))
        np.testing.assert_array_equal(again(again.tokenize(TEXTS)), built(built.tokenize(TEXTS)))

    def test_words_beyond_ascii(self):
        words = text_encoder.vocabulary(["Ångström ñandú 猫"])
        assert set(encoder(words).words) == set(words) >= {"ñandú", "猫"}
