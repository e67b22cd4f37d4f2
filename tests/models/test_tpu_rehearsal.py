"""The ImageNet recipe on eight devices of another kind."""

import re

import keras
import numpy as np
import pytest
from support.bfloat16 import needs_bfloat16
from support.exhaustive import exhaustive
from support.tpu_steps import CORES, SMALL, imagenet, model, views

from sogclr_tf.training import strategy


class TestRehearsal:
    """The recipe trained on eight CPU devices, as a TPU's eight cores would."""

    @pytest.fixture
    def precision(self):
        yield keras.mixed_precision.set_dtype_policy
        keras.mixed_precision.set_dtype_policy("float32")

    @pytest.fixture(scope="class")
    def mirrored(self):
        # One for all: two of them in a process would share the keys of their collectives.
        return strategy.build_strategy("mirrored")

    def rehearse(self, config, mirrored, steps):
        """Trains the recipe from 48 images; checks what every run must leave behind."""
        built = model(config, mirrored)
        before = {weight.path: np.array(weight) for weight in built.trainable_weights}
        losses = built.fit(views(config), steps_per_epoch=steps, verbose=0).history["loss"]
        assert np.isfinite(losses).all()
        assert built.trained_steps == steps
        self.check_table(built, visited(config, steps))
        self.check_moved(before, {w.path: np.array(w) for w in built.trainable_weights})
        counted = {variable.path for variable in built.metrics_variables}
        for weight in built.weights:
            copies = [copy.numpy() for copy in mirrored.experimental_local_results(weight.value)]
            assert len(copies) == CORES
            # Metrics count on each replica for themselves.
            if weight.path in counted:
                continue
            for copy in copies[1:]:
                np.testing.assert_array_equal(copy, copies[0], err_msg=weight.path)
        return built

    def check_moved(self, before, after):
        """All but the normalizations behind a last gamma of 0, which the first real step opens."""
        still = {path for path, old in before.items() if np.array_equal(after[path], old)}
        closed = {path for path in still if re.search(r"_block\d+_bn[12]/(gamma|beta)$", path)}
        assert still - closed == set()
        opened = {path for path, old in before.items() if path.endswith("gamma") and not old.any()}
        assert opened
        assert opened.isdisjoint(still)

    def check_table(self, built, index):
        table = built.contrastive_loss.log_u.numpy()
        assert table.dtype == np.float32
        assert len(set(index)) == len(index) < len(table)
        assert np.flatnonzero(np.isfinite(table)).tolist() == sorted(index)
        assert np.isneginf(np.delete(table, index)).all()

    @pytest.mark.slow(reason="a ResNet on eight virtual devices")
    def test_the_imagenet_recipe(self, mirrored):
        """Synchronized batch normalization, LARS and its schedule; images of 32."""
        encoder = exhaustive(SMALL, {"name": "resnet18"})
        self.rehearse(imagenet(image_size=32, encoder=encoder), mirrored, steps=2)

    @pytest.mark.slow(reason="a step is traced and compiled anew for each case")
    @needs_bfloat16
    def test_in_bfloat16(self, mirrored, precision):
        precision("mixed_bfloat16")
        built = self.rehearse(imagenet(), mirrored, steps=2)
        assert built.encoder.layers[1].compute_dtype == "bfloat16"
        assert {weight.dtype for weight in built.trainable_weights} == {"float32"}
        assert built.contrastive_loss.compute_dtype == "float32"


def visited(config, steps):
    batches = views(config).stream().take(steps)
    return np.concatenate([batch["index"] for batch in batches]).tolist()
