"""Measures three ways past a small batch: as it is, accumulated gradients, and a virtual batch.

    python tools/study_virtual_batch.py --data_dir=DIR [--workdir=docs/study] [--processes=2]

DIR holds CIFAR-10 as tensorflow_datasets prepares it. Images, network, augmentation, optimizer and
scores are those of `study_batch_size.py`, and so is the learning rate: the base that it chose,
times the root of the examples behind an update. All have equal epochs. Batch normalization is over
what passes the network together, 16 examples of the virtual batch as of the small one; the
networks of the last way have none. Beside kNN and linear top-1, each run ends with the exact
objective and the norm of its gradient, over two fixed views of the first 2,000 training images.

Every training that ends is a line of `virtual_batch.jsonl`; the same command started again goes on
with those that are missing, and `--ways` trains some of them alone. It writes `virtual_batch.md`
and `virtual_batch.png` beside it, of what is there.
"""

import argparse
import functools
import itertools
import pathlib
import statistics
from typing import NamedTuple

import study_runs
from studies import cifar

import sogclr_tf
from sogclr_tf.training.optimizers import build_optimizer


class Way(NamedTuple):
    """How a run comes by its updates.

    Attributes:
        batch: examples whose loss is computed together.
        chunks: parts of a batch that pass through the network one after the other.
        accumulated: batches whose gradients make one update.
        normalization: of the network, "batch"; or "group", and "layer" in its projector.
    """

    batch: int
    chunks: int = 1
    accumulated: int = 1
    normalization: str = "batch"


class Run(NamedTuple):
    """One training; its fields name it."""

    method: str
    way: str
    epochs: int
    seed: int


IMAGES, MEASURED = 10_000, 2_000
EPOCHS = 8
TEMPERATURE = 0.1
# That `study_batch_size.py` chose at batches of 64.
RATE = 4e-3
METHODS = ("SimCLR", "SogCLR 0.9")
SEEDS = (0, 1, 2)
WAYS = {
    "batch 8": Way(8),
    "batch 16": Way(16),
    "virtual 256 in 16 chunks": Way(256, chunks=16),
    "16 x 16 accumulated": Way(16, accumulated=16),
}
# Of these one seed: with other statistics in the batch normalization, and without.
REFERENCES = {
    "batch 256": Way(256),
    "batch 16, group": Way(16, normalization="group"),
}
ALL = {**WAYS, **REFERENCES}
SCORES = ("linear", "knn", "objective", "gradient_norm")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", required=True, help="where TFDS keeps cifar10")
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("docs/study"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=ALL, default=[*ALL], help="these alone")
    options = parser.parse_args()
    options.workdir.mkdir(parents=True, exist_ok=True)
    results = options.workdir / "virtual_batch.jsonl"
    trained = functools.partial(train, data_dir=options.data_dir)
    study_runs.train_missing(runs(options.ways), trained, results, options.processes)
    write(study_runs.read(results, Run), options.workdir)


def runs(ways):
    """The runs of these ways, the first seed of all first."""
    chosen = [(seed, way) for seed, way in _grid(SEEDS, WAYS) if way in ways]
    chosen += [(SEEDS[0], way) for way in REFERENCES if way in ways]
    # By the seed alone, which keeps the order of the ways.
    chosen.sort(key=lambda pair: pair[0])
    return [Run(method, way, EPOCHS, seed) for (seed, way), method in _grid(chosen, METHODS)]


def _grid(*axes):
    return list(itertools.product(*axes))


def train(run, data_dir):
    """Trains one run: {score: float}, top-1 in percent, the exact objective, and seconds."""
    import keras

    images, labels = cifar.load(data_dir, f"train[:{IMAGES}]")
    keras.utils.clear_session()
    keras.utils.set_random_seed(run.seed)
    model, views = compiled(run, images)
    model.fit(views, epochs=run.epochs, verbose=0)
    return {**cifar.evaluate(model.encoder, images, labels, data_dir), **exact(model, images)}


def compiled(run, images):
    """(model, views) of a run."""
    way = ALL[run.way]
    views = sogclr_tf.training_views(
        images, batch_size=way.batch, policy=cifar.policy(), seed=run.seed
    )
    of_image = way.normalization == "group"
    encoder = sogclr_tf.small_resnet(
        widths=(16, 32, 64, 128), stem_stride=2, normalization=way.normalization
    )
    projector = sogclr_tf.projection_head(
        encoder.output_shape[-1], normalization="layer" if of_image else "batch"
    )
    loss = cifar.contrastive_loss(run.method, len(images), TEMPERATURE)
    model = sogclr_tf.SogCLR(encoder, loss, projector, chunks=way.chunks)
    updates = run.epochs * views.steps_per_epoch // way.accumulated
    schedule = sogclr_tf.warmup_cosine(
        RATE * (way.batch * way.accumulated / cifar.RATE_BATCH) ** 0.5,
        total_steps=updates,
        warmup_steps=updates // 20,
        gradient_accumulation_steps=way.accumulated,
    )
    model.compile(build_optimizer("adam", schedule, gradient_accumulation_steps=way.accumulated))
    return model, views


def exact(model, images):
    """The exact objective and the norm of its gradient, over the same views for every run."""
    views = sogclr_tf.training_views(
        images[:MEASURED], batch_size=250, policy=cifar.policy(), seed=1
    )
    found = sogclr_tf.exact_global_objective(model, views, temperature=TEMPERATURE)
    return {
        "objective": round(found.value, 6),
        "gradient_norm": round(found.gradient_norm, 6),
    }


def summary(results):
    """{(way, method): {score: [a value for each seed]}}."""
    found = {}
    for run, scores in sorted(results.items(), key=lambda item: item[0].seed):
        cell = found.setdefault((run.way, run.method), {score: [] for score in SCORES})
        for score, values in cell.items():
            values.append(scores[score])
    return found


def write(results, folder):
    """Writes the table and the picture of what is there."""
    found = summary(results)
    table = markdown(found)
    (folder / "virtual_batch.md").write_text(table)
    draw(found, folder / "virtual_batch.png")
    print(table)


def markdown(found):
    """A row for each way and method: means and half ranges over the seeds."""
    lines = [
        "| way | method | linear | kNN | exact F | norm of its gradient | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for way, method in _grid(ALL, METHODS):
        if (way, method) in found:
            cell = found[way, method]
            shown = [
                _shown(cell[score], digits) for score, digits in zip(SCORES, _DIGITS, strict=True)
            ]
            lines.append(f"| {way} | {method} | {' | '.join(shown)} | {len(cell['knn'])} |")
    return "\n".join([*lines, ""])


_DIGITS = (1, 1, 4, 4)


def _shown(values, digits):
    text = f"{statistics.mean(values):.{digits}f}"
    half_range = (max(values) - min(values)) / 2
    return text if len(values) == 1 else f"{text} ± {half_range:.{digits}f}"


def draw(found, path):
    """Draws linear top-1, the objective and its gradient of each way, a color for each method."""
    from matplotlib.figure import Figure

    # Far from the others, which would lie on one another.
    left_out = [way for way in ALL if ALL[way].normalization != "batch"]
    ways = [way for way in ALL if way not in left_out and any(cell[0] == way for cell in found)]
    figure = Figure(figsize=(11, 3.2), layout="constrained", dpi=100)
    panels = figure.subplots(1, 3, sharey=True)
    titles = ("Linear top-1, percent", "Exact objective F", "Norm of its gradient")
    for axes, score, title in zip(panels, ("linear", "objective", "gradient_norm"), titles):  # noqa: B905
        for shift, method in enumerate(METHODS):
            cells = [(row, found.get((way, method))) for row, way in enumerate(ways)]
            cells = [(row, cell[score]) for row, cell in cells if cell]
            means = [statistics.mean(values) for _, values in cells]
            spread = [(max(values) - min(values)) / 2 for _, values in cells]
            rows = [row + 0.2 * shift - 0.1 for row, _ in cells]
            axes.errorbar(means, rows, xerr=spread, fmt="o", capsize=3, label=method)
        axes.set(xlabel=title, yticks=range(len(ways)), yticklabels=ways)
        axes.grid(alpha=0.25)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path)


if __name__ == "__main__":
    main()
