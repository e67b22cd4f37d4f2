"""Table and picture of `study_batch_size.py`, of the trainings that are there."""

import itertools
import statistics

from studies.paired import lead

# Against which the others are set seed by seed.
BASELINE = "SimCLR"


def summary(results):
    """{(temperature, epochs, batch, method): {"knn": {seed: score}, "linear": {seed: score}}}."""
    found = {}
    for run, scores in sorted(results.items(), key=lambda item: item[0].seed):
        cell = (run.temperature, run.epochs, run.batch, run.method)
        for score, values in found.setdefault(cell, {"knn": {}, "linear": {}}).items():
            values[run.seed] = scores[score]
    return found


def write(results, methods, rate, folder):
    """Writes and prints what the trainings at the base `rate` of the learning rate gave."""
    chosen = {run: found for run, found in results.items() if run.rate == rate}
    found = summary({run: scores for run, scores in chosen.items() if run.method in methods})
    first = f"Base of the learning rate, at batch 64: {rate:g}."
    text = "\n".join([first, "", *tables(found, methods), *leads(found, methods)])
    (folder / "table.md").write_text(text)
    draw(found, methods, folder / "batch_size.png")
    print(text)


def panels(found):
    """The (epochs, temperature) of which there are trainings, the shorter ones first."""
    return sorted({(epochs, temperature) for temperature, epochs, _, _ in found})


def tables(found, methods):
    """Lines: a table of linear and kNN top-1 for each panel, means and half ranges of the seeds."""
    lines = []
    for epochs, temperature in panels(found):
        cells = {
            cell[2:]: scores for cell, scores in found.items() if cell[:2] == (temperature, epochs)
        }
        names = [method for method in methods if any(cell[1] == method for cell in cells)]
        head = f"linear / kNN top-1, {epochs} epochs, τ = {temperature:g}"
        lines += [f"| {head} | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
        for batch in sorted({batch for batch, _ in cells}):
            shown = (_cell(cells.get((batch, method))) for method in names)
            lines.append(f"| batch {batch} | {' | '.join(shown)} |")
        lines.append("")
    return lines


def _cell(scores):
    """Both scores of a cell, with half their range where there are several seeds."""
    if scores is None:
        return ""
    return " / ".join(_mean_and_half_range(scores[name].values()) for name in ("linear", "knn"))


def _mean_and_half_range(values):
    text = f"{statistics.mean(values):.1f}"
    return text if len(values) == 1 else f"{text} ± {(max(values) - min(values)) / 2:.1f}"


def leads(found, methods):
    """Lines: how far each method is ahead of the baseline where both have two seeds or more."""
    others = [method for method in methods if method != BASELINE]
    rows = []
    for (epochs, temperature), batch in itertools.product(
        panels(found), sorted({cell[2] for cell in found})
    ):
        base, *cells = (
            found.get((temperature, epochs, batch, method), {}).get("linear")
            for method in (BASELINE, *others)
        )
        shown = [lead(cell, base) for cell in cells]
        if any(shown):
            rows.append(f"| {epochs} | {temperature:g} | {batch} | {' | '.join(shown)} |")
    head = f"| epochs | τ | batch | {' | '.join(others)} |"
    return [head, "|---|---|---|" + "---|" * len(others), *rows, ""] if rows else []


def draw(found, methods, path):
    """Draws linear top-1 over the batch size, a line for each method, a panel for each length."""
    from matplotlib.figure import Figure

    shown = panels(found)
    figure = Figure(figsize=(4.0 * len(shown) + 1.6, 3.8), layout="constrained", dpi=100)
    colors = dict(zip(methods, ("C0", "C1", "C2", "C3", "C4", "C5"), strict=False))
    labels = {}
    for axes, (epochs, temperature) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        batches = sorted({cell[2] for cell in found if cell[:2] == (temperature, epochs)})
        for method in methods:
            there = [batch for batch in batches if (temperature, epochs, batch, method) in found]
            if there:
                cells = [found[temperature, epochs, batch, method] for batch in there]
                values = [cell["linear"].values() for cell in cells]
                labels[method] = axes.errorbar(
                    there,
                    [statistics.mean(scores) for scores in values],
                    [(max(scores) - min(scores)) / 2 for scores in values],
                    **{"marker": "o", "capsize": 3, "color": colors[method]},
                )
        axes.set(title=f"{epochs} epochs, τ = {temperature:g}", xlabel="Batch size")
        axes.set_xscale("log", base=2)
        axes.set_xticks(batches, [str(batch) for batch in batches])
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel("Linear top-1, percent")
    figure.legend(labels.values(), labels.keys(), loc="outside right center")
    figure.savefig(path)
