"""The report of a run: one HTML file that needs nothing beside it."""

import itertools
import pathlib
from typing import Any

from sogclr_tf.report import charts, normalizer, page, retrieval, sections
from sogclr_tf.report.material import Material
from sogclr_tf.report.page import Section, escape, readable, title_of

_STYLE = (
    """
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
"""
    + retrieval.STYLE
    + "".join(
        f".embedding:has(.legend span:nth-child({n}):hover) .points:not(:nth-child({n}))"
        "{stroke-opacity:.06}\n"
        for n in range(1, sections.LEGEND_CLASSES + 1)
    )
)


def write_report(material: Material, path: str | pathlib.Path) -> pathlib.Path:
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
        "Curves": charts.metric_charts(
            {material.title: _curves(material)}, {material.title: charts.colors(1)[0]}
        ),
        "Embedding": sections.embedding(material),
        "Nearest neighbors": sections.neighbors(material.neighbors),
        "Retrieval": retrieval.section(material.retrieved),
        "Hard and easy images": sections.hardness(material),
        "Temperatures": sections.temperatures(material.temperatures),
        "Error of the estimates of g": normalizer.section(material.normalizer, material.history),
        "Confusion": sections.confusion(material.confusion, material.class_names),
        "Config": _config(material.config),
        "Environment": page.settings(material.environment),
        "Command": f"<pre>{escape(material.command)}</pre>" if material.command else "",
    }
    shown = [Section(title, html) for title, html in parts.items() if html]
    subtitle = "What a run of sogclr_tf left: numbers, curves and pictures, in one file."
    return page.write_page(path, page.page(material.title, subtitle, shown, _STYLE))


def _curves(material: Material) -> dict:
    """The history without what another section draws."""
    apart = normalizer.CURVES if material.normalizer is not None else ()
    return {name: values for name, values in material.history.items() if name not in apart}


def _numbers(result: dict) -> str:
    """The scores, untrained beside trained, above all other values."""
    values = page.flat(result)
    if not values:
        return ""
    scores = [key for key in values if _is_score(key, values)]
    shown = {*scores, *map(_twin, scores)}
    others = {title_of(key): readable(values[key], key) for key in values if key not in shown}
    parts = [_score_table(values, scores), page.settings(others)]
    return f'<div class="pair numbers">{"".join(part for part in parts if part)}</div>\n'


def _twin(key: str) -> str:
    """The name of the same number of the untrained encoder."""
    return f"untrained_{key}"


def _is_score(key: str, values: dict[str, Any]) -> bool:
    if key.startswith("untrained_") or not page.is_number(values[key]):
        return False
    return _twin(key) in values or (page.is_share(key) and key != "largest_class")


def _score_table(values: dict[str, Any], scores: list[str]) -> str:
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
    return f'<div class="scores">{page.table(rows, head, best)}</div>\n'


def _config(config: dict) -> str:
    """A table for each part of a nested config, the values outside any part first."""
    parts = itertools.groupby(
        sorted(page.flat(config).items(), key=lambda item: "." in item[0]),
        key=lambda item: item[0].partition(".")[0] if "." in item[0] else "",
    )
    cards = "".join(
        f"<div><h3>{escape(name or 'run')}</h3>"
        + page.settings({key.removeprefix(f"{name}."): page.exact(value) for key, value in values})
        + "</div>\n"
        for name, values in parts
    )
    return f'<div class="cards">{cards}</div>\n' if cards else ""
