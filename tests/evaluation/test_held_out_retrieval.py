"""The recall on held-out pairs, measured while training goes on."""

import keras
import numpy as np
import pytest
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf.evaluation.pair_embeddings import PairEmbedder

N, SIDE = 24, 8
COLORS = np.arange(N) % 3
IMAGES = np.random.default_rng(0).integers(0, 60, (N, SIDE, SIDE, 3)).astype(np.uint8)
IMAGES[np.arange(N), :, :, COLORS] += 150
NAMES = ["red", "green", "blue"]
TEXTS = [f"{NAMES[color]} {number}" for number, color in enumerate(COLORS)]


def model():
    keras.utils.set_random_seed(0)
    words = sogclr_tf.TextEncoder(sogclr_tf.vocabulary(TEXTS), length=2, width=8, heads=2)
    layers = [keras.Input((SIDE, SIDE, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
    built = sogclr_tf.TwoTowerSogCLR(keras.Sequential(layers), words, sogclr_tf.CLIPLoss())
    built.compile(keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.5))
    return built


@pytest.mark.slow(reason="two towers are traced")
def test_it_is_what_the_trained_model_scores():
    """At the epochs that are asked for and the last, and of the averages, which fit ends with."""
    built = model()
    watch = sogclr_tf.HeldOutRetrieval(
        IMAGES, TEXTS, labels=COLORS, class_names=NAMES, every_epochs=2, ks=(1, 3)
    )
    policy = sogclr_tf.Policy(size=SIDE, min_area=0.5)
    pairs = sogclr_tf.training_pairs(IMAGES, TEXTS, batch_size=8, policy=policy)
    logs = {}
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, found: logs.update({epoch: dict(found)})
    )
    built.fit(pairs, epochs=3, verbose=0, callbacks=[watch, record])
    assert ["zero_shot_top1" in logs[epoch] for epoch in range(3)] == [False, True, True]
    of_images, of_texts = built.embed_images(IMAGES), built.embed_texts(TEXTS)
    found = sogclr_tf.recall(of_images, of_texts, (1, 3))
    wanted = {
        f"{way}_recall{k}": value
        for way, recalls in found._asdict().items()
        for k, value in recalls.items()
    }
    classes = sogclr_tf.zero_shot(of_images, built.embed_texts(NAMES))
    wanted["zero_shot_top1"] = float(np.mean(classes == COLORS))
    assert {name: logs[2][name] for name in wanted} == pytest.approx(wanted)


def test_batches_of_texts_are_padded_to_one_shape():
    built = model()
    embed = PairEmbedder(built, batch_size=7)
    assert_close(embed.texts(TEXTS), built.embed_texts(TEXTS), terms=SIDE)
    assert_close(embed.images(IMAGES), built.embed_images(IMAGES), terms=SIDE * SIDE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every_epochs": 0}, "every_epochs is 0"),
        ({"texts": []}, "texts are none"),
        ({"labels": COLORS}, "labels and class_names go together"),
    ],
)
def test_one_clear_line(options, message):
    with pytest.raises(ValueError, match=message):
        sogclr_tf.HeldOutRetrieval(**{"images": IMAGES, "texts": TEXTS, **options})
