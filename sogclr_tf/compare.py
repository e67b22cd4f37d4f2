"""Draws several runs side by side, from the files that they left.

    python -m sogclr_tf.compare RUN_A RUN_B ... [--output=compare.html]

One HTML page that needs nothing beside it: the closing numbers, the config keys in which the runs
differ, and the curves that at least two of them share. The numbers are printed too. Only config,
metrics and result are read, without TensorFlow, so runs still going on can be compared.
"""

import json
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags

from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.report import page
from sogclr_tf.report.charts import colors, metric_charts
from sogclr_tf.report.page import Section, exact, flat, readable, title_of
from sogclr_tf.terminal import error_message

_OUTPUT = flags.DEFINE_string("output", "compare.html", "The page to write.")
# Where a run lacks a number or a key.
_NOTHING = "-"


def compare(paths: Sequence[str | os.PathLike], output: str | os.PathLike) -> str:
    """Writes the page.

    Args:
        paths: of two or more run folders.
        output: path of the HTML file.

    Returns:
        The table of numbers, as text for a terminal.

    Raises:
        ValueError: fewer than two folders, one given twice, one that is no run's, or files that
            cannot be read as what they should hold.
        FileNotFoundError: no such folder.
    """
    folders = _open(paths)
    names = _names([folder.path for folder in folders])
    histories = dict(zip(names, map(_history, folders), strict=True))
    numbers, best = _numbers([_parsed(RunFolder.read_result, folder) for folder in folders])
    differences = _differences([_parsed(RunFolder.stored_config, folder) for folder in folders])
    palette = dict(zip(names, colors(len(names)), strict=True))
    charts = metric_charts(histories, palette, runs=2)
    parts = {
        "Numbers": page.table(numbers, ["", *names], best) if numbers else "",
        "Differences in config": page.table(differences, ["", *names])
        if differences
        else page.paragraph("The configs are the same."),
        "Curves": charts and page.legend(palette.items()) + charts,
    }
    sections = [Section(title, html) for title, html in parts.items() if html]
    title = f"{len(names)} runs compared"
    page.write_page(output, page.page(title, ", ".join(names), sections))
    return _aligned([["", *names], *numbers])


def main(argv: list[str]) -> None:
    sys.stdout.write(f"{compare(argv[1:], _OUTPUT.value)}\npage  {_OUTPUT.value}\n")


def _open(paths: Sequence[str | os.PathLike]) -> list[RunFolder]:
    if len(paths) < 2:
        given = ", ".join(map(str, paths)) or "none"
        raise ValueError(f"got {given}: expected two run folders or more; name them all")
    for path in paths:
        if not pathlib.Path(path).is_dir():
            raise FileNotFoundError(f"{path} is no folder: give a --workdir of sogclr_tf.run")
    # Links and dots apart, so that a name is a folder's own and one given twice is seen.
    folders = [RunFolder(pathlib.Path(path).resolve()) for path in paths]
    for path, folder in zip(paths, folders, strict=True):
        if _parsed(RunFolder.stored_config, folder) is None:
            raise ValueError(
                f"{path} is no run folder: expected a config.json in it; give a --workdir of "
                "sogclr_tf.run"
            )
        if sum(folder.path == other.path for other in folders) > 1:
            raise ValueError(f"{path} is given twice: expected different runs; leave one out")
    return folders


def _parsed(read: Callable[[RunFolder], Any], folder: RunFolder) -> Any:
    """What a file of JSON holds, as `read` reads it from a folder."""
    try:
        return read(folder)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{folder.path} holds a file that is no JSON ({error}): expected what sogclr_tf.run "
            "wrote; restore it"
        ) from None


def _history(folder: RunFolder) -> dict[str, list[float]]:
    try:
        return folder.history()
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{folder.metrics} is no table of numbers ({error}): expected what sogclr_tf.run "
            "wrote; restore it"
        ) from None


def _names(paths: list[pathlib.Path]) -> list[str]:
    """The last parts of each path, as many as tell all of them apart."""
    for count in range(1, 1 + max(len(path.parts) for path in paths)):
        names = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _numbers(results: list[dict]) -> tuple[list[list[str]], list[set[int]]]:
    """Rows of the numbers that any run has, and the places of the best where more is better."""
    results = [flat(result) for result in results]
    rows, best = [], []
    for key in dict.fromkeys(key for result in results for key in result):
        values = [result.get(key) for result in results]
        present = [value for value in values if page.is_number(value)]
        if not present:
            continue
        cells = [readable(v, key) if page.is_number(v) else _NOTHING for v in values]
        rows.append([title_of(key), *cells])
        ranked = page.is_share(key) and not key.startswith("untrained_")
        best.append({p for p, v in enumerate(values) if v == max(present)} if ranked else set())
    return rows, best


def _differences(configs: list[dict]) -> list[list[str]]:
    """Rows of the config keys that the runs do not share."""
    configs = [flat(config) for config in configs]
    rows = []
    for key in dict.fromkeys(key for config in configs for key in config):
        cells = [exact(config[key]) if key in config else _NOTHING for config in configs]
        if len(set(cells)) > 1:
            rows.append([key, *cells])
    return rows


def _aligned(rows: list[list[str]]) -> str:
    """Rows as lines of text: names at the left, numbers at the right of their columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])])
        for name, *cells in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _run() -> None:
    try:
        app.run(main)
    except (ValueError, OSError) as error:
        sys.exit(error_message(str(error)))


if __name__ == "__main__":
    _run()
