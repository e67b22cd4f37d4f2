"""Measures what the estimate of a small batch leads to: F and its gradient where training ends.

    python tools/study_estimator.py [--workdir=runs/estimator] [--processes=2]

The digits with two fixed views each, a small network and SGD whose step size falls along a cosine:
all methods descend from the same weights with the same number of steps, and the exact objective of
the data says where they arrived. Batches of 8 to 512; SimCLR, DCL, and SogCLR at three gammas. The
step size is chosen from a grid that all methods share at a batch size, by the lowest F of the first
seed; two more seeds follow. A gradient of SimCLR or DCL is 1/temperature times as long as SogCLR's;
their step sizes are divided by that, so that a step size means the same. Some 60 minutes of one CPU
core.

Every run that ends is a line of `results.jsonl`; the same command started again goes on with those
that are missing. When all are there it writes `table.md` and `estimator.png` beside it.
"""

import argparse
import itertools
import pathlib
import statistics
from typing import NamedTuple

import study_runs

import sogclr_tf

TEMPERATURE = 0.1
STEPS = 8400
# Of each batch, the step sizes that are tried; a larger batch bears a larger step.
STEP_SIZES = {8: (0.1, 0.3, 1.0), 32: (0.1, 0.3, 1.0), 128: (0.3, 1.0, 3.0), 512: (1.0, 3.0)}
BATCHES = tuple(STEP_SIZES)
SEEDS = (0, 1, 2)
METHODS = ("SimCLR", "DCL", "SogCLR 0.9", "SogCLR 0.5", "SogCLR 0.1")


class Run(NamedTuple):
    """One training; its fields name it."""

    method: str
    batch: int
    step_size: float
    seed: int


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/estimator"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.workdir.mkdir(parents=True, exist_ok=True)
    results = options.workdir / "results.jsonl"
    study_runs.train_missing(search_runs(), train, results, options.processes)
    found = study_runs.read(results, Run)
    study_runs.train_missing(final_runs(found), train, results, options.processes)
    found = summary(study_runs.read(results, Run))
    table = markdown(found)
    (options.workdir / "table.md").write_text(table)
    draw(found, options.workdir / "estimator.png")
    print(table)


def search_runs():
    """The runs that find the step size of every method at every batch size."""
    grid = itertools.product(BATCHES, METHODS)
    return [
        Run(method, batch, size, SEEDS[0]) for batch, method in grid for size in STEP_SIZES[batch]
    ]


def final_runs(results):
    """The runs of the other seeds at the step sizes that were found."""
    grid = itertools.product(BATCHES, METHODS, SEEDS[1:])
    return [
        Run(method, batch, best_step_size(results, method, batch), seed)
        for batch, method, seed in grid
    ]


def best_step_size(results, method, batch):
    """The step size with which the first seed reached the lowest F."""
    tried = {
        size: results[Run(method, batch, size, SEEDS[0])]["value"] for size in STEP_SIZES[batch]
    }
    return min(tried, key=tried.get)


def train(run):
    """Trains one run: {"value": F, "gradient_norm": |grad F|} of all examples at its end."""
    import keras
    import tensorflow as tf

    views = fixed_views()
    keras.utils.set_random_seed(run.seed)
    loss = contrastive_loss(run.method, len(views["index"]))
    model = sogclr_tf.SogCLR(encoder(), loss, projector())
    unit = TEMPERATURE if run.method in ("SimCLR", "DCL") else 1.0
    schedule = keras.optimizers.schedules.CosineDecay(run.step_size * unit, STEPS)
    model.compile(keras.optimizers.SGD(schedule), steps_per_execution=STEPS // 20, jit_compile=True)
    examples = tf.data.Dataset.from_tensor_slices(views)
    batches = examples.shuffle(len(views["index"]), seed=run.seed).batch(run.batch, True).repeat()
    model.fit(batches, steps_per_epoch=STEPS, verbose=0)
    exact = sogclr_tf.exact_global_objective(model, views, temperature=TEMPERATURE)
    return {"value": exact.value, "gradient_norm": exact.gradient_norm}


def fixed_views():
    """Both views of all training digits, float32 in 0..1, with their index: dict of arrays."""
    from sogclr_tf.data.sources.arrays import digits

    source = digits("train")
    policy = sogclr_tf.Policy(size=8, min_area=0.5, flip=0.0, strength=0.5, grayscale=0.0)
    views = sogclr_tf.training_views(source, batch_size=source.size, policy=policy)
    return {key: value.numpy() for key, value in next(iter(views.epoch(0))).items()}


def encoder():
    from keras import Input, Sequential, layers

    return Sequential([Input((8, 8, 3)), layers.Flatten(), layers.Dense(128, "relu")])


def projector():
    from keras import Input, Sequential, layers

    return Sequential([Input((128,)), layers.Dense(128, "relu"), layers.Dense(32)])


def contrastive_loss(method, num_examples):
    if method == "SimCLR":
        return sogclr_tf.NTXentLoss(TEMPERATURE)
    if method == "DCL":
        return sogclr_tf.DecoupledContrastiveLoss(TEMPERATURE)
    gamma = float(method.split()[1])
    return sogclr_tf.GlobalContrastiveLoss(num_examples, TEMPERATURE, gamma)


def summary(results):
    """{(method, batch): (step size, values of F, gradient norms)}, a value for each seed."""
    found = {}
    for method, batch in itertools.product(METHODS, BATCHES):
        size = best_step_size(results, method, batch)
        runs = [results[Run(method, batch, size, seed)] for seed in SEEDS]
        values, norms = ([run[key] for run in runs] for key in ("value", "gradient_norm"))
        found[method, batch] = size, values, norms
    return found


def markdown(summary):
    """A table of F, |grad F| and the step size, mean and spread over the seeds."""
    lines = ["| batch | method | step size | F | norm of F's gradient |", "|---|---|---|---|---|"]
    for batch, method in itertools.product(BATCHES, METHODS):
        size, values, norms = summary[method, batch]
        cells = (f"{statistics.mean(x):.4f} ± {statistics.stdev(x):.4f}" for x in (values, norms))
        lines.append(f"| {batch} | {method} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(summary, path):
    """Draws F and the norm of its gradient by batch size, a line for each method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=110)
    panels = figure.subplots(1, 2)
    for place, (axes, title) in enumerate(
        zip(panels, ("Exact objective F", "Norm of F's gradient"), strict=True), 1
    ):
        for method in METHODS:
            found = [summary[method, batch][place] for batch in BATCHES]
            means = [statistics.mean(values) for values in found]
            spread = [statistics.stdev(values) for values in found]
            axes.errorbar(BATCHES, means, spread, marker="o", capsize=3, label=method)
        axes.set(title=title, xlabel="Batch size")
        axes.set_xscale("log", base=2)
        axes.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
        axes.grid(alpha=0.25)
    panels[1].set_yscale("log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path)


if __name__ == "__main__":
    main()
