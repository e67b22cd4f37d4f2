"""The report of a run: one HTML file that needs nothing beside it."""

import dataclasses
import itertools

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from sogclr_tf import report_page, report_pictures
from sogclr_tf.plots import EMBEDDED_EXAMPLES, layout
from sogclr_tf.report_page import Section, escape, paragraph, readable, title_of

# Above so many classes colours cannot be told apart, nor numbers in a matrix be read.
_LEGEND_CLASSES = 20
_CONFUSIONS = 8
_SCORES = ("top1", "top5", "recall", "accuracy")

_STYLE = """
.pair { display: grid; gap: 18px 28px; margin-top: 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 1fr)); }
.rows { display: grid; gap: 10px 36px; margin-top: 10px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 470px), 1fr)); }
.row { display: grid; gap: 6px; }
.shelf { display: grid; gap: 10px 8px; grid-template-columns: repeat(auto-fill, 84px); }
.example img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain;
  border-radius: 5px; border: 3px solid transparent; background: #f0f2f5; }
.example p { margin: 1px 0 0; font-size: 11px; line-height: 1.3; text-align: center;
  overflow: hidden; overflow-wrap: anywhere; max-height: 2.6em; }
.query + .example { grid-column: 3; }
.query p { color: var(--ink); font-weight: 600; }
.same img { border-color: #3a9d5d; }
.other img { border-color: #e07b39; }
.key { font-weight: 600; }
.key.same { color: #2b7d48; }
.key.other { color: #b85a1c; }
.crisp { image-rendering: pixelated; }
.matrix > img { display: block; width: 100%; max-width: 640px; border: 1px solid var(--line); }
.matrix table { font-size: 13px; }
.matrix td, .matrix th { padding: 5px 7px; text-align: right; border: 0; min-width: 0; }
.matrix thead th { text-align: center; }
.matrix .upright th { vertical-align: bottom; writing-mode: vertical-rl;
  transform: rotate(180deg); text-align: left; }
.matrix td { min-width: 42px; text-align: center; border: 1px solid #fff; }
.scores table { font-size: 17px; }
.numbers > table { justify-self: start; align-self: start; }
.numbers > table td { text-align: right; padding-right: 0; }
""" + "".join(
    f".embedding:has(.legend span:nth-child({n}):hover) .points:not(:nth-child({n}))"
    "{stroke-opacity:.06}\n"
    for n in range(1, _LEGEND_CLASSES + 1)
)


@dataclasses.dataclass(frozen=True)
class Example:
    """An image to show.

    Attributes:
        image: uint8 or float in 0..1, [H, W, 1 or 3].
        caption: class name, file name, log u: what stands below it.
        label: its class from 0, or None where it is unknown.
    """

    image: np.ndarray
    caption: str
    label: int | None = None


@dataclasses.dataclass(frozen=True)
class Material:
    """What a report is made of. What is None or empty has no section.

    Attributes:
        title: such as the name of the run's folder.
        command: the exact command line.
        config: nested dictionary that JSON can hold.
        environment: {str: str}: versions, machine, strategy.
        result: numbers by name, nested dictionaries and lists among them. A name that begins with
            "untrained_" stands beside the name without it; top-1 and recall are in percent.
        history: {column: list of floats} with "epoch"; NaN where an epoch has no value.
        features: float32 [M, C] of test images.
        labels: int [M] from 0.
        class_names: list of str, a name for each class.
        neighbours: of (query: Example, [nearest: Example, ...]).
        log_u: float32 [N] of the training images, -inf where never visited.
        hardest: Examples of the largest u.
        easiest: Examples of the smallest u.
        confusion: int [K, K]: rows are the true class, columns the probe's prediction.
    """

    title: str
    command: str = ""
    config: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)
    result: dict = dataclasses.field(default_factory=dict)
    history: dict = dataclasses.field(default_factory=dict)
    features: np.ndarray | None = None
    labels: np.ndarray | None = None
    class_names: list | None = None
    neighbours: list = dataclasses.field(default_factory=list)
    log_u: np.ndarray | None = None
    hardest: list = dataclasses.field(default_factory=list)
    easiest: list = dataclasses.field(default_factory=list)
    confusion: np.ndarray | None = None

    def __post_init__(self):
        features, labels, confusion = self.features, self.labels, self.confusion
        if features is not None and np.ndim(features) != 2:
            raise ValueError(
                f"features have shape {np.shape(features)}: expected [M, C]; flatten them"
            )
        if features is not None and labels is not None and len(features) != len(labels):
            raise ValueError(
                f"there are {len(labels)} labels: expected one for each of {len(features)} "
                "features; give those of the same images"
            )
        if confusion is not None and (len(confusion),) * 2 != np.shape(confusion):
            raise ValueError(
                f"confusion has shape {np.shape(confusion)}: expected [K, K]; count all classes in "
                "both directions"
            )


def write_report(material, path):
    """Writes the report of a run; the file is the old one or the new one, never half.

    Args:
        material: `Material`.
        path: of the HTML file.

    Returns:
        `path`.

    Raises:
        ValueError: an image of another shape or dtype, or a history without "epoch".
        FileNotFoundError: the page's folder is missing.
    """
    parts = {
        "Numbers": _numbers(material.result),
        "Curves": report_pictures.metric_charts(
            {material.title: material.history}, {material.title: report_pictures.colours(1)[0]}
        ),
        "Embedding": _embedding(material),
        "Nearest neighbours": _neighbours(material.neighbours),
        "Hard and easy images": _hardness(material),
        "Confusion": _confusion(material.confusion, material.class_names),
        "Config": _config(material.config),
        "Environment": report_page.settings(material.environment),
        "Command": f"<pre>{escape(material.command)}</pre>" if material.command else "",
    }
    sections = [Section(title, html) for title, html in parts.items() if html]
    subtitle = "What a run of sogclr_tf left: numbers, curves and pictures, in one file."
    return report_page.write_page(
        path, report_page.page(material.title, subtitle, sections, _STYLE)
    )


def _numbers(result):
    """The scores, untrained beside trained, above all other values."""
    values = report_page.flat(result)
    if not values:
        return ""
    scores = [key for key in values if _is_score(key, values)]
    shown = {*scores, *map(_twin, scores)}
    others = {title_of(key): readable(values[key], key) for key in values if key not in shown}
    parts = [_score_table(values, scores), report_page.settings(others)]
    return f'<div class="pair numbers">{"".join(part for part in parts if part)}</div>\n'


def _twin(key):
    """The name of the same number of the untrained encoder."""
    return f"untrained_{key}"


def _is_score(key, values):
    if key.startswith("untrained_") or not report_page.is_number(values[key]):
        return False
    return _twin(key) in values or any(part in key for part in _SCORES)


def _score_table(values, scores):
    if not scores:
        return ""
    twins = list(map(_twin, scores))
    columns = [scores]
    head = ["On test images", "trained"]
    if any(twin in values for twin in twins):
        columns, head = [twins, scores], [head[0], "untrained", head[1]]
    rows = [
        [title_of(score), *(readable(values[key], key) if key in values else "" for key in keys)]
        for score, *keys in zip(scores, *columns, strict=True)
    ]
    best = [{len(columns) - 1}] * len(rows)
    return f'<div class="scores">{report_page.table(rows, head, best)}</div>\n'


def _embedding(material):
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
        report_pictures.scatter(plane, groups, "PCA", share),
        report_pictures.scatter(layout(features[chosen], 0), groups, "t-SNE"),
    ]
    sentence = f"Features of {len(chosen):,} test images, L2-normalised, each a point"
    legend = ""
    if labels is not None:
        sentence += " in the colour of its class"
    if 1 < len(groups) <= _LEGEND_CLASSES:
        sentence += "; point at a name below to see a class alone"
        legend = report_page.legend([(name, colour) for name, colour, _ in groups])
    return (
        f'{paragraph(f"{sentence}.")}<div class="embedding">'
        f'<div class="pair">{"".join(pictures)}</div>{legend}</div>'
    )


def _groups(labels, count, class_names):
    """[(name, colour, boolean [count])] of each class that occurs; of all where none is known."""
    if labels is None:
        return [("test images", report_pictures.colours(1)[0], np.ones(count, bool))]
    classes = np.unique(labels)
    palette = report_pictures.colours(len(classes))
    return [
        (_class_name(label, class_names), colour, labels == label)
        for label, colour in zip(classes, palette, strict=True)
    ]


def _class_name(label, class_names):
    known = class_names is not None and 0 <= label < len(class_names)
    return str(class_names[label] if known else label)


def _principal_plane(features):
    """float32 [N, C] -> float [N, 2], and how much of the variance it holds, in words."""
    dimensions = min(2, *features.shape)
    pca = PCA(dimensions, random_state=0)
    # A collapsed encoder has no variance to share out; its picture is still wanted.
    with np.errstate(invalid="ignore"):
        points = pca.fit_transform(normalize(features))
    share = float(np.sum(pca.explained_variance_ratio_))
    points = np.pad(points, ((0, 0), (0, 2 - dimensions)))
    return points, f"{share:.0%} of the variance" if np.isfinite(share) else "no variance"


def _neighbours(neighbours):
    if not neighbours:
        return ""
    longest = max(len(nearest) for _, nearest in neighbours)
    columns = f"grid-template-columns:minmax(0,84px) 4px repeat({max(1, longest)},minmax(0,84px))"
    rows = "".join(
        f'<div class="row" style="{columns}">{_example(query, "query")}'
        + "".join(_example(found, _agreement(query, found)) for found in nearest)
        + "</div>\n"
        for query, nearest in neighbours
    )
    return f'{_agreement_sentence(neighbours)}<div class="rows">{rows}</div>'


def _agreement(query, found):
    """The class of a neighbour's frame; none where a label is unknown."""
    if query.label is None or found.label is None:
        return ""
    return "same" if query.label == found.label else "other"


def _agreement_sentence(neighbours):
    pairs = [(query, found) for query, nearest in neighbours for found in nearest]
    kinds = [_agreement(query, found) for query, found in pairs]
    intro = "Each image at the left, and beside it those whose features are nearest."
    if "" in kinds:
        return paragraph(intro)
    return (
        f"<p>{intro} {kinds.count('same')} of {len(kinds)} neighbours have "
        '<span class="key same">the same class</span> as their image, '
        f'{kinds.count("other")} <span class="key other">another</span>.</p>\n'
    )


def _example(example, kind=""):
    caption = escape(example.caption)
    return (
        f'<figure class="example {kind}">{report_pictures.image(example.image)}'
        f'<p title="{caption}">{caption}</p></figure>'
    )


def _hardness(material):
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


def _table_of_u(log_u):
    visited = log_u[np.isfinite(log_u)].astype(float)
    broken = int(np.isnan(log_u).sum() + np.isposinf(log_u).sum())
    sentence = f"{len(visited):,} of {len(log_u):,} images visited."
    if broken:
        sentence += f" {broken:,} entries are NaN or infinite: the training diverged there."
    if not len(visited):
        return paragraph(sentence)
    chart = report_pictures.histogram(
        visited, "Images by log u", "log u", f"median {np.median(visited):.3g}"
    )
    return f'{paragraph(sentence)}<div class="charts">{chart}</div>'


def _confusion(confusion, class_names):
    if confusion is None or not len(confusion):
        return ""
    counts = np.asarray(confusion)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    names = [_class_name(label, class_names) for label in range(len(counts))]
    right = np.trace(counts) / max(1, counts.sum())
    drawn = (
        _matrix(counts, shares, names)
        if len(counts) <= _LEGEND_CLASSES
        else report_pictures.heat_map(shares)
    )
    return (
        paragraph(
            f"What the linear probe takes each of {counts.sum():,} test images for: a row per true "
            f"class, a column per predicted one, coloured by the share of the row. {right:.1%} lie "
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
    red, green, blue = report_pictures.heat_colour(share)
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
    return report_page.table(rows, head) if rows else ""


def _config(config):
    """A table for each part of a nested config, the values outside any part first."""
    parts = itertools.groupby(
        sorted(report_page.flat(config).items(), key=lambda item: "." in item[0]),
        key=lambda item: item[0].partition(".")[0] if "." in item[0] else "",
    )
    cards = "".join(
        f"<div><h3>{escape(name or 'run')}</h3>"
        + report_page.settings(
            {key.removeprefix(f"{name}."): report_page.exact(value) for key, value in values}
        )
        + "</div>\n"
        for name, values in parts
    )
    return f'<div class="cards">{cards}</div>\n' if cards else ""
