"""What a run says before it begins."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import sogclr_tf
from sogclr_tf.experiment.config import config_of_file, default_config, recipe_path
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.opening import device_name, opening_block, training_rows


def test_the_block_is_aligned_and_wrapped(tmp_path):
    config = config_of_file(recipe_path("digits.py"))
    images = np.zeros((1300, 8, 8, 3), np.uint8)
    labels = np.arange(1300) % 3
    source = sogclr_tf.ArraySource(images, labels, class_names=list("abc"), name="mine")
    encoders = {
        "small_resnet": keras.Sequential([keras.Input((4,)), keras.layers.Dense(300)]),
        "served": object(),
    }
    rows = [("loss", "sogclr")]
    folder = RunFolder(tmp_path)
    block = opening_block(config, folder, [source, source], encoders, rows, "CPU")
    lines = block.splitlines()
    assert lines[:6] == [
        "data       mine: 1,300 images, 3 classes",
        "test data  mine: 1,300 images, 3 classes",
        "encoder    small_resnet, 1,500 parameters",
        "of texts   served",
        "loss       sogclr",
        "device     CPU",
    ]
    assert lines[6].startswith("config     the defaults, but augment.flip=0.0, augment.grayscale=")
    assert all(line.startswith(" " * 11) and len(line) <= 100 for line in lines[7:-2])
    # What belongs together stays so.
    assert any("encoder.widths=(32, 64, 128)," in line for line in lines)
    assert lines[-2:] == [f"writes to  {tmp_path}", ""]


def test_images_with_several_texts(tmp_path):
    source = types.SimpleNamespace(
        name="pairs\n", size=2000, has_text=True, num_captions=5000, class_names=None
    )
    block = opening_block(default_config(), RunFolder(tmp_path), [source], {}, [], "CPU")
    assert block.splitlines()[0] == r"data       pairs\n: 2,000 images, 5,000 texts"
    assert "config     the defaults\n" in block


def test_rows_of_a_training():
    config = default_config()
    assert training_rows(config, 20, 0, replicas=1) == [
        ("loss", "sogclr, temperature 0.1, gamma 0.9"),
        ("batch", "64"),
        ("steps", "2,000 (20 per epoch x 100 epochs)"),
    ]
    config.loss.name, config.batch_size, config.chunks = "simclr", 4096, 4
    config.optimizer.gradient_accumulation_steps = 2
    assert training_rows(config, 20, 1040, replicas=8) == [
        ("loss", "simclr, temperature 0.1"),
        ("batch", "4,096, 512 on each of 8 replicas, in 4 chunks of 128, 2 batches an update"),
        ("steps", "2,000 (20 per epoch x 100 epochs), 1,040 are done"),
    ]


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="it names a GPU here")
def test_devices():
    assert device_name(tf.distribute.get_strategy(), "one").startswith("CPU, ")
    assert device_name(tf.distribute.OneDeviceStrategy("CPU:0"), "mirrored") == (
        "1 x CPU, strategy mirrored"
    )
