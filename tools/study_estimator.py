"""Measures what the estimate of a small batch leads to: F and its gradient where training ends.

    python tools/study_estimator.py [--workdir=docs/study] [--processes=2]

The digits with two fixed views each, a small network and SGD whose step size falls along a cosine:
all methods descend from the same weights with the same number of steps, and the exact objective of
the data says where they arrived. Batches of 8 to 512; SimCLR, DCL, and SogCLR at three gammas and
by other rules for the weight of a batch. The step size is chosen from a grid that all methods share
at a batch size, by the lowest F of the first seed; two more seeds follow, then the next batch size.
A gradient of SimCLR or DCL is 1/temperature times as long as SogCLR's; their step sizes are divided
by that, so that a step size means the same. Twenty times in a training the table (of SimCLR and DCL
the batch) is compared with the exact normalizers of all examples.

Every run that ends is a line of `estimator.jsonl`; the same command started again goes on with
those that are missing. It writes `estimator.md` and `estimator.png` beside it, of the methods and
batches whose runs are all there.
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
# Of SogCLR the arguments of its loss.
SOGCLR = {
    "SogCLR 0.9": {"gamma": 0.9},
    "SogCLR 0.5": {"gamma": 0.5},
    "SogCLR 0.1": {"gamma": 0.1},
    "SogCLR visits": {"gamma": 0.1, "gamma_rule": "visits"},
    "SogCLR proximal": {"gamma": 0.1, "gamma_rule": "proximal"},
    "SogCLR 0.1 drift": {"gamma": 0.1, "drift_rate": 0.03},
    "SogCLR visits drift": {"gamma": 0.1, "gamma_rule": "visits", "drift_rate": 0.03},
    "SogCLR proximal drift": {"gamma": 0.1, "gamma_rule": "proximal", "drift_rate": 0.03},
}
METHODS = ("SimCLR", "DCL", *SOGCLR)
# How often the estimate of the normalizers is measured.
MEASUREMENTS = 20


class Run(NamedTuple):
    """One training; its fields name it."""

    method: str
    batch: int
    step_size: float
    seed: int


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("docs/study"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.workdir.mkdir(parents=True, exist_ok=True)
    results = options.workdir / "estimator.jsonl"
    for batch in BATCHES:
        study_runs.train_missing(search_runs(batch), train, results, options.processes)
        found = study_runs.read(results, Run)
        study_runs.train_missing(final_runs(found, batch), train, results, options.processes)
    found = summary(study_runs.read(results, Run))
    table = markdown(found)
    (options.workdir / "estimator.md").write_text(table)
    draw(found, options.workdir / "estimator.png")
    print(table)


def search_runs(batch):
    """The runs that find the step size of every method at a batch size."""
    grid = itertools.product(METHODS, STEP_SIZES[batch])
    return [Run(method, batch, size, SEEDS[0]) for method, size in grid]


def final_runs(results, batch):
    """The runs of the other seeds at the step sizes that were found."""
    grid = itertools.product(METHODS, SEEDS[1:])
    return [
        Run(method, batch, best_step_size(results, method, batch), seed) for method, seed in grid
    ]


def best_step_size(results, method, batch):
    """The step size with which the first seed reached the lowest F."""
    tried = {
        size: results[Run(method, batch, size, SEEDS[0])]["value"] for size in STEP_SIZES[batch]
    }
    return min(tried, key=tried.get)


def train(run):
    """Trains one run.

    Returns:
        {"value": F, "gradient_norm": |grad F|} of all examples at its end, with the bias and root
        mean square of log u - log g, the mean over the training and the last.
    """
    import keras
    import tensorflow as tf

    views = fixed_views()
    keras.utils.set_random_seed(run.seed)
    loss = contrastive_loss(run.method, len(views["index"]))
    model = sogclr_tf.SogCLR(encoder(), loss, projector())
    unit = TEMPERATURE if run.method in ("SimCLR", "DCL") else 1.0
    schedule = keras.optimizers.schedules.CosineDecay(run.step_size * unit, STEPS)
    model.compile(
        keras.optimizers.SGD(schedule), steps_per_execution=STEPS // MEASUREMENTS, jit_compile=True
    )
    examples = tf.data.Dataset.from_tensor_slices(views)
    batches = examples.shuffle(len(views["index"]), seed=run.seed).batch(run.batch, True).repeat()
    errors = []
    size = None if loss.has_table else run.batch

    def measure(step, logs):  # noqa: ARG001
        errors.append(sogclr_tf.normalizer_error(model, views, batch_size=size))

    measuring = keras.callbacks.LambdaCallback(on_train_batch_end=measure)
    model.fit(batches, steps_per_epoch=STEPS, verbose=0, callbacks=[measuring])
    exact = sogclr_tf.exact_global_objective(model, views, temperature=TEMPERATURE)
    return {
        "value": exact.value,
        "gradient_norm": exact.gradient_norm,
        "bias": statistics.mean(error.bias for error in errors),
        "rms": statistics.mean(error.rms for error in errors),
        "last_bias": errors[-1].bias,
        "last_rms": errors[-1].rms,
    }


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
    return sogclr_tf.GlobalContrastiveLoss(num_examples, TEMPERATURE, **SOGCLR[method])


def summary(results):
    """{(method, batch): (step size, [what a run found, of each seed])} of what is all there."""
    found = {}
    for method, batch in itertools.product(METHODS, BATCHES):
        if all(Run(method, batch, size, SEEDS[0]) in results for size in STEP_SIZES[batch]):
            size = best_step_size(results, method, batch)
            runs = [Run(method, batch, size, seed) for seed in SEEDS]
            if all(run in results for run in runs):
                found[method, batch] = size, [results[run] for run in runs]
    return found


def markdown(summary):
    """A table of the step size, F, |grad F| and the error, mean and spread over the seeds."""
    columns = "batch | method | step size | F | norm of F's gradient | bias | error"
    lines = [f"| {columns} |", "|---" * (columns.count("|") + 1) + "|"]
    for batch, method in itertools.product(BATCHES, METHODS):
        if (method, batch) in summary:
            size, runs = summary[method, batch]
            cells = [spread([run[key] for run in runs], 4) for key in ("value", "gradient_norm")]
            cells += [spread([run[key] for run in runs], 2) for key in ("bias", "rms")]
            lines.append(f"| {batch} | {method} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(values, digits):
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def draw(summary, path):
    """Draws F and the norm of its gradient by batch size, a line for each method."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.8), layout="constrained", dpi=110)
    titles = {
        "value": "Exact objective F",
        "gradient_norm": "Norm of F's gradient",
        "rms": "Error of log u, nats",
    }
    panels = figure.subplots(1, len(titles))
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        for method in METHODS:
            batches = [batch for batch in BATCHES if (method, batch) in summary]
            found = [[run[key] for run in summary[method, batch][1]] for batch in batches]
            means = [statistics.mean(values) for values in found]
            deviations = [statistics.stdev(values) for values in found]
            axes.errorbar(batches, means, deviations, marker="o", capsize=3, label=method)
        axes.set(title=title, xlabel="Batch size")
        axes.set_xscale("log", base=2)
        axes.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
        axes.grid(alpha=0.25)
    for axes in panels[1:]:
        axes.set_yscale("log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path)


if __name__ == "__main__":
    main()
