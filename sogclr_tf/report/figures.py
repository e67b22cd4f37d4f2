"""Plots of a run, each a PNG file."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from sogclr_tf.printable import printable

EMBEDDED_EXAMPLES = 1500
BLUE, ORANGE, GRAY = "#2563a8", "#c8553d", "#6b7280"


def training_curves(
    history: Mapping[str, Sequence[float]], path: str | os.PathLike
) -> str | os.PathLike:
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
        ("learning_rate", "Learning rate", GRAY),
    ]
    if "learning_rate" not in history:
        panels.pop()
    epochs = _checked_history(history, [key for key, _, _ in panels])
    figure = new_figure(4 * len(panels), 3.2)
    for axes, (key, title, color) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        # A lone point makes no line, so the points show while they are few.
        axes.plot(epochs, history[key], color=color, marker="o" if len(epochs) <= 30 else None)
        axes.set(title=title, xlabel="Epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.grid(alpha=0.25)
        if key == "contrast_accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    return save(figure, path)


def embedding(
    features: Any,
    labels: Any,
    path: str | os.PathLike,
    *,
    class_names: Sequence[str] | None = None,
    title: str = "Features, embedded by t-SNE",
    seed: int = 0,
) -> str | os.PathLike:
    """Draws features in the plane, each example a point in the color of its class.

    At most 1500 examples, drawn by `seed`, are L2-normalized, reduced by PCA to at most 50
    dimensions and laid out by t-SNE (van der Maaten and Hinton 2008) at perplexity 30, or a
    third of the examples where they are fewer than 90.

    Args:
        features: float [N, C], N at least 2.
        labels: integers [N] from 0; or None, for one color.
        path: of the PNG to write.
        class_names: strings, the name of each class for the legend; by default its number. Above
            20 classes colors can no longer be told apart and there is no legend.
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

    figure = new_figure(7.4, 6)
    axes = figure.subplots()
    if labels is None:
        axes.scatter(*points.T, s=14, color=BLUE, alpha=0.8, linewidths=0)
    elif _scatter_classes(axes, points, np.asarray(labels)[chosen], class_names) <= 20:
        figure.legend(loc="outside right upper", frameon=False, markerscale=1.8)
    axes.set(title=title, xticks=[], yticks=[])
    axes.set_frame_on(False)
    return save(figure, path)


def log_u_histogram(log_u: Any, path: str | os.PathLike) -> str | os.PathLike:
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
    figure = new_figure(6.4, 3.8)
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
        axes.text(0.5, 0.5, "none visited yet", ha="center", va="center", color=GRAY)
        axes.set(xticks=[], yticks=[])
    return save(figure, path)


def estimates(log_u: Any, log_g: Any, path: str | os.PathLike) -> str | os.PathLike:
    """Draws estimates of log g over what they estimate, and a line where both are equal.

    Args:
        log_u: float [N], finite; at most 5000 are drawn, the same each time.
        log_g: float [N], finite.
        path: of the PNG to write.

    Returns:
        `path`.

    Raises:
        ValueError: they are not two times [N].
    """
    log_u, log_g = np.asarray(log_u), np.asarray(log_g)
    if log_u.ndim != 1 or log_u.shape != log_g.shape:
        raise ValueError(f"log_u and log_g must be [N] twice, got {log_u.shape}, {log_g.shape}.")
    chosen = np.random.default_rng(0).permutation(len(log_u))[:5000]
    figure = new_figure(5.4, 4.6)
    axes = figure.subplots()
    axes.scatter(log_g[chosen], log_u[chosen], s=6, color=BLUE, alpha=0.5, linewidths=0)
    if len(log_u):
        axes.axline((log_g[0], log_g[0]), slope=1, color=ORANGE, linewidth=1.2)
    axes.set(title=f"{len(log_u):,} estimates", xlabel="log g over all", ylabel="log u")
    axes.grid(alpha=0.25)
    return save(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """A figure, in inches, apart from pyplot's global state: safe in threads and on servers."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    return figure


def save(figure: Figure, path: str | os.PathLike, framed: bool = False) -> str | os.PathLike:
    for axes in figure.get_axes():
        axes.spines[["top", "right"]].set_visible(framed)
    figure.savefig(path, format="png")
    return path


def plain(text: object) -> str:
    """Anything as printable text that a figure shows as it is, not as a formula."""
    return printable(text).replace("$", r"\$")


def _checked_history(history, keys):
    for key in ["epoch", *keys]:
        if key not in history:
            raise ValueError(f"history lacks '{key}': it must hold 'epoch' and {keys}.")
    lengths = {key: len(history[key]) for key in ["epoch", *keys]}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"history must hold equally long lists of at least one, got {lengths}.")
    return history["epoch"]


def layout(features: np.ndarray, seed: int) -> np.ndarray:
    """float32 [N, C] -> float32 [N, 2]."""
    # Training does not wait for their import.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

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
            label=plain(label if class_names is None else class_names[label]),
        )
    return len(classes)
