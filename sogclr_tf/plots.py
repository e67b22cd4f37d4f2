"""Pictures of a run, each a PNG file."""

import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

EMBEDDED_EXAMPLES = 1500
BLUE, ORANGE, GREY = "#2563a8", "#c8553d", "#6b7280"


def training_curves(history, path):
    """Draws loss and contrast accuracy, and the learning rate where it is given, by epoch.

    Args:
        history: dict of equally long lists of floats: "epoch", "loss", "contrast_accuracy" (in
            0..1, drawn in percent) and, if wanted, "learning_rate".
        path: of the PNG to write.

    Returns:
        `path`.

    Raises:
        ValueError: a missing key, or lists that are empty or of different lengths.
    """
    panels = [
        ("loss", "Loss", BLUE),
        ("contrast_accuracy", "Contrast accuracy", ORANGE),
        ("learning_rate", "Learning rate", GREY),
    ]
    if "learning_rate" not in history:
        panels.pop()
    epochs = _checked_history(history, [key for key, _, _ in panels])
    figure = _figure(4 * len(panels), 3.2)
    for axes, (key, title, colour) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        # A lone point makes no line, so the points show while they are few.
        axes.plot(epochs, history[key], color=colour, marker="o" if len(epochs) <= 30 else None)
        axes.set(title=title, xlabel="Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
        if key == "contrast_accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    return _save(figure, path)


def embedding(
    features, labels, path, *, class_names=None, title="Features, embedded by t-SNE", seed=0
):
    """Draws features in the plane, each example a point in the colour of its class.

    At most 1500 examples, drawn by `seed`, are L2-normalised, reduced by PCA to at most 50
    dimensions and laid out by t-SNE (van der Maaten and Hinton 2008) at perplexity 30, or a
    third of the examples where they are fewer than 90.

    Args:
        features: float [N, C], N at least 2.
        labels: integers [N] from 0; or None, for one colour.
        path: of the PNG to write.
        class_names: strings, the name of each class for the legend; by default its number. Above
            20 classes colours can no longer be told apart and there is no legend.
        title: of the picture.
        seed: of the choice of examples and of the layout.

    Returns:
        `path`.

    Raises:
        ValueError: features that are not [N, C] with N above 1, or labels of another number.
    """
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be [N, C] with N at least 2, got shape {features.shape}.")
    if labels is not None and len(labels) != len(features):
        raise ValueError(f"labels must be one for each of {len(features)} features: {len(labels)}.")
    chosen = np.random.default_rng(seed).permutation(len(features))[:EMBEDDED_EXAMPLES]
    points = layout(features[chosen], seed)

    figure = _figure(7.4, 6)
    axes = figure.subplots()
    if labels is None:
        axes.scatter(*points.T, s=14, color=BLUE, alpha=0.8, linewidths=0)
    elif _scatter_classes(axes, points, np.asarray(labels)[chosen], class_names) <= 20:
        figure.legend(loc="outside right upper", frameon=False, markerscale=1.8)
    axes.set(title=title, xticks=[], yticks=[])
    axes.set_frame_on(False)
    return _save(figure, path)


def log_u_histogram(log_u, path):
    """Draws the distribution of the per-example table over the examples visited so far.

    Args:
        log_u: float [N], -inf where an example was never visited.
        path: of the PNG to write.

    Returns:
        `path`.

    Raises:
        ValueError: a table that is not [N], or holds NaN or +inf.
    """
    log_u = np.asarray(log_u)
    if log_u.ndim != 1 or np.isnan(log_u).any() or np.isposinf(log_u).any():
        raise ValueError(
            "log_u must be [N], finite or -inf, got "
            f"shape {log_u.shape} with {np.isnan(log_u).sum()} NaN "
            f"and {np.isposinf(log_u).sum()} +inf."
        )
    visited = log_u[np.isfinite(log_u)]
    figure = _figure(6.4, 3.8)
    axes = figure.subplots()
    axes.set(
        title=f"{visited.size:,} of {log_u.size:,} examples visited",
        xlabel="log u",
        ylabel="Examples",
    )
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    if visited.size:
        axes.hist(visited, bins=min(60, 5 + visited.size // 20), color=BLUE)
        axes.grid(axis="y", alpha=0.25)
    else:
        axes.text(0.5, 0.5, "none visited yet", ha="center", va="center", color=GREY)
        axes.set(xticks=[], yticks=[])
    return _save(figure, path)


def retrieval_sheet(texts, images, similarity, path, *, rows=8, columns=5):
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
    figure = _figure(3 + columns, rows * 1.05)
    grid = figure.subplots(rows, columns + 1, squeeze=False, width_ratios=[3] + [1] * columns)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)
    for number, line in enumerate(grid):
        line[0].text(1, 0.5, texts[number], ha="right", va="center", wrap=True)
        nearest = np.argsort(-similarity[number], kind="stable")[:columns]
        for axes, place in zip(line[1:], nearest, strict=True):
            axes.imshow(np.squeeze(images[place]), interpolation="nearest")
            if place == number:
                axes.set_frame_on(True)
                for spine in axes.spines.values():
                    spine.set(color=ORANGE, linewidth=3)
    return _save(figure, path, framed=True)


def neighbour_sheet(neighbours, path, *, columns=2):
    """Draws images, each beside those whose features are nearest; its own class has a frame.

    Args:
        neighbours: list of (query, [nearest]), each with `.image`, uint8 or float in 0..1
            [H, W, 1 or 3], and `.label`, an int or None.
        path: of the PNG to write.
        columns: queries side by side.

    Returns:
        `path`.

    Raises:
        ValueError: there are no queries, or images of another shape or dtype.
    """
    if not neighbours:
        raise ValueError("neighbours is empty: give at least one image with those nearest to it")
    # A block is a query, its neighbours and a narrow gap.
    rows, width = math.ceil(len(neighbours) / columns), 2 + len(neighbours[0][1])
    ratios = ([1.0] * (width - 1) + [0.4]) * columns
    figure = _figure(0.8 * sum(ratios), 0.8 * rows + 0.3)
    grid = figure.subplots(rows, columns * width, squeeze=False, width_ratios=ratios)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)
    for place, (query, others) in enumerate(neighbours):
        cells = grid[place // columns, place % columns * width :][:width]
        for axes, example in zip(cells, (query, *others), strict=False):
            axes.imshow(_displayable(example.image), interpolation="nearest")
            if example is not query and query.label is not None and example.label == query.label:
                axes.set_frame_on(True)
                for spine in axes.spines.values():
                    spine.set(color=BLUE, linewidth=2.5)
    for column in range(columns):
        grid[0, column * width].set_title("image", fontsize=10, color=GREY)
        grid[0, column * width + 1].set_title("nearest", fontsize=10, color=GREY)
    return _save(figure, path, framed=True)


def view_sheet(originals, views_a, views_b, path, *, rows=None):
    """Draws examples beside the two augmented views that the encoder sees of them.

    The sheet is a grid of triples: original, view a, view b. Pixels are drawn as they are,
    unsmoothed.

    Args:
        originals: images [N, H, W, C] of uint8 or of floats in 0..1, C 1 or 3; or a list of such
            images of any sizes.
        views_a: N images of either kind, the first view of each.
        views_b: N images of either kind, the second view of each.
        path: of the PNG to write.
        rows: triples below one another; by default as many as make the sheet nearly square.

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
    rows = min(count, rows or math.ceil(count / max(1, round(math.sqrt(count / 3)))))
    columns = math.ceil(count / rows)
    figure = _figure(2.7 * columns, 0.86 * rows + 0.3)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    blocks = np.atleast_1d(figure.subfigures(1, columns, wspace=0.04))
    triples = list(zip(originals, views_a, views_b, strict=True))
    for column, block in enumerate(blocks):
        grid = block.subplots(rows, 3, squeeze=False)
        for axes, name in zip(grid[0], ("original", "view a", "view b"), strict=True):
            axes.set_title(name, fontsize=10, color=GREY)
        for axes in grid.flat:
            axes.set_axis_off()
        for cells, triple in zip(grid, triples[column * rows : (column + 1) * rows], strict=False):
            for axes, image in zip(cells, triple, strict=True):
                axes.imshow(_displayable(image), interpolation="nearest")
    return _save(figure, path)


def _figure(width, height):
    """A figure, in inches, apart from pyplot's global state: safe in threads and on servers."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def _save(figure, path, framed=False):
    for axes in figure.get_axes():
        axes.spines[["top", "right"]].set_visible(framed)
    figure.savefig(path, format="png")
    return path


def _checked_history(history, keys):
    for key in ["epoch", *keys]:
        if key not in history:
            raise ValueError(f"history lacks '{key}': it must hold 'epoch' and {keys}.")
    lengths = {key: len(history[key]) for key in ["epoch", *keys]}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"history must hold equally long lists of at least one, got {lengths}.")
    return history["epoch"]


def layout(features, seed):
    """float32 [N, C] -> float32 [N, 2]."""
    features = normalize(features)
    dimensions = min(50, *features.shape)
    if dimensions > 2:
        # A collapsed encoder has no variance to share out; its picture is still wanted.
        with np.errstate(invalid="ignore"):
            features = PCA(dimensions, random_state=seed).fit_transform(features)
    perplexity = min(30, max(1, (len(features) - 1) / 3))
    # Half of scikit-learn's iterations lay out so few points; a random start takes features of
    # no variance as well.
    layout = TSNE(perplexity=perplexity, init="random", max_iter=500, random_state=seed)
    # Its OpenMP threads wait by spinning: beside other work two are far slower than one.
    with threadpool_limits(1):
        return layout.fit_transform(features)


def _scatter_classes(axes, points, labels, class_names):
    """Returns how many classes were drawn."""
    classes = np.unique(labels)
    palette = matplotlib.colormaps["tab10" if len(classes) <= 10 else "tab20"]
    if len(classes) > 20:
        palette = matplotlib.colormaps["turbo"].resampled(len(classes))
    for position, label in enumerate(classes):
        axes.scatter(
            *points[labels == label].T,
            s=14,
            color=palette(position),
            alpha=0.8,
            linewidths=0,
            label=str(label if class_names is None else class_names[label]),
        )
    return len(classes)


def _displayable(image):
    """Image [H, W, 1 or 3] -> float32 [H, W, 3] in 0..1."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] not in (1, 3):
        raise ValueError(f"Images must be [H, W, 1] or [H, W, 3], got shape {image.shape}.")
    if image.dtype == np.uint8:
        image = image / np.float32(255)
    elif not np.issubdtype(image.dtype, np.floating):
        raise ValueError(f"Images must be uint8 or floats in 0..1, got dtype {image.dtype}.")
    return np.broadcast_to(np.clip(image, 0, 1), (*image.shape[:2], 3))
