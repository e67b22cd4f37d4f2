"""Tables and picture of `study_bias.py`."""

# Harm is predicted where the pull of the negatives is off by more than a third of itself: descent
# along it lowers F by two thirds of what it might, at worst, as if a third of the epochs were left
# out, which lowers the trainings of `study_batch_size.py` by a point or two.
PULL_OFF = 1 / 3
# And where more than half of SimCLR's denominator is the positive: by as much the example counts
# for less than others.
POSITIVE = 1 / 2
# The batch at which the effects of N and gamma are shown.
SMALL = 16


def write(results, folder):
    """Writes and prints the tables, and draws the picture."""
    found = Results(results)
    parts = (found.harmed(), found.bias(), found.pulls(), found.positives(), found.by_examples())
    text = "\n".join(line for part in parts for line in part)
    (folder / "bias.md").write_text(text)
    draw(found, folder / "bias.png")
    print(text)


class Results:
    """What was measured, by N, temperature and batch.

    Attributes:
        examples, temperatures, batches: those that there are, sorted.
        gammas: names of the measures of a table, by gamma.
    """

    def __init__(self, results):
        self._found = {tuple(run): found for run, found in results.items()}
        axes = zip(*self._found, strict=True)
        self.examples, self.temperatures, self.batches = (sorted(set(axis)) for axis in axes)
        names = next(iter(results.values()))
        self.gammas = [name for name in names if name.startswith("gamma")]

    def at(self, temperature, batch, examples=None):
        """What was measured there, at the largest N by default, or None."""
        return self._found.get((examples or self.examples[-1], temperature, batch))

    def column(self, temperature, name):
        """(batches, values) of a measure at the largest N."""
        found = {batch: self.at(temperature, batch) for batch in self.batches}
        there = [batch for batch in self.batches if found[batch]]
        return there, [found[batch][name] for batch in there]

    def harmed(self):
        """Lines: the largest batch of each temperature that is predicted to be harmed."""
        limits = {"positive": POSITIVE, "gradient": PULL_OFF}
        limits |= dict.fromkeys(self.gammas, PULL_OFF)

        def cell(temperature, name):
            batches, values = self.column(temperature, name)
            pairs = zip(batches, values, strict=True)
            over = [batch for batch, value in pairs if value > limits[name]]
            return f"up to {over[-1]:,}" if over else "none"

        names = {"positive": "SimCLR, by its positive", "gradient": "SimCLR and DCL, by the bias"}
        names |= {name: f"SogCLR, {name}" for name in self.gammas}
        return _table("batches harmed", self.temperatures, limits, cell, names.get)

    def bias(self):
        """Lines: bias of log g measured and predicted; bold where the pull is off by too much."""

        def cell(temperature, batch):
            found = self.at(temperature, batch)
            if not found:
                return ""
            text = f"{found['bias']:.2g} / {found['predicted']:.2g}"
            return f"**{text}**" if found["gradient"] > PULL_OFF else text

        title = f"bias of log g, measured / predicted, N = {self.examples[-1]:,}"
        return _table(title, self.temperatures, self.batches, cell)

    def pulls(self):
        """Lines: by how much the pull is off, in percent; and so with a table, at a small batch."""
        names = {"gradient": "in-batch"} | {name: name for name in self.gammas}
        return [
            *self._percent("bias of the pull of the negatives, percent", "gradient"),
            *_table(
                f"bias of the pull, percent, batch {SMALL}",
                self.temperatures,
                names,
                lambda temperature, name: self._share(self.at(temperature, SMALL), name),
                names.get,
            ),
        ]

    def positives(self):
        """Lines: the positive's share of SimCLR's denominator, in percent."""
        return self._percent("positive in SimCLR's denominator, percent", "positive")

    def by_examples(self):
        """Lines: the bias at a small batch over N and temperature."""

        def cell(temperature, examples):
            found = self.at(temperature, SMALL, examples)
            return f"{found['bias']:.2g}" if found else ""

        title = f"bias of log g, batch {SMALL}"
        return _table(title, self.temperatures, self.examples, cell, "N = {:,}".format)

    def _percent(self, title, name):
        def cell(temperature, batch):
            return self._share(self.at(temperature, batch), name)

        return _table(title, self.temperatures, self.batches, cell)

    def _share(self, found, name):
        return f"{100 * found[name]:.1f}" if found else ""


def _table(title, temperatures, columns, cell, named="batch {:,}".format):
    """Lines of a table with a row for each temperature."""
    lines = [
        f"| {title} | {' | '.join(named(column) for column in columns)} |",
        "|---|" + "---|" * len(columns),
    ]
    for temperature in temperatures:
        cells = (cell(temperature, column) for column in columns)
        lines.append(f"| τ = {temperature:g} | {' | '.join(cells)} |")
    return [*lines, ""]


def draw(found, path):
    """Draws the bias and the shares over the batch, and the bias over N."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.4, 7.2), layout="constrained", dpi=100)
    bias, pull, positive, count = figure.subplots(2, 2).flat
    for number, temperature in enumerate(found.temperatures):
        style = {"color": f"C{number}", "lw": 1}
        batches, measured = found.column(temperature, "bias")
        bias.plot(batches, [-value for value in measured], "o", **style, label=f"τ = {temperature}")
        predicted = [-value for value in found.column(temperature, "predicted")[1]]
        bias.plot(batches, predicted, "-", **style)
        _plot_percent(pull, *found.column(temperature, "gradient"), "o-", style)
        if found.gammas:
            _plot_percent(pull, *found.column(temperature, found.gammas[-1]), "--", style)
        _plot_percent(positive, *found.column(temperature, "positive"), "o-", style)
        over = [(examples, found.at(temperature, SMALL, examples)) for examples in found.examples]
        there = [(examples, -at["bias"]) for examples, at in over if at]
        count.plot(*zip(*there, strict=True), "o-", **style)
    bias.set(title=f"Underestimate of log g, N = {found.examples[-1]:,}", yscale="log")
    bias.set_ylabel("measured (o), predicted (-)")
    pull.set(title="Bias of the negatives' pull", ylabel="percent: in-batch (o-), table (--)")
    positive.set(title="The positive in SimCLR's denominator", ylabel="percent")
    count.set(
        title=f"Underestimate of log g, batch {SMALL}", xlabel="N", yscale="log", xscale="log"
    )
    for axes, limit in ((pull, PULL_OFF), (positive, POSITIVE)):
        axes.axhline(100 * limit, color="black", ls=":", lw=1)
    for axes in (bias, pull, positive):
        axes.set_xlabel("Batch size")
        axes.set_xscale("log", base=2)
        axes.set_xticks(found.batches, [str(batch) for batch in found.batches], fontsize=8)
    for axes in figure.axes:
        axes.grid(alpha=0.25)
    figure.legend(*bias.get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path)


def _plot_percent(axes, batches, values, line, style):
    axes.plot(batches, [100 * value for value in values], line, **style)
