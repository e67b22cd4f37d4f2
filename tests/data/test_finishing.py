"""Views finished on the device: those that the host makes, within a level of 8 bits."""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf.data import finishing, policies
from sogclr_tf.data.changes import COLUMNS, WIDTH
from sogclr_tf.training.strategy import build_strategy

N, BATCH = 48, 16
# In the middle of the second epoch.
STEP = N // BATCH + 1
EVERYTHING = sogclr_tf.Policy((20, 26), jitter=0.7, grayscale=0.3, blur=0.6, solarize=0.4)
AGAIN = pytest.mark.slow(reason="the same for another case, traced and compiled anew")


def pictures(height=24, width=24, channels=3, dtype="uint8"):
    """Smooth ones with noise, as photographs are."""
    random = np.random.default_rng(0)
    rough = random.uniform(-0.4, 1.4, (N, 4, 4, channels))
    smooth = tf.image.resize(rough, (height, width), "bicubic").numpy()
    images = np.clip(smooth + random.normal(0, 0.05, smooth.shape), 0, 1).astype("float32")
    return np.round(images * 255).astype("uint8") if dtype == "uint8" else images


def both(images, make=sogclr_tf.training_views, **options):
    """(the host's batch, the device's, finished), of one step."""
    host, device = (
        next(iter(make(images, batch_size=BATCH, seed=3, finish=finish, **options).stream(STEP)))
        for finish in ("host", "device")
    )
    return host, finishing.finished(device)


def assert_same_views(host, device):
    assert device.keys() == host.keys()
    np.testing.assert_array_equal(device["index"], host["index"])
    for key in ("view_a", "view_b"):
        assert host[key].dtype == tf.uint8
        levels = device[key].numpy() * 255
        assert_close(levels, np.round(levels), terms=4)
        off = abs(np.round(levels).astype(int) - host[key].numpy())
        # What lies between two levels may be rounded to either.
        assert off.max() <= 1
        assert (off > 0).mean() < 1e-3


@AGAIN
@pytest.mark.parametrize("name", ["byol", "simclr", "simclr-cifar"])
def test_published_methods(name):
    policy, policy_b = policies.by_name(name, 24)
    assert_same_views(*both(pictures(), policy=policy, policy_b=policy_b))


@AGAIN
def test_views_of_224_pixels():
    policy, policy_b = policies.by_name("byol", 224)
    images = pictures(230, 230)[:BATCH]
    assert_same_views(*both(images, policy=policy, policy_b=policy_b))


def test_all_operations_on_rectangles():
    assert_same_views(*both(pictures(), policy=EVERYTHING))


@pytest.mark.slow(reason="files are decoded one by one by a pipeline that is traced anew")
def test_files(tmp_path):
    folder = write_folder(tmp_path, pictures())
    assert_same_views(*both(folder, policy=EVERYTHING))


@AGAIN
@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(channels):
    policy = policies.bands(20)[0]
    policy = dataclasses.replace(policy, blur=0.5, solarize=0.5 if channels == 1 else 0.0)
    images = pictures(channels=channels)
    assert_same_views(*both(images, policy=policy, channels=channels))


@AGAIN
def test_float_images_keep_all_levels():
    host, device = both(pictures(dtype="float32"), policy=EVERYTHING)
    for key in ("view_a", "view_b"):
        assert host[key].dtype == device[key].dtype == tf.float32
        # Contrast means over 520 pixels; then each of at most 9 operations rounds.
        assert_close(device[key], host[key], terms=520, at_least=1.0)


@AGAIN
def test_pairs():
    def pairs(images, **options):
        return sogclr_tf.training_pairs(images, ["a word"] * N, **options)

    host, device = both(pictures(), make=pairs, policy=EVERYTHING)
    assert device.keys() == host.keys() == {"image", "text", "index"}
    off = np.round(device["image"] * 255).astype(int) - host["image"].numpy()
    assert abs(off).max() <= 1


@AGAIN
def test_samples_are_finished():
    of_both = [
        sogclr_tf.training_views(pictures(), batch_size=BATCH, finish=finish).samples(4)[1:]
        for finish in ("host", "device")
    ]
    for host, device in zip(*of_both, strict=True):
        assert len(device) == 4
        assert abs(np.round(np.array(device) * 255) - np.array(host)).max() <= 1


@pytest.mark.slow(reason="compiled for each of the replicas")
def test_on_several_devices():
    """Each finishes its rows of the batch, which is that of one device."""
    strategy = build_strategy("mirrored")
    replicas = strategy.num_replicas_in_sync
    assert replicas > 1
    host, device = (
        sogclr_tf.training_views(
            pictures(), batch_size=4 * replicas, policy=EVERYTHING, seed=3, finish=finish
        )
        for finish in ("host", "device")
    )
    batch = next(iter(strategy.experimental_distribute_dataset(device.stream(1))))
    of_each = strategy.run(tf.function(finishing.finished), (batch,))
    found = {
        key: tf.concat(strategy.experimental_local_results(value), axis=0)
        for key, value in of_each.items()
    }
    assert_same_views(next(iter(host.stream(1))), found)


def test_what_is_finished_stays():
    batch = {"view_a": tf.zeros([2, 3, 3, 3]), "label": tf.zeros([2], tf.int32)}
    found = finishing.finished(batch)
    assert found.keys() == batch.keys()
    assert all(found[key] is batch[key] for key in batch)


def test_the_program_has_nothing_that_depends_on_what_was_drawn():
    """No loop, no sort and no place that is looked up, which TPUs do badly."""
    images = tf.zeros([4, 20, 26, 3], tf.uint8)
    compiled = finishing._compiled().experimental_get_compiler_ir(images, tf.zeros([4, WIDTH]))
    operations = set(re.findall(r"= \S+ ([a-z-]+)\(", compiled(stage="hlo")))
    assert "dot" in operations
    assert not operations & {"gather", "scatter", "sort", "while", "dynamic-slice", "custom-call"}


@pytest.mark.slow(reason="images of 224 pixels")
def test_matrix_products_in_bfloat16_cost_few_levels(monkeypatch):
    """As TPUs multiply float32: of rounded factors, added up in float32."""

    def product(equation, *factors, einsum=tf.einsum):
        rounded = [tf.cast(tf.cast(factor, tf.bfloat16), tf.float32) for factor in factors]
        return einsum(equation, *rounded)

    images, changes = tf.constant(pictures(224, 224)[:8]), np.zeros((8, WIDTH), np.float32)
    changes[:, COLUMNS["sigma"]] = np.linspace(0.1, 2.0, 8)
    changes[:, [COLUMNS[name] for name in ("brightness", "contrast", "saturation")]] = 1
    want = finishing._finish(images, tf.constant(changes))
    monkeypatch.setattr(tf, "einsum", product)
    found = finishing._finish(images, tf.constant(changes))
    off = np.round(255 * abs(found - want))
    assert 0 < off.max() <= 2
    assert off.mean() < 0.5


@pytest.fixture(scope="module")
def images():
    return pictures()


def trained(images, finish, *, chunks=1, jit_compile=False):
    """The weights after 4 steps and the losses of the epochs."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [keras.Input((20, 26, 3)), keras.layers.Conv2D(4, 5, 5), keras.layers.Flatten()]
    )
    views = sogclr_tf.training_views(images, batch_size=BATCH, policy=EVERYTHING, finish=finish)
    loss = sogclr_tf.GlobalContrastiveLoss(num_examples=N, temperature=0.5)
    model = sogclr_tf.SogCLR(encoder, loss, keras.layers.Dense(8), chunks=chunks)
    model.compile(keras.optimizers.SGD(0.01), jit_compile=jit_compile)
    history = model.fit(views, epochs=2, steps_per_epoch=2, validation_data=views, verbose=0)
    return model.get_weights(), history.history


class TestTraining:
    @pytest.fixture(scope="class")
    def on_host(self, images):
        return trained(images, "host")

    @pytest.mark.parametrize(
        "options",
        [{}, *(pytest.param(one, marks=AGAIN) for one in ({"chunks": 2}, {"jit_compile": True}))],
        ids=str,
    )
    @pytest.mark.slow(reason="a step is traced for each case")
    def test_a_step_finishes_its_views(self, images, on_host, options):
        weights, history = trained(images, "device", **options)
        for key in ("loss", "val_loss"):
            np.testing.assert_allclose(history[key], on_host[1][key], rtol=1e-4)
        for found, expected in zip(weights, on_host[0], strict=True):
            # Where a view is off, it is by a level of 256.
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

    def test_unfinished_views_would_be_noticed(self, images):
        """What the former test holds to: that views are finished makes a difference."""
        plain = dataclasses.replace(EVERYTHING, flip=0, jitter=0, grayscale=0, blur=0, solarize=0)
        views = sogclr_tf.training_views(images, batch_size=BATCH, policy=plain)
        unfinished = next(iter(views.stream()))["view_a"]
        finished = next(iter(dataclasses.replace(views, policy_a=EVERYTHING).stream()))["view_a"]
        off = abs(tf.cast(unfinished, tf.int32) - tf.cast(finished, tf.int32))
        assert tf.reduce_mean(tf.cast(off, tf.float32)) > 5


class TestRefusals:
    def test_a_function(self, images):
        def own(image, seed):  # noqa: ARG001
            return image

        with pytest.raises(ValueError, match=r"^finish is 'device', but own is a function, .*$"):
            sogclr_tf.training_views(images, batch_size=4, policy=own, finish="device")

    def test_another_place(self, images):
        with pytest.raises(ValueError, match=r"^finish is 'gpu': expected 'host' or 'device'$"):
            sogclr_tf.training_views(images, batch_size=4, finish="gpu")

    def test_changes_of_another_shape(self):
        batch = {"view_a": tf.zeros([2, 8, 8, 3]), "view_a_changes": tf.zeros([2, 7])}
        with pytest.raises(ValueError, match=r"^view_a_changes is float32 \(2, 7\): expected .*$"):
            finishing.finished(batch)
