"""Charts inside an HTML page, as SVG.

The functions return HTML and escape the names that they draw. A picture is 320 units wide and
grows or shrinks with its place.
"""

import colorsys
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from sogclr_tf.report.page import escape, is_share, readable, title_of

# Distinct beside one another, and none the color of the grid.
_COLORS = (
    "#2563a8",
    "#e07b39",
    "#3a9d5d",
    "#c8443f",
    "#8460b8",
    "#8a5a44",
    "#d76fb0",
    "#6f7782",
    "#b5a52b",
    "#2ba7b8",
)
WIDTH, HEIGHT = 320, 208
# The plot inside the picture.
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 312, 8, 176
_FEW_POINTS = 30
_FIRST_METRICS = (
    "loss",
    "contrast_accuracy",
    "probe_accuracy",
    "knn_top1",
    "probe_top1",
    "alignment",
    "uniformity",
    "feature_std",
    "learning_rate",
    "examples_per_second",
)


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        name: shown by the browser over the curve.
        color: in CSS's notation.
        x, y: equally many floats; a point whose y is not finite is left out.
    """

    name: str
    color: str
    x: list
    y: list


@dataclasses.dataclass(frozen=True)
class _Scale:
    """Maps values in [low, high] onto the units of a picture, [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(float(self.start + share * (self.end - self.start)), 1)


def colors(count: int) -> list[str]:
    """`count` colors in CSS's notation, as different as so many can be."""
    if count <= len(_COLORS):
        return list(_COLORS[:count])
    # Neighbors in hue differ in lightness.
    wheel = [colorsys.hls_to_rgb(k / count, (0.42, 0.62)[k % 2], 0.6) for k in range(count)]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in rgb) for rgb in wheel]


def metric_charts(
    histories: Mapping[str, Mapping[str, list]], palette: Mapping[str, str], runs: int = 1
) -> str:
    """A chart by epoch of each metric, the best known first, as HTML; empty where there is none.

    Args:
        histories: {name of a run: {column: list of floats}} with a column "epoch"; NaN where a
            metric was not measured.
        palette: {name of a run: CSS color}.
        runs: how many runs must have measured a metric for it to be drawn.

    Raises:
        ValueError: a history without the column "epoch".
    """
    metrics: dict[str, list[Line]] = {}
    for name, history in histories.items():
        if history and "epoch" not in history:
            raise ValueError(
                f"the metrics {list(history)} lack 'epoch': expected it beside them; add the column"
            )
        for column in history:
            line = _metric_line(name, palette[name], history, column)
            if column != "epoch" and np.isfinite(line.y).any():
                metrics.setdefault(column, []).append(line)
    known = sorted(metrics, key=lambda column: (_place(column), column))
    drawn = "".join(_metric_chart(key, metrics[key]) for key in known if len(metrics[key]) >= runs)
    return f'<div class="charts">{drawn}</div>\n' if drawn else ""


def line_chart(lines: Sequence[Line], title: str, note: str = "", suffix: str = "") -> str:
    """Curves by epoch, as a figure.

    Args:
        lines: of `Line`, one of them with a finite point at least.
        title: above the picture.
        note: at the right of the title.
        suffix: of the numbers at the vertical axis, such as "%".
    """
    kept = [(line, *_finite(line)) for line in lines]
    # All epochs, so that the charts of a page stand above one another.
    across = _scale(np.concatenate([line.x for line in lines]), _LEFT + 4, _RIGHT - 4)
    upwards = _scale(np.concatenate([y for _, _, y in kept]), _BOTTOM - 6, _TOP + 4)
    drawn = "".join(_curve(line, x, y, across, upwards) for line, x, y in kept if len(x))
    return _figure(_axes(across, upwards, "epoch", suffix, whole=True) + drawn, title, note)


def histogram(values: np.ndarray, title: str, label: str, note: str = "", bins: int = 40) -> str:
    """How many of finite values, float [N] with N at least 1, lie where, as a figure."""
    counts, edges = np.histogram(values, bins=bins)
    across = _Scale(edges[0], edges[-1], _LEFT, _RIGHT)
    upwards = _Scale(0, counts.max(), _BOTTOM, _TOP + 4)
    bars = "".join(
        f"M{across(left)} {_BOTTOM}V{upwards(count)}H{across(right)}V{_BOTTOM}"
        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True)
        if count
    )
    drawn = f'<path d="{bars}" fill="{_COLORS[0]}" stroke="#fff" stroke-width="0.6"/>'
    return _figure(_axes(across, upwards, label) + drawn, title, note)


def estimates(
    exact: np.ndarray, estimated: np.ndarray, title: str, label: str, note: str = ""
) -> str:
    """Estimates over what they estimate, as a figure, with a line where both are equal.

    Args:
        exact: float [N], finite, N at least 1.
        estimated: float [N], finite.
        title: above the picture.
        label: of the horizontal axis.
        note: at the right of the title.
    """
    across, upwards = _scale(exact, _LEFT + 4, _RIGHT - 4), _scale(estimated, _BOTTOM - 6, _TOP + 4)
    dots = _dots(np.stack([exact, estimated], axis=1), across, upwards)
    drawn = (
        f'{_axes(across, upwards, label)}<path class="estimates" stroke="{_COLORS[0]}" d="{dots}"/>'
    )
    low, high = max(across.low, upwards.low), min(across.high, upwards.high)
    if low < high:
        line = f"M{across(low)} {upwards(low)}L{across(high)} {upwards(high)}"
        drawn += f'<path class="equal" stroke="{_COLORS[1]}" d="{line}"/>'
    return _figure(drawn, title, note)


def scatter(
    points: np.ndarray, groups: Sequence[tuple[str, str, np.ndarray]], title: str, note: str = ""
) -> str:
    """Points in the plane, as a square figure without axes, whose units mean nothing.

    Args:
        points: float [N, 2].
        groups: of (name, color, boolean [N]), which points it has.
        title: above the picture.
        note: at the right of the title.
    """
    across = _scale(points[:, 0], 6, WIDTH - 6)
    upwards = _scale(points[:, 1], WIDTH - 6, 6)
    drawn = "".join(
        f'<path class="points" stroke="{escape(color)}" '
        f'd="{_dots(points[chosen], across, upwards)}"><title>{escape(name)}</title></path>'
        for name, color, chosen in groups
    )
    return _figure(drawn, title, note, height=WIDTH)


def _figure(drawn, title, note, height=HEIGHT):
    return (
        f"<figure><figcaption>{escape(title)}<span>{escape(note)}</span></figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{drawn}</svg>'
        "</figure>\n"
    )


def _place(column):
    return _FIRST_METRICS.index(column) if column in _FIRST_METRICS else len(_FIRST_METRICS)


def _metric_line(name, color, history, column):
    values = np.asarray(history[column], float)
    if is_share(column):
        values = 100 * values
    return Line(name, color, history["epoch"], values)


def _metric_chart(column, lines):
    suffix = "%" if is_share(column) else ""
    last = lines[0].y[np.isfinite(lines[0].y)][-1]
    note = f"{readable(float(last))}{suffix}" if len(lines) == 1 else ""
    return line_chart(lines, title_of(column), note, suffix)


def _finite(line):
    """The points of a line that can be drawn: float [P], float [P]."""
    x, y = np.asarray(line.x, float), np.asarray(line.y, float)
    shown = np.isfinite(y)
    return x[shown], y[shown]


def _scale(values, start, end):
    """The scale of finite values; one that is alone, or equal to all, gets room around it."""
    low, high = float(np.min(values)), float(np.max(values))
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) / 2 or 0.5
        low, high = low - room, high + room
    return _Scale(low, high, start, end)


def _curve(line, x, y, across, upwards):
    places = " ".join(f"{across(left)},{upwards(top)}" for left, top in zip(x, y, strict=True))
    color, name = escape(line.color), f"<title>{escape(line.name)}</title>"
    drawn = f'<polyline class="line" stroke="{color}" points="{places}">{name}</polyline>'
    # A lone point makes no line, so the points show while they are few.
    if len(x) <= _FEW_POINTS:
        dots = _dots(np.stack([x, y], axis=1), across, upwards)
        drawn += f'<path class="dots" stroke="{color}" d="{dots}">{name}</path>'
    return drawn


def _dots(points, across, upwards):
    """A path of lines without length, which round ends make dots: a tenth of as many circles."""
    return "".join(f"M{across(x)} {upwards(y)}h0" for x, y in points)


def _axes(across, upwards, label, suffix="", whole=False):
    """Grid, numbers and the horizontal label; `whole` leaves fractions off the horizontal axis."""
    drawn = []
    for value, text in _ticks(upwards, 4):
        y = upwards(value)
        drawn.append(
            f'<path class="grid" d="M{_LEFT} {y}H{_RIGHT}"/>'
            f'<text x="{_LEFT - 5}" y="{y + 4:g}" text-anchor="end">{text}{escape(suffix)}</text>'
        )
    for value, text in _ticks(across, 6, whole=whole):
        x = across(value)
        drawn.append(f'<text x="{x}" y="{_BOTTOM + 14}" text-anchor="middle">{text}</text>')
    drawn.append(
        f'<text x="{(_LEFT + _RIGHT) / 2:g}" y="{HEIGHT - 4}" text-anchor="middle">'
        f"{escape(label)}</text>"
    )
    return "".join(drawn)


def _ticks(scale, count, whole=False):
    """[(value, text)] of about `count` round numbers on a scale."""
    raw = (scale.high - scale.low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    if whole:
        step = max(1, step)
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    # Twelve digits hide what binary fractions add.
    return [(k * step, f"{k * step:,.12g}") for k in range(first, last + 1)]
