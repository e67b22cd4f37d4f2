"""One process for the suite: eight CPU devices, few threads, no start-up notices."""

import collections
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.paths import GOLDEN, ROOT

DEVICES = 8
MANY_AND_LONG = {
    "test_encoder_promises.py",
    "test_replicas.py",
    "test_keras_applications.py",
    "test_compile_for_tpu.py",
}

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * DEVICES
)


def pytest_collection_modifyitems(config, items):
    """Of the slow part files with few tests first, because these take longest each.

    And those whose tests are many and long: at the end they would keep one processor alone busy.
    """
    if config.option.markexpr == "slow":
        tests_of = collections.Counter(item.path for item in items if "slow" in item.keywords)
        items.sort(key=lambda item: (item.path.name not in MANY_AND_LONG, tests_of[item.path]))


@pytest.fixture(scope="session")
def golden():
    """Loads a file of golden numbers by name, as a dictionary of arrays."""

    def load(name):
        with np.load(GOLDEN / f"{name}.npz") as file:
            return dict(file)

    return load


@pytest.fixture(scope="session")
def data_dir():
    """The folder with CIFAR-10 in TFDS form, beside the repository or at SOGCLR_TF_DATA."""
    return folder_with("cifar10")


@pytest.fixture(scope="session")
def emoji_dir():
    """The folder with the emoji set, likewise."""
    return folder_with("emoji")


def folder_with(name):
    default = ROOT.parent / "shared" / "data"
    folder = pathlib.Path(os.environ.get("SOGCLR_TF_DATA", default))
    if not (folder / name).is_dir():
        pytest.skip(f"no {name} under {folder}: set SOGCLR_TF_DATA to a TFDS data_dir")
    return folder


@pytest.fixture
def bfloat16_policy():
    """Networks that are built meanwhile compute in bfloat16."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    yield
    keras.mixed_precision.set_dtype_policy(before)


@pytest.fixture(scope="session", autouse=True)
def manifests(tmp_path_factory):
    """A folder for manifests, in place of the user's."""
    folder = tmp_path_factory.mktemp("manifests")
    os.environ["SOGCLR_TF_CACHE"] = str(folder)
    return folder
