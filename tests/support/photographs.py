"""A photograph in files of every kind that is decoded smaller."""

import functools
import io

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


@functools.cache
def photograph(**options):
    """A photograph of 427x640 pixels as a JPEG file; `shown` turns it, `mode` is Pillow's."""
    mode, tag = options.pop("mode", "RGB"), options.pop("shown", 1)
    times = options.pop("enlarged", 1)
    image = Image.fromarray(load_sample_images().images[0]).convert(mode)
    image = image.resize([times * side for side in image.size])
    exif = Image.Exif()
    exif[0x0112] = tag
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, exif=exif, **options)
    return file.getvalue()


FILES = {
    "4:2:0": photograph(),
    "4:2:2": photograph(subsampling=1),
    "4:4:4": photograph(subsampling=0),
    "4:1:1": photograph(subsampling="4:1:1"),
    "progressive": photograph(progressive=True),
    "gray": photograph(mode="L"),
    "with a tail": photograph() + b"a film of two seconds",
}


def blocks(pixels, ratio):
    """The mean of every block of pixels; what is missing of the last repeats the last."""
    pixels = np.asarray(pixels, np.float64)
    height, width = (-(-side // ratio) for side in pixels.shape[:2])
    missing = [
        (0, n * ratio - side) for n, side in zip((height, width), pixels.shape, strict=False)
    ]
    pixels = np.pad(pixels, [*missing, (0, 0)], "edge")
    return pixels.reshape(height, ratio, width, ratio, -1).mean((1, 3))
