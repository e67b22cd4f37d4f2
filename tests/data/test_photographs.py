"""Photographs of many megapixels, and the memory that they take."""

import os

import pytest
import tensorflow as tf
from support import processes
from support.exhaustive import exhaustive

PHOTOGRAPHS = """
import os
import sys

# Each thread decodes, so that memory grows with them.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])

import numpy as np
import tensorflow as tf

import sogclr_tf


class Frame:
    columns = ["path"]

    def __getitem__(self, column):
        return np.array(paths, object)


def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


folder, kind = sys.argv[1:]
paths = [f"{folder}/{k:03}.jpg" for k in range(200)]
images = {"folder": folder, "list": paths, "frame": Frame()}[kind]
before = peak()
views = sogclr_tf.training_views(images, batch_size=64, policy=sogclr_tf.Policy(size=224))
for batch in views.epoch(0).take(2):
    assert batch["view_a"].shape == (64, 224, 224, 3)
middle = peak() - before
squares, _ = sogclr_tf.evaluation_set(views.source, 224)
assert len(list(squares.batch(32).take(2))) == 2
print("MiB", middle, peak() - before)
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """200 photographs of 12 megapixels, links to two files."""
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("photographs")
    small = load_sample_images().images
    large = [tf.cast(tf.image.resize(image, [3000, 4000]), tf.uint8) for image in small]
    encoded = [tf.io.encode_jpeg(image, quality=92).numpy() for image in large]
    for k in range(200):
        path = folder / f"{k:03}.jpg"
        if k < len(encoded):
            path.write_bytes(encoded[k])
        else:
            path.hardlink_to(folder / f"{k % len(encoded):03}.jpg")
    return folder


@pytest.mark.slow(reason="large photographs, a process for each kind")
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory as Linux tells it")
@pytest.mark.parametrize("kind", exhaustive(["folder", "frame"], ["folder", "list", "frame"]))
def test_photographs_take_little_memory(kind, photographs):
    """Each thread holds one that is decoded; none waits in a buffer, and none is all floats."""
    process = processes.run("-c", PHOTOGRAPHS, str(photographs), kind)
    assert process.returncode == 0, process.stderr
    training, both = map(float, process.stdout.split("MiB")[1].split())
    assert training < 600
    assert both < 600
