"""A text tower over subwords, served."""

import keras
import pytest
import tensorflow as tf
from support.numerics import assert_close

import sogclr_tf


@pytest.mark.slow(reason="two towers are exported")
def test_strings_in_and_embeddings_out(tmp_path):
    """The vocabulary is in the graph, where that of words is a table that an export must track."""
    keras.utils.set_random_seed(0)
    images = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
    subwords = sogclr_tf.SubwordTokenizer([[64, 65], [66, 67], [512, 322]])
    texts = sogclr_tf.TextEncoder(subwords, length=6, width=8, heads=2, pooling="last")
    built = sogclr_tf.TwoTowerSogCLR(images, texts, sogclr_tf.CLIPLoss())
    *_, path = sogclr_tf.export_towers(built, tmp_path)
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    given = ["a b c", "abc", "", "unheard of, 猫"]
    got = served(texts=tf.constant(given))["embeddings"]
    assert_close(got, built.embed_texts(given), terms=4)
