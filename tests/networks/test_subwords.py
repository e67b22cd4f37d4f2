"""Subwords in a graph against the package `tokenizers`, and the files that hold them."""

import gzip
import importlib.util
import pathlib
import time

import numpy as np
import pytest
import tensorflow as tf

import sogclr_tf
from sogclr_tf.networks import byte_pairs
from sogclr_tf.networks.subwords import SubwordTokenizer

tokenizers = pytest.importorskip("tokenizers")

TEXTS = [
    *("a red apple and a red heart", "two dogs, two cats; it's raining on the dogs' house"),
    *(
        "naïve café crème",
        "東京タワー 東京",
        "👩‍👩‍👧 family 👩‍👩‍👧",
        "they're 1234 apples, aren't they?",
    ),
    *("Ångström ñandú Ångström", "привет мир, привет", "ha haha hahaha hahahaha"),
]
AWKWARD = [
    *("", "   ", "!", "'", "''s's", "DON'T WE'LL 'S", "x" * 3000, "ab" * 700 + " a" * 50),
    *(
        "a1b22c333",
        "!!!??? ...---",
        "\tTab\nnew\u3000wide\u00a0no-break\u2028line",
        "__init__ #tag",
    ),
    *("ΑΣ ὈΔΥΣΣΕΎΣ", "İstanbul ſ", "e\u0301 combining a\u0345b", "½ ² Ⅷ", "สวัสดีครับ हिन्दी भाषा"),
    *("猫が好き", "🙂🙂 👩‍👩‍👧", "\u200b zero\u200bwidth", "\x00", "😀" * 40, "aaaa aaaaa aaaaaa"),
]
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@pytest.fixture(scope="module")
def tokenizer():
    return SubwordTokenizer.train(TEXTS, max_tokens=700)


def by_the_library(tokenizer):
    """`tokenizers`' own, of the same merges and CLIP's pattern."""
    pieces = tokenizer.pieces
    merges = [(pieces[left], pieces[right]) for left, right in tokenizer.merges]
    vocabulary = {}
    for token, piece in enumerate(pieces):
        vocabulary.setdefault(piece, token)
    other = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, merges, end_of_word_suffix="</w>")
    )
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERN), "removed", invert=True)
    bytes_alone = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    other.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, bytes_alone])
    # Its own Lowercase knows no final sigma.
    return lambda texts: [other.encode(text.lower()).ids for text in texts]


class TestIds:
    def test_equal_the_library(self, tokenizer):
        texts = [*TEXTS, *(text for text in AWKWARD if "\x00" not in text)]
        # Longer words are merged in parts, which the library knows nothing of.
        texts = [text for text in texts if len(text.encode()) <= byte_pairs.LONGEST]
        assert tokenizer.ids(texts).to_list() == by_the_library(tokenizer)(texts)

    def test_equal_the_library_on_captions(self, emoji_dir):
        texts = sogclr_tf.TfdsSource("emoji", data_dir=emoji_dir, text="caption").texts()
        tokenizer = SubwordTokenizer.train(texts[:800], max_tokens=1500)
        straight = [text.replace("’", "'").replace("“", '"').replace("”", '"') for text in texts]
        assert tokenizer.ids(texts).to_list() == by_the_library(tokenizer)(straight)

    def test_by_hand(self):
        """Of "ab b" with a, b</w> merged: one token, and the byte that ends a word."""
        pieces = [chr(code) for code in range(ord("!"), ord("~") + 1)]
        a, b = pieces.index("a"), pieces.index("b")
        built = SubwordTokenizer([[a, 256 + b], [a, a]])
        assert (built.size, built.start, built.end) == (516, 514, 515)
        assert built.ids(["ab b", "AB", "aab", "aaaab"]).to_list() == [
            [512, 256 + b],
            [512],
            [a, 512],
            # The pair that overlaps another is left to it, from the left.
            [513, a, 512],
        ]

    def test_a_piece_of_two_merges_is_one_token(self):
        pieces = [chr(code) for code in range(ord("!"), ord("~") + 1)]
        a, b, c = (pieces.index(letter) for letter in "abc")
        built = SubwordTokenizer([[a, b], [b, c], [512, c], [a, 513], [515, a]])
        assert built.pieces[514] == built.pieces[515] == "abc"
        assert built.ids(["abcaz"]).to_list()[0][0] == 516

    def test_what_is_no_text(self, tokenizer):
        broken = tokenizer.ids([b"a\xff\xfeb \xc3", b"red\x00 heart\xef\xbb\xbf", "it’s “so”"])
        assert broken.to_list() == tokenizer.ids(["a��b �", "red heart", 'it\'s "so"']).to_list()

    def test_a_long_word_is_merged_in_parts(self, tokenizer):
        word = "".join(np.random.default_rng(0).choice(list("aehlpr"), 10_000))
        start = time.process_time()
        (ids,) = tokenizer.ids([word]).to_list()
        assert time.process_time() - start < 20
        assert "".join(tokenizer.pieces[token] for token in ids) == f"{word}</w>"
        parts = [word[at : at + byte_pairs.LONGEST] for at in range(0, 9000, byte_pairs.LONGEST)]
        # None of them ends a word: what follows is cut off again.
        first = [tokenizer.ids([part]).to_list()[0] for part in parts]
        assert ids[: len(first[0]) - 1] == first[0][:-1]

    def test_of_no_texts(self, tokenizer):
        assert tokenizer.ids([]).to_list() == []
        assert tokenizer.tokens([], 5).shape == (0, 5)


class TestTokens:
    def test_start_end_and_padding(self, tokenizer):
        apple = tokenizer.ids(["apple"]).to_list()[0]
        got = tokenizer.tokens(["apple", "", " \t", "1 2 3 4 5 6 7"], 6).numpy()
        start, end, numbers = tokenizer.start, tokenizer.end, tokenizer.ids(["1 2 3 4"]).to_list()
        padded = [start, *apple, end, 0, 0, 0, 0]
        np.testing.assert_array_equal(got[0], padded[:6])
        np.testing.assert_array_equal(got[1:3], [[start, end, 0, 0, 0, 0]] * 2)
        np.testing.assert_array_equal(got[3], [start, *numbers[0], end])
        mask = tokenizer.mask(got).numpy()
        np.testing.assert_array_equal(mask.sum(1), [2 + len(apple), 2, 2, 6])
        assert (mask == (np.arange(6) < mask.sum(1)[:, None])).all()

    def test_in_a_pipeline_their_shape_is_known(self, tokenizer):
        stream = tf.data.Dataset.from_tensor_slices(TEXTS[:6]).batch(3, drop_remainder=True)
        stream = stream.map(lambda texts: tokenizer.tokens(texts, 9))
        assert stream.element_spec.shape == (3, 9)
        got = np.concatenate(list(stream.as_numpy_iterator()))
        np.testing.assert_array_equal(got, tokenizer.tokens(TEXTS[:6], 9))

    def test_a_saved_graph_takes_strings(self, tokenizer, tmp_path):
        module = tf.Module()
        texts = tf.TensorSpec([None], tf.string)
        module.tokens = tf.function(lambda some: tokenizer.tokens(some, 12), [texts])
        tf.saved_model.save(module, str(tmp_path))
        got = tf.saved_model.load(str(tmp_path)).tokens(tf.constant(AWKWARD))
        np.testing.assert_array_equal(got, tokenizer.tokens(AWKWARD, 12))


class TestTraining:
    def test_the_same_texts_give_the_same(self, tokenizer):
        batches = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2)
        for texts in (TEXTS, np.array(TEXTS), batches):
            again = SubwordTokenizer.train(texts, max_tokens=700)
            np.testing.assert_array_equal(again.merges, tokenizer.merges)

    def test_size(self, tokenizer):
        assert 540 < tokenizer.size <= 700
        small = SubwordTokenizer.train(TEXTS, max_tokens=530)
        assert small.size == 530
        np.testing.assert_array_equal(small.merges, tokenizer.merges[:16])

    def test_bad_input(self):
        with pytest.raises(ValueError, match="max_tokens is 514: at least 515 leave room"):
            SubwordTokenizer.train(TEXTS, max_tokens=514)
        with pytest.raises(ValueError, match="no two letters that occur twice"):
            SubwordTokenizer.train(["", "a b c"])
        with pytest.raises(ValueError, match=r"merges has shape \(0,\): give pairs"):
            SubwordTokenizer([])
        with pytest.raises(
            ValueError, match=r"merges\[1\] is \[513, 3\]: give tokens in \[0, 513\)"
        ):
            SubwordTokenizer([[1, 2], [513, 3]])


class TestFiles:
    def test_round_trip(self, tokenizer, tmp_path):
        plain, packed = tmp_path / "merges.txt", tmp_path / "merges.txt.gz"
        tokenizer.save(plain)
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        for path in (plain, packed):
            np.testing.assert_array_equal(SubwordTokenizer.load(path).merges, tokenizer.merges)
        assert SubwordTokenizer.load(plain, max_tokens=530).size == 530

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"#version: 0.2\nt h\ni n\n", "no piece that ends a word with </w>"),
            (b"t h\nth e</w>\nxx y\n", "merge 2 is 'xx y': expected two pieces, each a byte or"),
            (b"t h\ne</w>\n", "merge 1 is 'e</w>': expected two pieces"),
            (b"\x1f\x8bnot", "is no file of merges"),
            (b"t \xff\n", "is no file of merges"),
        ],
    )
    def test_what_is_none(self, content, message, tmp_path):
        path = tmp_path / "merges.txt"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            SubwordTokenizer.load(path)

    def test_none_at_all(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere.txt does not exist"):
            SubwordTokenizer.load(tmp_path / "nowhere.txt")

    def test_clips_own(self):
        """The tokens that OpenAI's CLIP and its documentation print."""
        package = importlib.util.find_spec("open_clip")
        if package is None:
            pytest.skip("CLIP's file of merges comes with the package open_clip_torch")
        folder = pathlib.Path(package.submodule_search_locations[0])
        clip = SubwordTokenizer.load(folder / "bpe_simple_vocab_16e6.txt.gz")
        assert (clip.size, clip.start, clip.end) == (49_408, 49_406, 49_407)
        got = clip.tokens(["a diagram", "a photo of a cat"], 8).numpy()
        np.testing.assert_array_equal(got[0], [49406, 320, 22697, 49407, 0, 0, 0, 0])
        np.testing.assert_array_equal(got[1], [49406, 320, 1125, 539, 320, 2368, 49407, 0])
        texts = [text for text in (*TEXTS, *AWKWARD) if "\x00" not in text and len(text) < 400]
        assert clip.ids(texts).to_list() == by_the_library(clip)(texts)
