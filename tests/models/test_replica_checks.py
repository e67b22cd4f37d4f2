"""What is said of several replicas before they train."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.small_model import views

import sogclr_tf
from sogclr_tf.models import replica_checks
from sogclr_tf.training import strategy

DEVICES = ["CPU:0", "CPU:1"]


@pytest.fixture(scope="module")
def two_replicas():
    return tf.distribute.MirroredStrategy(
        DEVICES, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def network(norms=1):
    """An encoder with batch normalization as Keras makes it, in a nested model."""
    layers = [keras.layers.BatchNormalization(name=f"norm{i}") for i in range(norms)]
    inner = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    return keras.Sequential([keras.Input((8, 8, 3)), inner, keras.layers.Flatten()])


def compiled(encoder, **options):
    model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
    model.compile(keras.optimizers.SGD(0.01, **options), jit_compile=False)
    return model


def warnings(caplog):
    """What is said of replicas, not by TensorFlow of traces or by the model of its features."""
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    return [message for message in said if "replicas" in message]


class TestFit:
    """Refused before it trains, having warned."""

    def test_accumulation_and_plain_batch_normalization(self, two_replicas, caplog):
        with two_replicas.scope():
            model = compiled(network(norms=5), gradient_accumulation_steps=2)
        refused = "gradient_accumulation_steps is 2 on 2 replicas of MirroredStrategy: .* leave it"
        with pytest.raises(ValueError, match=refused):
            model.fit(views())
        assert warnings(caplog) == [
            "5 trainable BatchNormalization layers (norm0, norm1, norm2, ...) take statistics of "
            "one of 2 replicas alone, so that training differs from that on one device: call "
            "sogclr_tf.synchronize_batch_norm(encoder) before fit"
        ]

    def test_accumulation_on_one_mirrored_replica(self):
        """Keras fails there too, in the middle of the first step."""
        replica_checks.check_accumulation(1, tf.distribute.MirroredStrategy(["CPU:0"]))
        with pytest.raises(ValueError, match="steps is 2 on 1 replica of MirroredStrategy: Keras"):
            replica_checks.check_accumulation(2, tf.distribute.MirroredStrategy(["CPU:0"]))
        for strategy_ in (tf.distribute.OneDeviceStrategy("CPU:0"), tf.distribute.get_strategy()):
            replica_checks.check_accumulation(2, strategy_)

    @pytest.mark.slow(reason="two steps are traced")
    def test_one_device_accumulates_without_a_word(self, caplog):
        model = compiled(network(), gradient_accumulation_steps=3)
        before = model.encoder.get_weights()[0]
        model.fit(views(), steps_per_epoch=2, verbose=0)
        np.testing.assert_array_equal(model.encoder.get_weights()[0], before)
        model.fit(views(), initial_step=2, steps_per_epoch=3, verbose=0)
        assert np.abs(model.encoder.get_weights()[0] - before).max() > 0
        assert warnings(caplog) == []


def adding(*layers):
    """An encoder whose first layer adds a loss of its outputs."""
    first = keras.layers.ActivityRegularization(l2=0.1, name="first")
    return keras.Sequential([keras.Input((8, 8, 3)), first, *layers, keras.layers.Flatten()])


class TestLossesOfOutputs:
    """Those that the threads of replicas share."""

    def test_whom_it_concerns(self, two_replicas):
        with two_replicas.scope():
            loss, probe = sogclr_tf.NTXentLoss(), sogclr_tf.OnlineProbe(3)
            alone = sogclr_tf.SogCLR(adding(), loss, keras.layers.Dense(8), probe)
            both = sogclr_tf.SogCLR(adding(keras.layers.BatchNormalization()), loss)
        replica_checks.check_own_losses(alone, two_replicas)
        replica_checks.check_own_losses(both, tf.distribute.get_strategy())
        with pytest.raises(ValueError, match="layer 'first' has an activity_regularizer beside"):
            replica_checks.check_own_losses(both, two_replicas)


class TestBatchNormalization:
    def warned(self, encoder, caplog, strategy):
        caplog.clear()
        model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
        replica_checks.warn_of_batch_norm(model, strategy)
        return warnings(caplog)

    def test_whom_it_concerns(self, two_replicas, caplog):
        frozen = network()
        frozen.trainable = False
        one = tf.distribute.get_strategy()
        ours = sogclr_tf.small_resnet(widths=[4], input_shape=(8, 8, 3))
        assert len(self.warned(network(), caplog, two_replicas)) == 1
        assert self.warned(network(), caplog, one) == []
        assert self.warned(frozen, caplog, two_replicas) == []
        assert self.warned(ours, caplog, two_replicas) == []
        synchronized = sogclr_tf.synchronize_batch_norm(network())
        assert self.warned(synchronized, caplog, two_replicas) == []

    def test_synchronized_ones_stay_so_in_files(self, tmp_path):
        encoder = network(norms=2)
        weights = encoder.get_weights()
        assert sogclr_tf.synchronize_batch_norm(encoder) is encoder
        for before, after in zip(weights, encoder.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)
        encoder.save(tmp_path / "encoder.keras")
        loaded = keras.models.load_model(tmp_path / "encoder.keras")
        copy = keras.Sequential.from_config(encoder.get_config())
        for network_ in (encoder, loaded, copy):
            assert [layer.synchronized for layer in network_.layers[0].layers] == [True, True]

    @pytest.mark.slow(reason="an export is traced")
    def test_synchronized_ones_can_be_exported(self, tmp_path):
        encoder = sogclr_tf.synchronize_batch_norm(network(norms=2))
        served = tf.saved_model.load(str(sogclr_tf.export_encoder(encoder, tmp_path / "served")))
        images = tf.random.stateless_uniform((4, 8, 8, 3), [0, 1])
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(served(images, training=True) ** 2)
        assert all(g is not None for g in tape.gradient(total, served.trainable_variables))


class TestStrategies:
    """Two that exchange by collectives do not go together; any other two do."""

    @pytest.fixture(autouse=True)
    def as_in_a_new_process(self, monkeypatch):
        monkeypatch.setattr(replica_checks, "_trained_on", [])

    def test_a_second_one_is_refused_where_the_model_is_made(self):
        first, second = (tf.distribute.MirroredStrategy(DEVICES) for _ in range(2))
        replica_checks.check_only_strategy(second)
        replica_checks.check_only_strategy(first, trains=True)
        replica_checks.check_only_strategy(first, trains=True)
        with second.scope(), pytest.raises(ValueError, match="make one strategy and use it for"):
            compiled(network())

    def test_one_that_has_no_collectives(self, two_replicas):
        first = tf.distribute.MirroredStrategy(DEVICES)
        for taken in (first, two_replicas, tf.distribute.get_strategy()):
            replica_checks.check_only_strategy(taken, trains=True)

    def test_the_named_one_is_one(self):
        assert strategy.build_strategy("mirrored") is strategy.build_strategy("mirrored")
