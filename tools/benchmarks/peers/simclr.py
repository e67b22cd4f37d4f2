"""SimCLR's published pipeline for TensorFlow 2, from a checkout of google-research/simclr."""

import functools
import importlib
import inspect
import pathlib
import sys

import tensorflow as tf
from absl import flags
from benchmarks import input as pictures
from benchmarks.peers import ours

MODULE = pathlib.Path("tf2", "data_util.py")


def views(folder, size, strength, blur):
    """Batches of two views of each image, as `turns.Work`.

    The project blurs whole batches, in front of the network; here the pipeline does, since what it
    costs the processor is to be compared.

    Args:
        folder: str, the checkout.
        size: int, pixels of a view's side.
        strength: float, of the color jitter.
        blur: float, the probability that a view is blurred; 0 for none.
    """
    data_util = load(folder)
    view = preprocessing(data_util, size, strength)
    source = ours.source(size)

    def both(example):
        image = source.decode(example["image"])
        return view(image), view(image)

    def blurred(*batches):
        return tuple(data_util.batch_random_blur(list(batches), size, size, blur))

    images = source.examples().repeat()
    made = images.map(both, num_parallel_calls=tf.data.AUTOTUNE)
    made = made.batch(pictures.BATCH, drop_remainder=True)
    if blur:
        made = made.map(blurred, num_parallel_calls=tf.data.AUTOTUNE)
    return ours.batches(made.prefetch(tf.data.AUTOTUNE))


def load(folder):
    """The checkout's module `data_util`."""
    sys.path.insert(0, str(pathlib.Path(folder, MODULE.parent)))
    return importlib.import_module(MODULE.stem)


def preprocessing(data_util, size, strength):
    """Function from an image of any size, uint8, to a view, float32 in 0..1.

    The strength of its color jitter is a flag; for a while it was an argument, 0 by default.
    """
    arguments = {"height": size, "width": size, "is_training": True}
    if "color_jitter_strength" in inspect.signature(data_util.preprocess_image).parameters:
        arguments["color_jitter_strength"] = strength
    if "color_jitter_strength" not in flags.FLAGS:
        flags.DEFINE_float("color_jitter_strength", strength, "strength of the color jitter")
        flags.FLAGS.mark_as_parsed()
    flags.FLAGS.color_jitter_strength = strength
    return functools.partial(data_util.preprocess_image, **arguments)
