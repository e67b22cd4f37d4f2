"""Folders of images, and what is found in them."""

import os
import time

import numpy as np

from sogclr_tf.data.sources import folder_listing

N = 12


def images(count=N):
    return np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def paths(folder):
    """All paths of a listing, as text."""
    found = folder_listing.list_images(str(folder))
    text, starts = found.text.decode(), found.starts
    return [text[a:b] for a, b in zip(starts, starts[1:], strict=False)]


def settle(folder):
    """As if the folder had last changed a minute ago, so that its manifest is trusted."""
    past = time.time_ns() - 60 * 10**9
    for name, _, _ in os.walk(folder, followlinks=True):
        os.utime(name, ns=(past, past))
