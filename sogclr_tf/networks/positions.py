"""Where on an image a patch lies, in numbers."""

import numpy as np


def sine_cosine_positions(grid: tuple[int, int], width: int) -> np.ndarray:
    """Fixed positions of a grid of patches, float32 [rows * columns, width].

    The first half of the numbers tells the row of a patch, the other half its column: sines, then
    cosines, of wavelengths from 2 pi to nearly 20000 pi. On a square grid these are the numbers of
    MoCo v3 (arXiv 2104.02057), whose code knows no other grids.

    Args:
        grid: (rows, columns); patches are in row-major order.
        width: int, a multiple of 4.
    """
    quarter = width // 4
    frequency = 10_000.0 ** (-np.arange(quarter) / quarter)
    places = np.indices(grid).reshape(2, -1, 1) * frequency
    halves = np.concatenate([np.sin(places), np.cos(places)], axis=-1)
    return np.concatenate(list(halves), axis=-1).astype("float32")
