"""Sheets of images of a run, each a PNG file."""

import math
import os
from collections.abc import Sequence

import numpy as np

from sogclr_tf.report.displayed import displayed
from sogclr_tf.report.figures import BLUE, GRAY, ORANGE, new_figure, plain, save
from sogclr_tf.report.material import Example


def retrieval_sheet(
    texts: Sequence[str],
    images: Sequence[np.ndarray],
    similarity: np.ndarray,
    path: str | os.PathLike,
    *,
    rows: int = 8,
    columns: int = 5,
) -> str | os.PathLike:
    """Draws texts, each beside the images that are nearest to it; its own has a frame.

    Args:
        texts: M strings.
        images: M images [H, W, C] of uint8 or of floats in 0..1, in the texts' order.
        similarity: float [M, M], of each text (row) to each image.
        path: of the PNG to write.
        rows: the first texts, as many as are shown at most.
        columns: the nearest images, as many as are shown at most.

    Returns:
        `path`.
    """
    rows, columns = min(rows, len(texts)), min(columns, len(images))
    width, height = _cell(images[:1])
    figure = new_figure(3 + columns * width, rows * 1.05 * height)
    ratios = [3, *[width] * columns]
    grid = figure.subplots(rows, columns + 1, squeeze=False, width_ratios=ratios)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)
    for number, line in enumerate(grid):
        line[0].text(1, 0.5, plain(texts[number]), ha="right", va="center", wrap=True)
        nearest = np.argsort(-similarity[number], kind="stable")[:columns]
        for axes, place in zip(line[1:], nearest, strict=True):
            axes.imshow(_colors(displayed(images[place])), interpolation="nearest")
            if place == number:
                axes.set_frame_on(True)
                for spine in axes.spines.values():
                    spine.set(color=ORANGE, linewidth=3)
    return save(figure, path, framed=True)


def neighbor_sheet(
    neighbors: Sequence[tuple[Example, Sequence[Example]]],
    path: str | os.PathLike,
    *,
    columns: int = 2,
) -> str | os.PathLike:
    """Draws images, each beside those whose features are nearest; its own class has a frame.

    Args:
        neighbors: list of (query, [nearest]), each with `.image`, uint8 or float in 0..1
            [H, W, C], and `.label`, an int or None.
        path: of the PNG to write.
        columns: queries side by side.

    Returns:
        `path`.

    Raises:
        ValueError: there are no queries, or images of another shape or dtype.
    """
    if not neighbors:
        raise ValueError("neighbors is empty: give at least one image with those nearest to it")
    # A block is a query, its neighbors and a narrow gap.
    rows, block = math.ceil(len(neighbors) / columns), 2 + len(neighbors[0][1])
    width, height = _cell([query.image for query, _ in neighbors])
    ratios = ([width] * (block - 1) + [0.4]) * columns
    figure = new_figure(0.8 * sum(ratios), 0.8 * rows * height + 0.3)
    grid = figure.subplots(rows, columns * block, squeeze=False, width_ratios=ratios)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)
    for place, (query, others) in enumerate(neighbors):
        cells = grid[place // columns, place % columns * block :][:block]
        for axes, example in zip(cells, (query, *others), strict=False):
            axes.imshow(_colors(displayed(example.image)), interpolation="nearest")
            if example is not query and query.label is not None and example.label == query.label:
                axes.set_frame_on(True)
                for spine in axes.spines.values():
                    spine.set(color=BLUE, linewidth=2.5)
    for column in range(columns):
        grid[0, column * block].set_title("image", fontsize=10, color=GRAY)
        grid[0, column * block + 1].set_title("nearest", fontsize=10, color=GRAY)
    return save(figure, path, framed=True)


def view_sheet(
    originals: Sequence | np.ndarray,
    views_a: Sequence | np.ndarray,
    views_b: Sequence | np.ndarray,
    path: str | os.PathLike,
    *,
    rows: int | None = None,
    bands: Sequence[int] = (),
) -> str | os.PathLike:
    """Draws examples beside the two augmented views that the encoder sees of them.

    The sheet is a grid of triples: original, view a, view b. Pixels are drawn as they are,
    unsmoothed.

    Args:
        originals: images [N, H, W, C] of uint8 or of floats in 0..1; or a list of such images of
            any sizes.
        views_a: N images of either kind, the first view of each.
        views_b: N images of either kind, the second view of each.
        path: of the PNG to write.
        rows: triples below one another; by default as many as make the sheet nearly square.
        bands: the channels that are shown, as for `displayed`; views as their original is.

    Returns:
        `path`.

    Raises:
        ValueError: no examples, sequences of different lengths, images of another shape or dtype,
            or `rows` below 1.
    """
    count = len(originals)
    if not 0 < count == len(views_a) == len(views_b):
        raise ValueError(
            "originals, views_a and views_b must hold the same number of images, at least one, "
            f"got {count}, {len(views_a)} and {len(views_b)}."
        )
    if rows is not None and rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}.")
    width, height = _cell([np.asarray(view) for view in views_a[:1]])
    nearly_square = round(math.sqrt(count * height / (3 * width)))
    rows = min(count, rows or math.ceil(count / max(1, nearly_square)))
    columns = math.ceil(count / rows)
    figure = new_figure(2.7 * columns * width, 0.86 * rows * height + 0.3)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    blocks = np.atleast_1d(figure.subfigures(1, columns, wspace=0.04))
    triples = list(zip(originals, views_a, views_b, strict=True))
    for column, block in enumerate(blocks):
        grid = block.subplots(rows, 3, squeeze=False)
        for axes, name in zip(grid[0], ("original", "view a", "view b"), strict=True):
            axes.set_title(name, fontsize=10, color=GRAY)
        for axes in grid.flat:
            axes.set_axis_off()
        for cells, triple in zip(grid, triples[column * rows : (column + 1) * rows], strict=False):
            for axes, image in zip(cells, triple, strict=True):
                axes.imshow(_colors(displayed(image, bands, triple[0])), interpolation="nearest")
    return save(figure, path)


def _cell(images: Sequence[np.ndarray]) -> tuple[float, float]:
    """(width, height) of the cells of a sheet, of area 1 and the proportions of most images."""
    aspects = sorted(image.shape[1] / image.shape[0] for image in images)
    aspect = min(max(aspects[len(aspects) // 2], 1 / 4), 4)
    return math.sqrt(aspect), 1 / math.sqrt(aspect)


def _colors(image: np.ndarray) -> np.ndarray:
    """Image [H, W, 1 or 3] -> float32 [H, W, 3] in 0..1."""
    image = image / np.float32(255) if image.dtype == np.uint8 else image
    return np.broadcast_to(np.clip(image, 0, 1), (*image.shape[:2], 3))
