"""Accuracy on held-out images while training goes on."""

import keras
import numpy as np
import pytest
from support.small_model import IMAGES, LABELS, labeled
from support.small_model import probed_model as model

import sogclr_tf
from sogclr_tf.evaluation.features import extract_features
from sogclr_tf.evaluation.neighbors import knn_predict
from sogclr_tf.training.optimizers import build_optimizer


def held_out(every_epochs=1, **options):
    return sogclr_tf.HeldOutAccuracy(
        (IMAGES[:16], LABELS[:16]),
        (IMAGES[16:], LABELS[16:]),
        every_epochs=every_epochs,
        neighbors=3,
        **options,
    )


def nearest(encoder):
    """The accuracy of kNN on the features of an encoder."""
    bank, queries = (extract_features(encoder, x) for x in (IMAGES[:16], IMAGES[16:]))
    guessed = knn_predict(bank, LABELS[:16], queries, k=3, num_classes=3)
    return np.mean(guessed == LABELS[16:])


def test_it_is_what_evaluation_says():
    built, monitor = model(), held_out()
    history = built.fit(labeled(), epochs=2, callbacks=[monitor], verbose=0).history
    assert history["knn_top1"][-1] == nearest(built.encoder)
    bank, queries = (extract_features(built.encoder, x) for x in (IMAGES[:16], IMAGES[16:]))
    guessed = built.probe.classify(queries, population=bank).numpy()
    assert history["probe_top1"][-1] == np.mean(guessed == LABELS[16:])


def test_every_so_many_epochs_and_at_the_end():
    built, monitor, measured = model(probe=False), held_out(every_epochs=2), []
    epochs = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: measured.append((epoch, "knn_top1" in logs))
    )
    built.fit(labeled(), epochs=5, callbacks=[monitor, epochs], verbose=0)
    assert measured == [(0, False), (1, True), (2, False), (3, True), (4, True)]
    assert set(monitor.measure()) == {"knn_top1"}


def test_the_encoder_is_traced_once_and_left_alone():
    built, monitor, traced = model(), held_out(), []
    built.fit(labeled(), callbacks=[monitor], verbose=0)
    weights = built.encoder.get_weights()
    call = built.encoder.call
    built.encoder.call = lambda *args, **options: traced.append(1) or call(*args, **options)
    monitor.measure()
    assert not traced
    for ours, theirs in zip(built.encoder.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow(reason="a training with measurements")
def test_of_an_optimizer_that_averages_weights_it_measures_the_averages():
    built, monitor, wanted = model(probe=False), held_out(), {"weights": [], "averages": []}
    optimizer = build_optimizer("sgd", 0.5, ema=0.75)
    built.compile(optimizer, run_eagerly=True)

    class Measure(keras.callbacks.Callback):
        """By an encoder of its own, before the monitor and after it."""

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            encoder = self.model.encoder
            kept = encoder.get_weights()
            for weight, before in zip(self.before, self.model.trainable_weights, strict=True):
                np.testing.assert_array_equal(weight, before)
            wanted["weights"].append(nearest(encoder))
            averages = iter(optimizer._model_variables_moving_average)
            for weight in encoder.trainable_weights:
                weight.assign(next(averages))
            wanted["averages"].append(nearest(encoder))
            encoder.set_weights(kept)

        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
            self.before = [weight.numpy() for weight in self.model.trainable_weights]

    history = built.fit(labeled(), epochs=2, callbacks=[monitor, Measure()], verbose=0).history
    assert history["knn_top1"] == wanted["averages"] != wanted["weights"]
    # They are in place by now.
    assert monitor.measure() == {"knn_top1": wanted["averages"][-1]}


def test_refuses():
    with pytest.raises(ValueError, match="every_epochs is 0: measure every 1 or more"):
        held_out(every_epochs=0)
