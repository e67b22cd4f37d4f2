"""The text encoder: its words, its mask, and a vocabulary that goes where the weights go."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special
from support.numerics import assert_close

import sogclr_tf

TEXTS = ["Red heart", "red apple, green apple", "two dogs!", "a red dog"]
WORDS = sogclr_tf.vocabulary(TEXTS)
# Of "a" and "p", "re" and so on: as many merges in another order make another tokenizer.
MERGES = [[64, 79], [81, 68], [513, 323], [512, 79], [67, 78], [516, 70]]
SUBWORDS = sogclr_tf.SubwordTokenizer(MERGES)


def encoder(words=WORDS, **options):
    keras.utils.set_random_seed(0)
    return sogclr_tf.TextEncoder(words, **{"length": 5, "width": 8, "heads": 2, **options})


class TestVocabulary:
    def test_most_frequent_first_without_case_and_punctuation(self):
        assert WORDS[:4] == ["", "[UNK]", "red", "apple"]
        assert set(WORDS[4:]) == {"heart", "green", "two", "dogs", "a", "dog"}

    def test_of_a_dataset(self):
        assert sogclr_tf.vocabulary(tf.data.Dataset.from_tensor_slices(TEXTS)) == WORDS

    def test_rare_words_are_dropped(self):
        assert sogclr_tf.vocabulary(TEXTS, max_tokens=4) == WORDS[:4]

    def test_bad_input(self):
        with pytest.raises(ValueError, match="max_tokens is 2"):
            sogclr_tf.vocabulary(TEXTS, max_tokens=2)
        with pytest.raises(ValueError, match="hold no word"):
            sogclr_tf.vocabulary(["", "!"])


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
            ({"words": SUBWORDS, "length": 1}, "length is 1: give a whole number >= 2"),
            ({"pooling": "max"}, "pooling is 'max'; choose one of mean, last"),
            ({"activation": "relu"}, "activation is 'relu'; choose one of gelu, quick_gelu"),
        ],
    )
    def test_bad_option(self, options, message):
        with pytest.raises(ValueError, match=message):
            encoder(**options)


def normal(x, gamma, beta):
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6) * gamma + beta


def in_loops(built, ids, activate):
    """The features of one text in float64, token by token and head by head."""
    embedding, places, *weights = [np.float64(weight) for weight in built.trainable_weights]
    count = int(built.tokenizer.mask(ids[None]).numpy().sum())
    x = embedding[ids[:count]] + places[:count]
    for _ in range(built.blocks):
        q, q0, k, k0, v, v0, out, out0, widen, widen0, narrow, narrow0, *norms = weights[:16]
        weights = weights[16:]
        y, attended = normal(x, *norms[:2]), np.zeros_like(x)
        for token in range(count):
            seen = y[: token + 1] if built.causal else y
            for head in range(built.heads):
                query = y[token] @ q[:, head] + q0[head]
                keys, values = seen @ k[:, head] + k0[head], seen @ v[:, head] + v0[head]
                share = np.exp(keys @ query / np.sqrt(len(query)))
                attended[token] += (share / share.sum()) @ values @ out[head]
        x = x + attended + out0
        x = x + activate(normal(x, *norms[2:]) @ widen + widen0) @ narrow + narrow0
    x = normal(x, *weights)
    return x[-1] if built.pooling == "last" else x.mean(0)


class TestClipsShape:
    TEXTS = ("red apple", "", "a re-read dog led", "APPLE")
    CLIP = {"words": SUBWORDS, "length": 9, "blocks": 2, "causal": True, "pooling": "last"}

    @pytest.mark.slow(reason="an encoder of full size is made")
    def test_as_many_weights_as_openais(self):
        """63,428,096 with the projection of 512 x 512, of 49,408 tokens at 77 places."""
        merges = np.arange(49_408 - 514)
        tokenizer = sogclr_tf.SubwordTokenizer(np.stack([merges // 256, merges % 256], axis=1))
        shape = {"words": tokenizer, "length": 77, "width": 512, "blocks": 12, "heads": 8}
        built = encoder(**{**self.CLIP, **shape})
        count = sum(int(np.prod(weight.shape)) for weight in built.trainable_weights)
        assert count == 63_165_952 == 63_428_096 - 512 * 512

    @pytest.mark.parametrize(
        ("options", "activate"),
        [
            ({"activation": "quick_gelu"}, lambda x: x / (1 + np.exp(-1.702 * x))),
            (
                {"causal": False, "pooling": "mean", "blocks": 1},
                lambda x: x * (1 + special.erf(x / np.sqrt(2))) / 2,
            ),
        ],
    )
    def test_equals_the_loop_form(self, options, activate):
        built = encoder(**{**self.CLIP, **options})
        random = np.random.default_rng(0)
        for weight in built.trainable_weights:
            weight.assign(weight + 0.2 * random.standard_normal(weight.shape))
        tokens = built.tokenize(self.TEXTS).numpy()
        want = [in_loops(built, ids, activate) for ids in tokens]
        assert_close(built(tokens), want, terms=1000)
        compiled = tf.function(built, jit_compile=True)
        assert_close(compiled(tf.constant(tokens)), want, terms=1000)

    def test_what_is_behind_the_end_counts_for_nothing(self):
        built = encoder(**{**self.CLIP, "causal": False})
        tokens = built.tokenize(["red"]).numpy()
        behind = np.where(built.tokenizer.mask(tokens), tokens, 5)
        assert_close(built(behind), built(tokens))

    def test_no_words_have_no_last(self):
        built = encoder(pooling="last")
        features = built(built.tokenize(["", "red"]))
        np.testing.assert_array_equal(features[0], np.zeros(8))
        assert np.abs(features[1]).max() > 0.1

    @pytest.mark.usefixtures("bfloat16_policy")
    def test_features_stay_float32(self):
        built = encoder(**self.CLIP)
        assert built.compute_dtype == "bfloat16"
        keras.mixed_precision.set_dtype_policy("float32")
        exact = encoder(**self.CLIP)
        exact.set_weights(built.get_weights())
        tokens = built.tokenize(self.TEXTS)
        assert built(tokens).dtype == tf.float32
        assert_close(built(tokens), exact(tokens), dtype="bfloat16")


class TestVocabularyIsAWeight:
    # As many bytes and words, but in another order: the shapes alone tell nothing.
    OTHER = [*WORDS[:2], *WORDS[2:][::-1]]

    @pytest.mark.parametrize(
        ("kind", "suffix"),
        [
            *(("words", suffix) for suffix in (".weights.h5", ".keras", "checkpoint")),
            *(("subwords", suffix) for suffix in (".keras", "checkpoint")),
        ],
    )
    def test_every_format_brings_the_words_along(self, tmp_path, kind, suffix):
        words, other = WORDS, self.OTHER
        if kind == "subwords":
            words = SUBWORDS
            other = sogclr_tf.SubwordTokenizer([*MERGES[1::-1], [512, 323], [513, 79], *MERGES[4:]])
        built, again = encoder(words), encoder(other)
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
        np.testing.assert_array_equal(again.tokenizer.state, built.tokenizer.state)
        np.testing.assert_array_equal(again.tokenize(TEXTS), built.tokenize(TEXTS))
        np.testing.assert_array_equal(again(again.tokenize(TEXTS)), built(built.tokenize(TEXTS)))

    def test_words_beyond_ascii(self):
        words = sogclr_tf.vocabulary(["Ångström ñandú 猫"])
        assert set(encoder(words).words) == set(words) >= {"ñandú", "猫"}
