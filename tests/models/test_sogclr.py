"""The model: fit, weights in every format, replicas, and the contract with a stream."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.bfloat16 import needs_bfloat16
from support.numerics import assert_all_close, assert_close, close
from support.small_model import BATCH, IMAGES, RATE, N, encoder, model, views

import sogclr_tf
from sogclr_tf import Checkpoints
from sogclr_tf.losses.registry import loss_names

TRACED = pytest.mark.slow(reason="a step is traced and compiled anew for each case")
LOGS = {"loss", "contrast_accuracy", "alignment", "uniformity", "feature_std"}


def table(built):
    return built.contrastive_loss.log_u.numpy()


class TestFit:
    def test_logs_and_table(self):
        built = model()
        history = built.fit(views(), epochs=2, verbose=0).history
        assert set(history) == LOGS
        assert -2 < history["loss"][-1] < 2
        assert np.isfinite(table(built)).all()

    def test_training_lowers_the_loss(self):
        """Identical views leave only the spreading of examples, which every step improves."""
        built = model()
        built.compile(optimizer=keras.optimizers.Adam(1e-3))
        still = views(batch_size=N, min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)
        losses = built.fit(still, epochs=20, verbose=0).history["loss"]
        assert losses[-1] < losses[0] - 0.02

    def test_step_is_the_gradient_of_the_objective(self):
        """One SGD step by `fit` equals one written out by hand."""
        batch = next(iter(views().stream()))
        by_fit, by_hand = model(), model()
        by_fit.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
        with tf.GradientTape() as tape:
            both = tf.concat([batch["view_a"], batch["view_b"]], axis=0)
            a, b = tf.split(by_hand.project(both, training=True), 2)
            loss = by_hand.contrastive_loss(a, b, batch["index"])
        gradients = tape.gradient(loss, by_hand.trainable_weights)
        for weight, gradient in zip(by_hand.trainable_weights, gradients, strict=True):
            weight.assign_sub(RATE * gradient)
        for part in ("encoder", "projector", "contrastive_loss"):
            assert_all_close(*(getattr(built, part).get_weights() for built in (by_fit, by_hand)))

    def test_epochs_differ_and_initial_epoch_continues(self):
        whole, halves = model(), model()
        whole.fit(views(), epochs=2, verbose=0)
        halves.fit(views(), epochs=1, verbose=0)
        halves.fit(views(), initial_epoch=1, epochs=2, verbose=0)
        for got, want in zip(halves.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(got, want)

    def test_uint8_views_equal_their_floats(self):
        batch = next(iter(views().stream()))
        coarse = {**batch, **{k: tf.cast(batch[k] * 255, tf.uint8) for k in ("view_a", "view_b")}}
        exact = {
            **coarse,
            **{k: tf.cast(coarse[k], tf.float32) / 255 for k in ("view_a", "view_b")},
        }
        losses = [
            model().fit(tf.data.Dataset.from_tensors(b), verbose=0).history["loss"]
            for b in (coarse, exact)
        ]
        assert losses[0] == close(losses[1])

    def test_arrays_under_the_contract(self):
        """A dictionary of arrays, with further keys, trains as it is."""
        batch = next(iter(views(batch_size=N).stream()))
        arrays = {key: value.numpy() for key, value in batch.items()}
        arrays["label"] = np.zeros(N)
        built = model()
        built.fit(arrays, batch_size=BATCH, verbose=0)
        assert np.isfinite(table(built)).all()

    def test_regularization_of_the_encoder_counts(self):
        kernels = []
        for regularizer in (None, keras.regularizers.L2(1.0)):
            net = encoder(regularizer=regularizer)
            before = net.layers[0].kernel.numpy()
            built = sogclr_tf.SogCLR(net, sogclr_tf.NTXentLoss())
            built.compile(optimizer=keras.optimizers.SGD(0.1))
            built.fit(views(), steps_per_epoch=1, verbose=0)
            kernels.append(net.layers[0].kernel.numpy())
        assert_close(kernels[0] - kernels[1], 0.1 * 2 * before)

    def test_subclassed_encoder_is_built_from_the_data(self):
        class Encoder(keras.Model):
            def __init__(self):
                super().__init__()
                self.pool = keras.layers.GlobalAveragePooling2D()
                self.dense = keras.layers.Dense(5)

            def call(self, images):
                return self.dense(self.pool(images))

        built = sogclr_tf.SogCLR(Encoder(), sogclr_tf.GlobalContrastiveLoss(N))
        built.compile(optimizer="sgd")
        built.fit(views(), verbose=0)
        assert built.predict(IMAGES, verbose=0).shape == (N, 5)

    @pytest.mark.parametrize(
        "policy", [pytest.param("mixed_bfloat16", marks=needs_bfloat16), "mixed_float16"]
    )
    def test_mixed_precision_keeps_loss_and_table_in_float32(self, policy):
        keras.mixed_precision.set_dtype_policy(policy)
        try:
            built = model()
            loss = built.fit(views(), verbose=0).history["loss"][0]
        finally:
            keras.mixed_precision.set_dtype_policy("float32")
        assert np.isfinite(loss)
        assert built.contrastive_loss.log_u.dtype == tf.float32
        assert np.isfinite(table(built)).all()

    @TRACED
    @pytest.mark.parametrize("loss", loss_names())
    def test_the_whole_step_compiles_under_xla(self, loss):
        with tf.device("CPU:0"):
            plain, compiled = model(loss, jit_compile=False), model(loss, jit_compile=True)
            plain.fit(views(), verbose=0)
            compiled.fit(views(), verbose=0)
        assert_all_close(compiled.get_weights(), plain.get_weights())

    def test_steps_per_execution_must_divide_the_epoch(self):
        """Keras would take four steps of an epoch of three."""
        built = model(steps_per_execution=2)
        with pytest.raises(ValueError, match="does not divide the 3 steps .*: choose one of 1, 3"):
            built.fit(views())

    def test_several_steps_at_once_on_several_replicas(self):
        """TensorFlow fails with a placeholder that nobody fed."""
        # Not by collectives, of which a process has one strategy.
        exchange = tf.distribute.ReductionToOneDevice()
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], exchange).scope():
            built = model(steps_per_execution=3)
        with pytest.raises(ValueError, match="is 3 on 2 replicas .*: its collectives fail"):
            built.fit(views())

    def test_steps_per_execution(self):
        one, three = model(), model(steps_per_execution=3)
        one.fit(views(), epochs=2, verbose=0)
        three.fit(views(), epochs=2, verbose=0)
        for got, want in zip(three.get_weights(), one.get_weights(), strict=True):
            assert_close(got, want, terms=4)


class TestWeights:
    @pytest.mark.parametrize("suffix", [".weights.h5", ".keras", "checkpoint"])
    def test_table_survives_bit_for_bit(self, tmp_path, suffix):
        built = model()
        built.fit(views(batch_size=10), steps_per_epoch=1, verbose=0)
        assert 0 < np.isneginf(table(built)).sum() < N
        path = str(tmp_path / f"model{suffix}")
        again = model()
        if suffix == ".keras":
            built.save(path)
            again = keras.saving.load_model(path)
        elif suffix == ".weights.h5":
            built.save_weights(path)
            again.load_weights(path)
        else:
            again_checkpoint = tf.train.Checkpoint(model=again)
            again_checkpoint.restore(tf.train.Checkpoint(model=built).save(path))
        for got, want in zip(again.get_weights(), built.get_weights(), strict=True):
            np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(table(again), table(built))


class TestUse:
    def test_building_again_changes_nothing(self):
        """Where the encoder knows its images, the model is built from the start."""
        built = model()
        weights = built.get_weights()
        built.build((None, *IMAGES.shape[1:]))
        assert_all_close(built.get_weights(), weights)

    def test_call_gives_features_of_uint8_and_float(self):
        built = model()
        features = built.predict(IMAGES, verbose=0)
        want = built.encoder.predict(IMAGES / 255.0, verbose=0)
        assert_close(features, want)

    def test_evaluate_leaves_everything_alone(self):
        built = model()
        built.fit(views(), verbose=0)
        before = built.get_weights()
        logs = built.evaluate(views(), return_dict=True, verbose=0)
        assert set(logs) == LOGS
        for got, want in zip(built.get_weights(), before, strict=True):
            np.testing.assert_array_equal(got, want)

    def test_validation_data(self):
        history = model().fit(views(), validation_data=views(), epochs=2, verbose=0).history
        assert len(history["val_loss"]) == len(history["val_contrast_accuracy"]) == 2

    def test_own_training_loop(self):
        """The objective alone, in a loop that knows nothing of Keras's fit."""
        net, contrastive_loss = encoder(), sogclr_tf.GlobalContrastiveLoss(N)
        optimizer = keras.optimizers.SGD(0.1)
        for batch in views().epoch(0):
            with tf.GradientTape() as tape:
                a, b = net(batch["view_a"], training=True), net(batch["view_b"], training=True)
                loss = contrastive_loss(a, b, batch["index"])
            gradients = tape.gradient(loss, net.trainable_weights)
            optimizer.apply_gradients(zip(gradients, net.trainable_weights, strict=True))
        assert np.isfinite(contrastive_loss.log_u.numpy()).all()


class TestBadInput:
    def test_loss_that_is_none(self):
        with pytest.raises(TypeError, match="expected a loss such as"):
            sogclr_tf.SogCLR(encoder(), "sogclr")

    def test_encoder_without_pooling(self):
        net = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3)])
        with pytest.raises(ValueError, match=r"expected features \[B, C\]"):
            sogclr_tf.SogCLR(net, sogclr_tf.NTXentLoss())

    def test_encoder_for_other_images(self):
        built = sogclr_tf.SogCLR(encoder(channels=1), sogclr_tf.NTXentLoss())
        built.compile(optimizer="sgd")
        with pytest.raises(ValueError, match=r"build it with input_shape=\(8, 8, 3\)"):
            built.fit(views())

    def test_table_too_small_is_named_before_training(self):
        with pytest.raises(ValueError, match="give it num_examples=24"):
            model(num_examples=10).fit(views())

    @pytest.mark.parametrize("wrong", [-1, N])
    def test_index_of_arrays_outside_the_table(self, wrong):
        batch = next(iter(views(batch_size=N).stream()))
        arrays = {key: value.numpy() for key, value in batch.items()}
        arrays["index"][5] = wrong
        with pytest.raises(ValueError, match=f"{wrong}"):
            model().fit(arrays, batch_size=BATCH)

    @pytest.mark.parametrize("wrong", [-1, N])
    def test_index_of_a_stream_outside_the_table(self, wrong):
        stream = views().stream().map(lambda b: {**b, "index": tf.where(b["index"] == 7, wrong, 0)})
        with pytest.raises(ValueError, match=rf"index {wrong} .* outside \[0, {N}\)"):
            model().fit(stream, steps_per_epoch=6, verbose=0)

    def test_stream_without_index(self):
        stream = views().epoch(0).map(lambda b: {"view_a": b["view_a"], "view_b": b["view_b"]})
        with pytest.raises(ValueError, match="expected a dictionary with view_a, view_b, index"):
            model().fit(stream)

    def test_images_instead_of_views(self):
        with pytest.raises(ValueError, match="expected a dictionary with view_a, view_b, index"):
            model().fit(IMAGES)

    def test_views_of_the_wrong_rank(self):
        stream = views().epoch(0).unbatch()
        with pytest.raises(ValueError, match=r"expected batches \[B, H, W, C\]"):
            model().fit(stream)

    def test_batch_of_one(self):
        stream = views().epoch(0).unbatch().batch(1, drop_remainder=True)
        with pytest.raises(ValueError, match="at least 2 are needed"):
            model().fit(stream)

    def test_targets_are_refused(self):
        with pytest.raises(ValueError, match="no targets"):
            model().fit(views(), np.zeros(N))

    def test_non_finite_loss_stops_and_names_the_step(self, tmp_path):
        class Poison(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):  # noqa: ARG002
                if batch == 2:
                    self.model.encoder.layers[0].kernel.assign(np.full((3, 3, 3, 6), np.nan))

        built = model()
        checkpoints = Checkpoints(built, tmp_path)
        save = sogclr_tf.SaveCheckpoints(checkpoints)
        with pytest.raises(FloatingPointError, match="loss is nan at step 3"):
            built.fit(views(), callbacks=[Poison(), save], verbose=0)
        assert not list(tmp_path.iterdir())
