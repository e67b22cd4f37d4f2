"""The trainings of the studies on CIFAR-10: images, views, network, losses by name, and scores."""

import functools
from typing import NamedTuple

import sogclr_tf

# The batch at which the base of a learning rate is that rate.
RATE_BATCH = 64


class Run(NamedTuple):
    """One training; its fields name it.

    Attributes:
        rate: base of the learning rate, which is rate * sqrt(batch / RATE_BATCH).
        seed: of the first weights, the views and their order, which are the same for every method.
    """

    method: str
    batch: int
    rate: float
    epochs: int
    seed: int
    temperature: float = 0.1


@functools.cache
def load(data_dir, split):
    """(uint8 [N, 32, 32, 3], int32 [N]) of a split, kept by the process that trains."""
    import numpy as np

    from sogclr_tf.data.sources.open import from_name

    source = from_name("cifar10", split, data_dir)
    images, labels = source.images_and_labels()
    return np.stack(list(images.as_numpy_iterator())), labels


def policy():
    """How the views of all trainings are drawn."""
    return sogclr_tf.Policy(size=32, min_area=0.2, strength=0.5)


def contrastive_loss(method, num_examples, temperature):
    """The loss that a method names: "SimCLR", "DCL" or "SogCLR GAMMA [RULE [DRIFT_RATE]]"."""
    name, *options = method.split()
    if name == "SimCLR":
        return sogclr_tf.NTXentLoss(temperature)
    if name == "DCL":
        return sogclr_tf.DecoupledContrastiveLoss(temperature)
    gamma, rule, drift_rate, *_ = (*options, *("constant", "0")[len(options) - 1 :])
    return sogclr_tf.GlobalContrastiveLoss(
        num_examples, temperature, float(gamma), gamma_rule=rule, drift_rate=float(drift_rate)
    )


def fit(run, images):
    """The model of a run, trained: Adam, whose rate falls along a cosine after a short warm-up."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(run.seed)
    views = sogclr_tf.training_views(images, batch_size=run.batch, policy=policy(), seed=run.seed)
    encoder = sogclr_tf.small_resnet(widths=(16, 32, 64, 128), stem_stride=2)
    model = sogclr_tf.SogCLR(encoder, contrastive_loss(run.method, len(images), run.temperature))
    steps = run.epochs * views.steps_per_epoch
    rate = run.rate * (run.batch / RATE_BATCH) ** 0.5
    schedule = sogclr_tf.warmup_cosine(rate, total_steps=steps, warmup_steps=steps // 20)
    model.compile(keras.optimizers.Adam(schedule))
    model.fit(views, epochs=run.epochs, verbose=0)
    return model


def evaluate(encoder, images, labels, data_dir):
    """The scores of a trained encoder in percent, by the labels of its training images."""
    features = sogclr_tf.extract_features(encoder, images)
    held_out, test = load(data_dir, "train[40000:45000]"), load(data_dir, "test")
    found = {}
    for name, (queries, expected) in (("validation_knn", held_out), ("knn", test)):
        encoded = sogclr_tf.extract_features(encoder, queries)
        guessed = sogclr_tf.knn_predict(features, labels, encoded, k=50, num_classes=10)
        found[name] = percent(guessed == expected)
    guessed = sogclr_tf.fit_linear_probe(features, labels).scores(encoded).argmax(axis=1)
    return {**found, "linear": percent(guessed == expected)}


def percent(correct):
    return round(100 * float(correct.mean()), 2)
