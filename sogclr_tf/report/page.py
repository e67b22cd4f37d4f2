"""The shell of a self-contained HTML page: style, contents, sections, tables, numbers as text.

Every function that returns HTML escapes the plain strings that it takes; an argument or a field
called `html` is HTML already.
"""

import dataclasses
import html as escaping
import json
import math
import numbers
import os
import pathlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from sogclr_tf.atomic_write import replacing
from sogclr_tf.printable import printable

# The browser itself refuses scripts and whatever would come from elsewhere.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MANY_VALUES = 12
# Patterns of names of numbers, and what they are called for people.
_TITLES = (
    (r"knn_top(\d+)", r"Weighted kNN, top-\1"),
    (r"knn(\d+)_top(\d+)", r"Weighted kNN of \1, top-\2"),
    (r"linear_top(\d+)", r"Linear probe, top-\1"),
    (r"probe_top(\d+)", r"Online probe, top-\1"),
    (r"fine_tuned_([\d.]+)_top(\d+)", r"Fine-tuned on \1% of labels, top-\2"),
    (r"zero_shot_top(\d+)", r"Zero-shot, top-\1"),
    (r"image_to_text_recall(\d+)", r"Image to text, recall@\1"),
    (r"text_to_image_recall(\d+)", r"Text to image, recall@\1"),
    ("probe_accuracy", "Online probe, training images"),
    ("normalizer_bias", "Bias of log u"),
    ("normalizer_rms", "Root mean square error of log u"),
    ("normalizer_correlation", "Correlation of log u with log g"),
    ("feature_std", "Standard deviation of features"),
    ("num_examples", "Training examples"),
)
# Parts of the names of numbers that are shares in 0..1.
_SHARES = ("top1", "top5", "recall", "accuracy", "largest_class")

_STYLE = """
:root { --ink: #1f2933; --soft: #66707c; --line: #e3e7ec; --accent: #2563a8; }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: #f5f6f8; color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 18px 60px; }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 0 0 4px; }
h3 { font-size: 14px; margin: 18px 0 8px; }
p { margin: 4px 0 12px; color: var(--soft); max-width: 75ch; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 6px; margin: 16px 0 20px; }
nav a { color: var(--accent); text-decoration: none; background: #fff; font-size: 13px;
  border: 1px solid var(--line); border-radius: 99px; padding: 3px 12px; }
nav a:hover { border-color: var(--accent); }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px; margin: 0 0 16px; scroll-margin-top: 12px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 22px 4px 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
tr:last-child > * { border-bottom: 0; }
th { font-weight: 500; color: var(--soft); }
td { overflow-wrap: anywhere; min-width: 6ch; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.best { font-weight: 650; }
.cards { display: grid; gap: 4px 36px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
.cards table { width: 100%; font-size: 13.5px; }
.cards td { text-align: right; padding-right: 0; }
.charts { display: grid; gap: 18px 26px; margin-top: 12px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 290px), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { font-size: 13.5px; font-weight: 600; display: flex; gap: 8px;
  justify-content: space-between; }
figcaption span { color: var(--soft); font-weight: 400; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 11px; fill: #66707c; }
svg .grid { stroke: #e9ecf0; stroke-width: 1; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
svg .dots { fill: none; stroke-width: 5.5; stroke-linecap: round; }
svg .estimates { fill: none; stroke-width: 2.6; stroke-linecap: round; stroke-opacity: 0.4; }
svg .equal { fill: none; stroke-width: 1.5; }
svg .points { fill: none; stroke-width: 5; stroke-linecap: round; stroke-opacity: 0.72; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; margin: 8px 0 2px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 6px; vertical-align: -1px; }
.legend span { overflow-wrap: anywhere; }
pre { background: #f5f6f8; border-radius: 8px; padding: 12px 14px; margin: 8px 0 0;
  white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
"""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        title: of its heading and of its entry in the contents.
        html: what stands below the heading.
    """

    title: str
    html: str


def page(title: str, subtitle: str, sections: Sequence[Section], style: str = "") -> str:
    """A whole page as a string.

    Args:
        title: of the page.
        subtitle: a sentence below it.
        sections: of `Section`, in order.
        style: CSS beyond the common one.
    """
    places = list(enumerate(sections, 1))
    contents = "".join(f'<a href="#part{n}">{escape(part.title)}</a>' for n, part in places)
    body = "".join(
        f'<section id="part{n}"><h2>{escape(part.title)}</h2>\n{part.html}</section>\n'
        for n, part in places
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}{style}</style>\n</head>\n<body><main>\n"
        f"<h1>{escape(title)}</h1>\n{paragraph(subtitle)}<nav>{contents}</nav>\n"
        f"{body}</main></body>\n</html>\n"
    )


def write_page(path: str | os.PathLike, html: str) -> pathlib.Path:
    """Writes a page as UTF-8: the file is the old one or the new one, never half.

    Returns:
        `path`, as a pathlib.Path.

    Raises:
        FileNotFoundError: the page's folder is missing.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} has no folder to stand in: make {path.parent} first")
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return path


def escape(text: object) -> str:
    """Anything as printable text that stands for itself in HTML, in a quoted attribute too."""
    return escaping.escape(printable(text))


def paragraph(text: object) -> str:
    """Text as a paragraph."""
    return f"<p>{escape(text)}</p>\n"


def table(
    rows: Sequence[Sequence[str]],
    head: Sequence[str] = (),
    best: Sequence[Collection[int]] | None = None,
) -> str:
    """A table: the first column names its row, the others hold text that is set as numbers.

    Args:
        rows: lists of strings.
        head: a string for each column; none, no heading.
        best: for each row the set of places, from 0 behind the name, to be set in bold.
    """
    best = best or [()] * len(rows)
    heading = "".join(f'<th class="number">{escape(text)}</th>' for text in head[1:])
    lines = [f"<tr><th>{escape(head[0])}</th>{heading}</tr>"] if head else []
    for (name, *cells), places in zip(rows, best, strict=True):
        filled = "".join(
            f'<td class="number{" best" * (place in places)}">{escape(cell)}</td>'
            for place, cell in enumerate(cells)
        )
        lines.append(f"<tr><th>{escape(name)}</th>{filled}</tr>")
    return f'<div class="wide"><table>{"".join(lines)}</table></div>\n'


def settings(values: Mapping[str, object]) -> str:
    """A {name: text} as a table of two columns, whose text may be long; none, no table."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{rows}</table>\n" if rows else ""


def legend(pairs: Iterable[tuple[str, str]]) -> str:
    """Pairs of (name, CSS color) as a line of swatches."""
    entries = "".join(
        f'<span><i style="background:{escape(color)}"></i>{escape(name)}</span>'
        for name, color in pairs
    )
    return f'<div class="legend">{entries}</div>\n'


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dictionary -> {dotted key: value that is no dictionary}."""
    found = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def title_of(key: str) -> str:
    """The name of a number or of a column of metrics, for people."""
    if key.startswith("untrained_"):
        title = title_of(key.removeprefix("untrained_"))
        return f"Untrained {title[0].lower()}{title[1:]}"
    for pattern, title in _TITLES:
        if match := re.fullmatch(pattern, key):
            return match.expand(title)
    part, _, name = key.rpartition(".")
    return f"{part}: {name}" if part else name.replace("_", " ").capitalize()


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of a result is a number; a truth value is none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_share(key: str) -> bool:
    """Whether the number of this name is a share in 0..1, which people read in percent."""
    return any(part in key for part in _SHARES)


def readable(value: Any, key: str = "") -> str:
    """A value of a result as text, rounded; a share in percent, by its key."""
    if is_number(value):
        return _readable_number(value, is_share(key))
    if isinstance(value, list | tuple):
        shown = ", ".join(readable(item) for item in value[:_MANY_VALUES])
        return f"{shown}, ... ({len(value)} values)" if len(value) > _MANY_VALUES else shown
    return exact(value)


def exact(value: Any) -> str:
    """A value of a config as text, not rounded."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _readable_number(value: float, percent: bool) -> str:
    if not math.isfinite(value):
        return str(value)
    if percent:
        return f"{100 * value:.1f}%"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"
