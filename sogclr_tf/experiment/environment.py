"""The software and the machine that a run is on."""

import contextlib
import gc
import os
import platform
import sys
from collections.abc import Iterator

from absl import logging

from sogclr_tf.version import __version__


def start_tensorflow(virtual_devices: int = 1) -> None:
    """Imports TensorFlow without the notices that it writes before any setting can reach it.

    Args:
        virtual_devices: CPU devices to split this machine's CPU into, to rehearse a strategy.
    """
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        with _kept_for_good():
            import tensorflow
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    logging.set_verbosity(logging.WARNING)
    if virtual_devices > 1:
        tensorflow.config.set_logical_device_configuration(
            tensorflow.config.list_physical_devices("CPU")[0],
            [tensorflow.config.LogicalDeviceConfiguration()] * virtual_devices,
        )


@contextlib.contextmanager
def _kept_for_good() -> Iterator[None]:
    """Spares Python the search for garbage among what is made inside, as it is and later.

    Of TensorFlow's import it is a fifth: modules, which stay to the end, are looked through again
    and again.
    """
    # Later all else would be kept too.
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def versions() -> dict[str, str]:
    """The versions that `result.json` keeps."""
    import keras
    import tensorflow as tf

    return {
        "sogclr_tf": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def environment(strategy: str) -> dict[str, str]:
    """What the report says of the machine and its software.

    Args:
        strategy: the name of the one that trains.
    """
    import tensorflow as tf

    found = versions()
    devices = tf.config.list_logical_devices()
    return {
        "sogclr_tf": found["sogclr_tf"],
        "TensorFlow": found["tensorflow"],
        "Keras": found["keras"],
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "devices": ", ".join(device.name.removeprefix("/device:") for device in devices),
        "strategy": strategy,
    }
