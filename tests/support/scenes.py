"""Scenes to cut tiles from, and all tiles of a source."""

import numpy as np
import tensorflow as tf

import sogclr_tf

SIZES = [(40, 70), (32, 32), (20, 90), (64, 33)]


def scenes(sizes=SIZES):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def boxes(size, tile, stride):
    """(row, column, top, left) of the tiles of one image, by trying all places."""
    return [
        (top // stride[0], left // stride[1], top, left)
        for top in range(0, size[0], stride[0])
        for left in range(0, size[1], stride[1])
        if top + tile[0] <= size[0] and left + tile[1] <= size[1]
    ]


def tiles_of(pixels, tile, stride):
    return [
        pixels[top : top + tile[0], left : left + tile[1]]
        for *_, top, left in boxes(pixels.shape[:2], tile, stride)
    ]


def all_of(source, **order):
    """(images, indices) of a pass."""
    found = source.examples(**order).map(lambda x: (source.pixels(x), x["index"]))
    pairs = list(found.as_numpy_iterator())
    return [image for image, _ in pairs], [int(index) for _, index in pairs]


class Ramps(sogclr_tf.Source):
    """Images of any sizes, whose pixels say (image, row, column)."""

    any_order = True

    def __init__(self, sizes):
        super().__init__("ramps", len(sizes))
        self.sizes = tf.constant(sizes)

    def example_at(self, row):
        return {"image": tf.concat([[row], self.sizes[row]], 0), "index": row}

    def decode(self, image):
        grid = tf.meshgrid(image[0], tf.range(image[1]), tf.range(image[2]), indexing="ij")
        return tf.cast(tf.stack(grid, -1)[0], tf.uint8)

    def shape(self, image):
        return image[1:]
