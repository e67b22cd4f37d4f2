"""The optimizer of a config, its rate and its decay."""

import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close
from support.recipes import TRAIN_EXAMPLES, of, parsed

import sogclr_tf
from sogclr_tf.experiment import build, main
from sogclr_tf.experiment.config import check_config, default_config
from sogclr_tf.experiment.folder import RunFolder


def optimizer_of(config, steps_per_epoch):
    """The optimizer that a model of the config is compiled with."""
    model, strategy = keras.Sequential(), tf.distribute.get_strategy()
    stream = types.SimpleNamespace(steps_per_epoch=steps_per_epoch)
    build.compile_model(config, model, stream, strategy)
    return model.optimizer


class TestOptimizer:
    @pytest.mark.parametrize(
        ("name", "peak", "decay"),
        [
            ("imagenet", 0.075 * 16, 1e-6),
            ("imagenet100", 0.075 * 16, 1e-6),
            ("cifar10", 8.0, 1e-4),
            ("cifar100", 8.0, 1e-4),
        ],
    )
    @pytest.mark.parametrize("suffix", ["", "_simclr"])
    def test_of_the_paper(self, name, peak, decay, suffix):
        """LARS; the rate rises for 10 epochs, then falls along a cosine to 0."""
        config, _ = of(name + suffix)
        steps = TRAIN_EXAMPLES[name] // config.batch_size
        optimizer = optimizer_of(config, steps)
        assert isinstance(optimizer, sogclr_tf.LARS)
        assert (optimizer.momentum, optimizer.coupled_weight_decay) == (0.9, decay)
        last = config.epochs * steps
        expected = {
            0: 0.0,
            5 * steps: peak / 2,
            10 * steps: peak,
            (10 * steps + last) // 2: peak / 2,
            last: 0.0,
        }
        for step, rate in expected.items():
            optimizer.iterations.assign(step)
            assert_close(optimizer.learning_rate, rate, terms=10000)

    @pytest.mark.parametrize(("batch", "peak"), [(128, 0.8485), (8192, 6.7882)])
    def test_of_the_sweep_over_batches(self, batch, peak, monkeypatch):
        """The rate grows with the root of the batch; warm-up and length stay in epochs."""
        config = parsed("imagenet", f"--config.batch_size={batch}", monkeypatch=monkeypatch)
        steps = TRAIN_EXAMPLES["imagenet"] // batch
        optimizer = optimizer_of(config, steps)
        for step, rate in {10 * steps: peak, 405 * steps: peak / 2, 800 * steps: 0.0}.items():
            optimizer.iterations.assign(step)
            np.testing.assert_allclose(optimizer.learning_rate, rate, atol=1e-4)

    def test_of_moco_v3(self):
        """AdamW at 1.5e-4 for 256 examples, 40 epochs of warm-up, 300 in all; frozen patches."""
        config, _ = of("imagenet_vit_small")
        steps = TRAIN_EXAMPLES["imagenet_vit_small"] // 1024
        optimizer = optimizer_of(config, steps)
        assert isinstance(optimizer, keras.optimizers.AdamW)
        assert optimizer.weight_decay == 0.1
        for step, rate in {20 * steps: 3e-4, 40 * steps: 6e-4, 300 * steps: 0.0}.items():
            optimizer.iterations.assign(step)
            assert_close(optimizer.learning_rate, rate, terms=10000, at_least=6e-4)
        encoder = build.encoder(config)
        assert encoder.output_shape == (None, 384)
        assert encoder.get_layer("block12_attention").num_heads == 12
        assert not encoder.get_layer("patches").trainable

    @pytest.mark.parametrize(
        ("name", "peak", "rho", "eta"),
        [("cc3m_fastclip", 1e-3, 6.5, 2e-4), ("cc12m_fastclip", 4e-4, 8.5, 1e-4)],
    )
    def test_of_fastclip(self, name, peak, rho, eta):
        """10,000 steps of warm-up; gamma from 1 to 0.2 over half the epochs, 18 of 37, 16 of 33."""
        config, _ = of(name)
        steps = TRAIN_EXAMPLES[name] // config.batch_size
        optimizer = optimizer_of(config, steps)
        for step, rate in {5000: peak / 2, 10_000: peak, config.epochs * steps: 0.0}.items():
            optimizer.iterations.assign(step)
            assert_close(optimizer.learning_rate, rate, terms=10000, at_least=peak)
        source = types.SimpleNamespace(num_captions=None)
        stream = types.SimpleNamespace(num_examples=8, steps_per_epoch=steps, source=source)
        loss = build.loss(config, stream)
        assert loss.gamma_decay_steps == config.epochs // 2 * steps
        assert (loss.gamma, loss.epsilon, loss.rho, loss.eta) == (0.2, 1e-14, rho, eta)
        assert (loss.temperature_scheme, loss.temperature_optimizer) == ("global", "adam")

    @pytest.mark.parametrize(("parts", "steps"), [(4, 100), (16, 97), (1, 97)])
    def test_accumulated_gradients(self, parts, steps):
        """Scaling, warm-up and cosine are those of a run of as many updates of as many examples."""
        config, _ = of("imagenet")
        config.optimizer.gradient_accumulation_steps = parts
        optimizer = optimizer_of(config, steps)
        assert (optimizer.gradient_accumulation_steps or 1) == parts
        peak, updates = 0.075 * math.sqrt(256 * parts), config.epochs * steps // parts
        warmup = 10 * steps // parts
        for update, rate in {0: 0.0, 1: peak / warmup, warmup: peak, updates: 0.0}.items():
            for call in (update * parts, (update + 1) * parts - 1):
                optimizer._iterations.assign(call)
                assert int(optimizer.iterations) == update
                assert_close(optimizer.learning_rate, rate, at_least=peak)

    def test_more_batches_to_an_update_than_there_are_are_refused(self):
        config, _ = of("imagenet")
        config.epochs, config.optimizer.gradient_accumulation_steps = 2, 9
        config.optimizer.warmup_epochs = 0.0
        with pytest.raises(ValueError, match="steps is 9, but all 2 epochs have 8 batches, so"):
            optimizer_of(config, 4)
        config.optimizer.gradient_accumulation_steps = 8
        assert optimizer_of(config, 4).gradient_accumulation_steps == 8

    def test_no_batches_to_an_update_are_refused(self):
        config = default_config()
        config.optimizer.gradient_accumulation_steps = 0
        with pytest.raises(ValueError, match="accumulation_steps is 0: give the batches that make"):
            check_config(config)

    def test_accumulation_on_replicas_is_refused_before_data_are_read(self, tmp_path):
        config = default_config()
        config.data.name = "./nowhere"
        config.optimizer.gradient_accumulation_steps = 4
        job = main.Job(config, RunFolder(tmp_path), "train", "", "mirrored")
        with pytest.raises(ValueError, match="accumulation_steps is 4 on 2 replicas of Mirrored"):
            main.run(job, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))

    @pytest.mark.parametrize("name", ["imagenet", "cifar10"])
    def test_moves_normalization_without_decay(self, name):
        """Of the recipe's own encoder: LARS leaves alone what has one dimension."""
        config, _ = of(name)
        encoder = build.encoder(config)
        assert encoder.output_shape == (None, 2048)
        optimizer = optimizer_of(config, steps_per_epoch=100)
        left_out = [weight.name in optimizer.exclude for weight in encoder.trainable_weights]
        assert left_out == [len(weight.shape) == 1 for weight in encoder.trainable_weights]
        # Each of the 53 convolutions has a normalization with gamma and beta.
        assert sum(left_out) == 2 * 53
