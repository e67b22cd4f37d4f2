"""The section of a report that shows how far the estimates of g lie from it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sogclr_tf.report import charts, page
from sogclr_tf.report.page import paragraph, readable

# Columns of the history, and what they are called side by side.
CURVES = {
    "normalizer_bias": "bias",
    "normalizer_rms": "root mean square",
    "normalizer_correlation": "correlation",
}
_POINTS = 2000


def section(measured: Any, history: Mapping[str, list]) -> str:
    """The last measurement, and its figures over the epochs, as HTML.

    Args:
        measured: what `sogclr_tf.normalizer_error` gives; None for no section.
        history: {column: list of floats}, as of `Material`.
    """
    if measured is None:
        return ""
    sentences = [
        f"At step {measured.step:,}, {measured.compared:,} estimates u of g beside g itself, the "
        "mean over the negatives of all training examples. The error is log u - log g, in nats."
    ]
    if measured.never_visited:
        sentences.append(f"{measured.never_visited:,} more had no estimate yet.")
    finite = (np.isfinite(measured.log_u) & np.isfinite(measured.log_g)).all()
    if not finite:
        sentences.append("Some are NaN or infinite, the training diverged: none is drawn.")
    if not (finite and measured.compared):
        return paragraph(" ".join(sentences))
    sentences.append(
        f"Bias {readable(measured.bias)}, root mean square {readable(measured.rms)}, without the "
        f"bias {readable(measured.deviation)}, correlation {readable(measured.correlation)}."
    )
    drawn = f'<div class="charts">{_scatter(measured)}{_curves(history)}</div>\n'
    return paragraph(" ".join(sentences)) + drawn + _by_age(measured)


def _scatter(measured):
    chosen = np.random.default_rng(0).permutation(measured.compared)[:_POINTS]
    log_g, log_u = (np.asarray(x, float)[chosen] for x in (measured.log_g, measured.log_u))
    return charts.estimates(log_g, log_u, "log u over log g", "log g", "line: equal")


def _curves(history):
    """Bias, root mean square and correlation by epoch, in one picture."""
    lines = [
        charts.Line(name, color, history["epoch"], history[column])
        for (column, name), color in zip(CURVES.items(), charts.colors(len(CURVES)), strict=True)
        if column in history and np.isfinite(history[column]).any()
    ]
    if not lines:
        return ""
    legend = page.legend([(line.name, line.color) for line in lines])
    return f"<div>{charts.line_chart(lines, 'Error by epoch')}{legend}</div>\n"


def _by_age(measured):
    rows = [
        [
            _span(group),
            f"{group.entries:,}",
            readable(group.bias),
            readable(group.rms),
        ]
        for group in measured.by_age()
    ]
    head = ["Steps since the visit", "estimates", "bias", "root mean square"]
    return page.table(rows, head) if rows else ""


def _span(group):
    if group.youngest == group.oldest:
        return f"{group.oldest:,}"
    return f"{group.youngest:,} to {group.oldest:,}"
