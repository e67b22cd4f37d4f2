"""The sections of a report that show features, images and confusions."""

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.preprocessing import normalize

from sogclr_tf.report import charts, embedded_images, page
from sogclr_tf.report.figures import EMBEDDED_EXAMPLES, layout
from sogclr_tf.report.material import Example, Material
from sogclr_tf.report.page import escape, paragraph

# Above so many classes colors cannot be told apart, nor numbers in a matrix be read.
LEGEND_CLASSES = 20
_CONFUSIONS = 8


def embedding(material: Material) -> str:
    if material.features is None:
        return ""
    features = np.asarray(material.features, np.float32)
    if len(features) < 2 or not np.isfinite(features).all():
        return paragraph("The features are fewer than two or not all finite: they are not drawn.")
    chosen = np.random.default_rng(0).permutation(len(features))[:EMBEDDED_EXAMPLES]
    labels = None if material.labels is None else np.asarray(material.labels)[chosen]
    groups = _groups(labels, len(chosen), material.class_names)
    plane, share = _principal_plane(features[chosen])
    pictures = [
        charts.scatter(plane, groups, "PCA", share),
        charts.scatter(layout(features[chosen], 0), groups, "t-SNE"),
    ]
    sentence = f"Features of {len(chosen):,} test images, L2-normalized, each a point"
    legend = ""
    if labels is not None:
        sentence += " in the color of its class"
    if 1 < len(groups) <= LEGEND_CLASSES:
        sentence += "; point at a name below to see a class alone"
        legend = page.legend([(name, color) for name, color, _ in groups])
    return (
        f'{paragraph(f"{sentence}.")}<div class="embedding">'
        f'<div class="pair">{"".join(pictures)}</div>{legend}</div>'
    )


def _groups(labels, count, class_names):
    """[(name, color, boolean [count])] of each class that occurs; of all where none is known."""
    if labels is None:
        return [("test images", charts.colors(1)[0], np.ones(count, bool))]
    classes = np.unique(labels)
    palette = charts.colors(len(classes))
    return [
        (_class_name(label, class_names), color, labels == label)
        for label, color in zip(classes, palette, strict=True)
    ]


def _class_name(label, class_names):
    known = class_names is not None and 0 <= label < len(class_names)
    return str(class_names[label] if known else label)


def _principal_plane(features):
    """float32 [N, C] -> float [N, 2], and how much of the variance it holds, in words."""
    # Training does not wait for its import.
    from sklearn.decomposition import PCA

    dimensions = min(2, *features.shape)
    pca = PCA(dimensions, random_state=0)
    # A collapsed encoder has no variance to share out; its picture is still wanted.
    with np.errstate(invalid="ignore"):
        points = pca.fit_transform(normalize(features))
    share = float(np.sum(pca.explained_variance_ratio_))
    points = np.pad(points, ((0, 0), (0, 2 - dimensions)))
    return points, f"{share:.0%} of the variance" if np.isfinite(share) else "no variance"


def neighbors(neighbors: Sequence[tuple[Example, Sequence[Example]]]) -> str:
    if not neighbors:
        return ""
    longest = max(len(nearest) for _, nearest in neighbors)
    columns = f"grid-template-columns:minmax(0,84px) 4px repeat({max(1, longest)},minmax(0,84px))"
    rows = "".join(
        f'<div class="row" style="{columns}">{_example(query, "query")}'
        + "".join(_example(found, _agreement(query, found)) for found in nearest)
        + "</div>\n"
        for query, nearest in neighbors
    )
    return f'{_agreement_sentence(neighbors)}<div class="rows">{rows}</div>'


def _agreement(query: Example, found: Example) -> str:
    """The class of a neighbor's frame; none where a label is unknown."""
    if query.label is None or found.label is None:
        return ""
    return "same" if query.label == found.label else "other"


def _agreement_sentence(neighbors):
    pairs = [(query, found) for query, nearest in neighbors for found in nearest]
    kinds = [_agreement(query, found) for query, found in pairs]
    intro = "Each image at the left, and beside it those whose features are nearest."
    if "" in kinds:
        return paragraph(intro)
    return (
        f"<p>{intro} {kinds.count('same')} of {len(kinds)} neighbors have "
        '<span class="key same">the same class</span> as their image, '
        f'{kinds.count("other")} <span class="key other">another</span>.</p>\n'
    )


def _example(example: Example, kind: str = "") -> str:
    caption = escape(example.caption)
    return (
        f'<figure class="example {kind}">{embedded_images.image(example.image)}'
        f'<p title="{caption}">{caption}</p></figure>'
    )


def hardness(material: Material) -> str:
    parts = [] if material.log_u is None else [_table_of_u(np.asarray(material.log_u))]
    for title, examples in (
        ("Hard: the largest u, many look-alikes", material.hardest),
        ("Easy: the smallest u, few look-alikes", material.easiest),
    ):
        if examples:
            shelf = "".join(_example(example) for example in examples)
            parts.append(f'<h3>{title}</h3><div class="shelf">{shelf}</div>\n')
    if not parts:
        return ""
    return "".join(
        [
            paragraph(
                "The table u keeps a moving average of how similar the other images look to each "
                "training image: where many look alike u is large and the image is hard to tell "
                "apart, where few do u is small and it is easy."
            ),
            *parts,
        ]
    )


def _table_of_u(log_u: np.ndarray) -> str:
    visited = log_u[np.isfinite(log_u)].astype(float)
    broken = int(np.isnan(log_u).sum() + np.isposinf(log_u).sum())
    sentence = f"{len(visited):,} of {len(log_u):,} images visited."
    if broken:
        sentence += f" {broken:,} entries are NaN or infinite: the training diverged there."
    if not len(visited):
        return paragraph(sentence)
    chart = charts.histogram(
        visited, "Images by log u", "log u", f"median {np.median(visited):.3g}"
    )
    return f'{paragraph(sentence)}<div class="charts">{chart}</div>'


def temperatures(temperatures: Mapping[str, np.ndarray]) -> str:
    """Histograms of the temperatures that a loss learned of single examples."""
    drawn = "".join(
        charts.histogram(
            np.asarray(values, float), name, "temperature", f"median {np.median(values):.3g}"
        )
        for name, values in temperatures.items()
    )
    if not drawn:
        return ""
    sentence = "Learned for each example: the wider its similarities spread, the higher."
    return f'{paragraph(sentence)}<div class="charts">{drawn}</div>'


def confusion(confusion: np.ndarray | None, class_names: Sequence[str] | None) -> str:
    if confusion is None or not len(confusion):
        return ""
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    names = [_class_name(label, class_names) for label in range(len(counts))]
    right = np.trace(counts) / max(1, counts.sum())
    drawn = (
        _matrix(counts, shares, names)
        if len(counts) <= LEGEND_CLASSES
        else embedded_images.heat_map(shares)
    )
    return (
        paragraph(
            f"What the linear probe takes each of {counts.sum():,} test images for: a row per true "
            f"class, a column per predicted one, colored by the share of the row. {right:.1%} lie "
            "on the diagonal."
        )
        + f'<div class="pair"><div class="matrix wide">{drawn}</div>'
        + f"<div>{_most_confused(counts, shares, names)}</div></div>"
    )


def _matrix(counts, shares, names):
    # A name as wide as its column needs no turning.
    upright = ' class="upright"' if max(map(len, names)) > 4 else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(map(_cell, counts[row], shares[row]))}</tr>"
        for row, name in enumerate(names)
    )
    return f"<table><thead{upright}><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(count, share):
    red, green, blue = embedded_images.heat_color(share)
    ink = "#fff" if share > 0.3 else "#1f2933"
    return (
        f'<td style="background:rgb({red},{green},{blue});color:{ink}" title="{share:.1%}">'
        f"{count or ''}</td>"
    )


def _most_confused(counts, shares, names):
    """The largest numbers beside the diagonal, as a table."""
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    rows = [
        [f"{names[true]} taken for {names[seen]}", f"{wrong[true, seen]:,}", f"{share:.1%}"]
        for true, seen in zip(*np.unravel_index(largest, wrong.shape), strict=True)
        if (share := shares[true, seen]) and true != seen
    ]
    head = ["Most often confused", "images", "of the class"]
    return page.table(rows, head) if rows else ""
