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


def resampled_positions(
    positions: np.ndarray, grid: tuple[int, int], new_grid: tuple[int, int]
) -> np.ndarray:
    """Positions of another grid of patches, by bicubic interpolation between those of `grid`.

    It is PyTorch's `interpolate(mode="bicubic", align_corners=False)`, in float64.

    Args:
        positions: [rows * columns, width], in row-major order.
        grid, new_grid: (rows, columns).

    Returns:
        float64 [new rows * new columns, width].
    """
    rows, columns = (_bicubic(*sizes) for sizes in zip(grid, new_grid, strict=True))
    table = np.float64(positions).reshape(*grid, -1)
    return np.einsum("yr,xc,rcw->yxw", rows, columns, table).reshape(-1, table.shape[-1])


def _bicubic(size, new_size):
    """[new_size, size]: what each of the new places takes of the old ones."""
    places = (np.arange(new_size) + 0.5) * size / new_size - 0.5
    below = np.floor(places).astype(int)
    shares = np.zeros((new_size, size))
    for tap in range(-1, 3):
        distance = np.abs(places - below - tap)
        # Beyond the edge is what is at the edge.
        at = np.clip(below + tap, 0, size - 1)
        np.add.at(shares, (np.arange(new_size), at), _cubic(distance))
    return shares


def _cubic(x, a=-0.75):
    """The cubic convolution of Keys, with PyTorch's sharpness, at distances 0..2."""
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, far)
