"""The vocabulary of a run that goes on."""

import keras
import numpy as np
import pytest

import sogclr_tf
from sogclr_tf.experiment.kept_vocabulary import kept_vocabulary

WORDS = ["", "[UNK]", "ñandú", "猫"]
MERGES = [[64, 65], [512, 322]]


def saved(words, folder):
    """A checkpoint of a model over these words."""
    images = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten()])
    texts = sogclr_tf.TextEncoder(words, length=2, width=4, blocks=0)
    model = sogclr_tf.TwoTowerSogCLR(images, texts, sogclr_tf.CLIPLoss())
    model.compile(keras.optimizers.SGD(0.1))
    sogclr_tf.Checkpoints(model, folder).save()


@pytest.mark.parametrize("words", [WORDS, sogclr_tf.SubwordTokenizer(MERGES)])
def test_is_that_of_the_checkpoints(words, tmp_path):
    assert kept_vocabulary(tmp_path) is None
    saved(words, tmp_path)
    kept = kept_vocabulary(tmp_path)
    if words is WORDS:
        assert kept == WORDS
    else:
        np.testing.assert_array_equal(kept.merges, MERGES)
    # A newer one that is cut off.
    (index,) = tmp_path.glob("step-*.index")
    index.with_name("step-9.index").write_bytes(index.read_bytes()[:50])
    assert kept_vocabulary(tmp_path) is not None
    index.unlink()
    assert kept_vocabulary(tmp_path) is None
