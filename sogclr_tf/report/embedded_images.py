"""Images inside an HTML page, as data addresses."""

import base64
import io
import math

import numpy as np
import PIL.Image

from sogclr_tf.report.displayed import displayed

# Images up to this side are kept as they are and drawn unsmoothed, larger ones are shrunk.
CRISP_SIDE, LARGEST_SIDE = 64, 128


def image(pixels: np.ndarray) -> str:
    """An image [H, W, C] of uint8, or of floats in 0..1, as an <img>, as `displayed` shows it.

    Up to 64 pixels a side it is a PNG, drawn unsmoothed. A larger one is shrunk to 128 at most and
    is a JPEG, because a page of PNGs of photographs would take several MB.

    Raises:
        ValueError: another shape or dtype.
    """
    picture = PIL.Image.fromarray(_bytes_of(pixels))
    if max(picture.size) <= CRISP_SIDE:
        return f'<img class="crisp" alt="" src="{_address(picture, "PNG", optimize=True)}">'
    picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE), PIL.Image.Resampling.LANCZOS)
    return f'<img alt="" src="{_address(picture, "JPEG", quality=85)}">'


def heat_map(shares: np.ndarray) -> str:
    """A square matrix of values in 0..1, float [K, K], as an <img> from white to blue."""
    levels = np.round(255 * np.clip(shares, 0, 1)).astype(np.uint8)
    picture = PIL.Image.fromarray(levels)
    ramp = [heat_color(level / 255) for level in range(256)]
    picture.putpalette(bytes(part for rgb in ramp for part in rgb))
    return f'<img class="crisp" alt="" src="{_address(picture, "PNG", optimize=True)}">'


def heat_color(share: float) -> tuple[int, ...]:
    """The color of a share in 0..1, as (red, green, blue) in 0..255."""
    # Rare confusions are what one looks for: the scale rises steeply.
    steep = math.sqrt(share)
    return tuple(round(255 + (end - 255) * steep) for end in (29, 91, 163))


def _bytes_of(pixels):
    """Image [H, W, C] -> uint8 [H, W] or [H, W, 3]."""
    pixels = displayed(pixels)
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = np.round(255 * np.clip(np.nan_to_num(pixels), 0, 1)).astype(np.uint8)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _address(picture, kind, **options):
    """A PIL image as a data address."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
