"""Measures what a small batch costs: SimCLR, DCL and SogCLR on CIFAR-10 at batches of 16 to 256.

    python tools/study_batch_size.py --data_dir=DIR [--workdir=docs/study] [--processes=2]
    python tools/study_batch_size.py check --data_dir=DIR

DIR holds CIFAR-10 as tensorflow_datasets prepares it. 10,000 of its images, a small ResNet, equal
epochs for all. The learning rate grows with the root of the batch size. Its base is chosen at batch
64, by kNN on 5,000 images that take no other part, as the best in the mean over the methods: each
one's own best would differ by chance, and a rate matters more than a loss. SogCLR's gamma is chosen
likewise, at batch 16. Then every method trains at every batch size, and the decisive pairs longer
and with a second seed. kNN and linear top-1 are those of the 10,000 test images, with the labels of
the 10,000 training images.

Every training that ends is a line of `results.jsonl`; the same command started again goes on with
those that are missing. It writes `table.md` and `batch_size.png` beside it, of what is there.
`check` trains the smallest row again and says whether it falls within the stated spread.
"""

import argparse
import functools
import itertools
import pathlib
import statistics
import sys
from typing import NamedTuple

import study_runs

import sogclr_tf

TEMPERATURE = 0.1
IMAGES = 10_000
EPOCHS, LONG = 12, 30
RATES = (1e-3, 2e-3, 4e-3)
RATE_BATCH = 64
BATCHES = (16, 32, 64, 128, 256)
METHODS = ("SimCLR", "DCL", "SogCLR 0.9")
GAMMAS = (0.9, 0.5, 0.2)
GAMMA_BATCH = 16
# (batches, epochs, seed), the telling ones first.
STAGES = (
    ((16, 256), EPOCHS, 0),
    ((16, 256), EPOCHS, 1),
    ((32, 64, 128), EPOCHS, 0),
    ((16,), LONG, 0),
    ((16,), LONG, 1),
    ((32, 64, 128), EPOCHS, 1),
    ((256,), LONG, 0),
    ((256,), LONG, 1),
)
SMALLEST = ("SimCLR", 256)
# Percent points by which a training differs between machines, at the least that is allowed for.
TOLERANCE = 1.0


class Run(NamedTuple):
    """One training; its fields name it."""

    method: str
    batch: int
    rate: float
    epochs: int
    seed: int


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", nargs="?", choices=["study", "check"], default="study")
    parser.add_argument("--data_dir", required=True, help="where TFDS keeps cifar10")
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("docs/study"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    options.workdir.mkdir(parents=True, exist_ok=True)
    results = options.workdir / "results.jsonl"
    trained = functools.partial(train, data_dir=options.data_dir)
    if options.command == "check":
        study_runs.one_thread()
        sys.exit(check(study_runs.read(results, Run), trained))
    for stage in (lambda _: rate_runs(), gamma_runs, final_runs):
        runs = stage(study_runs.read(results, Run))
        study_runs.train_missing(runs, trained, results, options.processes)
    write(study_runs.read(results, Run), options.workdir)


def rate_runs():
    """The runs that find the learning rate."""
    grid = itertools.product(RATES, METHODS)
    return [Run(method, RATE_BATCH, rate, EPOCHS, 0) for rate, method in grid]


def gamma_runs(results):
    """The runs that find SogCLR's gamma."""
    rate = best_rate(results)
    return [Run(f"SogCLR {gamma}", GAMMA_BATCH, rate, EPOCHS, 0) for gamma in GAMMAS]


def final_runs(results):
    """All others, the telling ones first."""
    return [
        Run(method, batch, best_rate(results), epochs, seed)
        for batches, epochs, seed in STAGES
        for batch, method in itertools.product(batches, methods(results))
    ]


def methods(results):
    """Those that are compared: METHODS, and SogCLR at the gamma that was found."""
    runs = gamma_runs(results)
    best = max(runs, key=lambda run: results[run]["validation_knn"])
    return (*METHODS, *({best.method} - set(METHODS)))


def best_rate(results):
    """The base of the learning rate with which the methods best told the held-out images apart."""

    def mean(rate):
        runs = [Run(method, RATE_BATCH, rate, EPOCHS, 0) for method in METHODS]
        return statistics.mean(results[run]["validation_knn"] for run in runs)

    return max(RATES, key=mean)


def train(run, data_dir):
    """Trains one run: {"validation_knn", "knn", "linear"}, top-1 in percent."""
    import keras

    images, labels = load(data_dir, f"train[:{IMAGES}]")
    keras.utils.clear_session()
    keras.utils.set_random_seed(run.seed)
    policy = sogclr_tf.Policy(size=32, min_area=0.2, strength=0.5)
    views = sogclr_tf.training_views(images, batch_size=run.batch, policy=policy, seed=run.seed)
    encoder = sogclr_tf.small_resnet(widths=(16, 32, 64, 128), stem_stride=2)
    model = sogclr_tf.SogCLR(encoder, contrastive_loss(run.method, len(images)))
    steps = run.epochs * views.steps_per_epoch
    rate = run.rate * (run.batch / RATE_BATCH) ** 0.5
    schedule = sogclr_tf.warmup_cosine(rate, total_steps=steps, warmup_steps=steps // 20)
    model.compile(keras.optimizers.Adam(schedule))
    model.fit(views, epochs=run.epochs, verbose=0)
    return evaluate(encoder, images, labels, data_dir)


def contrastive_loss(method, num_examples):
    if method == "SimCLR":
        return sogclr_tf.NTXentLoss(TEMPERATURE)
    if method == "DCL":
        return sogclr_tf.DecoupledContrastiveLoss(TEMPERATURE)
    gamma = float(method.split()[1])
    return sogclr_tf.GlobalContrastiveLoss(num_examples, TEMPERATURE, gamma)


def evaluate(encoder, images, labels, data_dir):
    """The scores of a trained encoder in percent, by the labels of its training images."""
    features = sogclr_tf.extract_features(encoder, images)
    held_out, test = load(data_dir, "train[40000:45000]"), load(data_dir, "test")
    found = {}
    for name, (queries, expected) in (("validation_knn", held_out), ("knn", test)):
        encoded = sogclr_tf.extract_features(encoder, queries)
        guessed = sogclr_tf.knn_predict(features, labels, encoded, k=50, num_classes=10)
        found[name] = percent(guessed == expected)
    guessed = sogclr_tf.fit_linear_probe(features, labels).scores(encoded).argmax(axis=1)
    return {**found, "linear": percent(guessed == expected)}


@functools.cache
def load(data_dir, split):
    """(uint8 [N, 32, 32, 3], int32 [N]) of a split, kept by the process that trains."""
    import numpy as np

    from sogclr_tf.data.sources.open import from_name

    source = from_name("cifar10", split, data_dir)
    images, labels = source.images_and_labels()
    return np.stack(list(images.as_numpy_iterator())), labels


def percent(correct):
    return round(100 * float(correct.mean()), 2)


def summary(results):
    """{(epochs, batch, method): {"knn": [...], "linear": [...]}}, a value for each seed."""
    found = {}
    for run, scores in results.items():
        if run.method in methods(results) and run.rate == best_rate(results):
            cell = found.setdefault((run.epochs, run.batch, run.method), {"knn": [], "linear": []})
            for score, values in cell.items():
                values.append(scores[score])
    return found


def write(results, folder):
    """Writes the table and the picture of what is there."""
    found = summary(results)
    table = markdown(found, results)
    (folder / "table.md").write_text(table)
    draw(found, folder / "batch_size.png")
    print(table)


def markdown(found, results):
    """A table of linear and kNN top-1 for each training length, mean and range over the seeds."""
    names = methods(results)
    lines = [f"Base of the learning rate, at batch {RATE_BATCH}: {best_rate(results):g}.", ""]
    for epochs in (EPOCHS, LONG):
        batches = [batch for batch in BATCHES if (epochs, batch, names[0]) in found]
        if not batches:
            continue
        lines += [
            f"| linear / kNN top-1, {epochs} epochs | {' | '.join(names)} |",
            "|---|" + "---|" * len(names),
        ]
        for batch in batches:
            cells = (_cell(found.get((epochs, batch, method))) for method in names)
            lines.append(f"| batch {batch} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(scores):
    """Both scores of a cell, with half their range where there are several seeds."""
    if scores is None:
        return ""
    values = scores["linear"], scores["knn"]
    if len(values[0]) == 1:
        return " / ".join(f"{score:.1f}" for (score,) in values)
    return " / ".join(f"{statistics.mean(v):.1f} ± {(max(v) - min(v)) / 2:.1f}" for v in values)


def draw(found, path):
    """Draws linear top-1 over the batch size, a line for each method, a panel for each length."""
    from matplotlib.figure import Figure

    lengths = [epochs for epochs in (EPOCHS, LONG) if any(cell[0] == epochs for cell in found)]
    figure = Figure(figsize=(4.4 * len(lengths) + 1.4, 3.8), layout="constrained", dpi=110)
    panels = figure.subplots(1, len(lengths), squeeze=False)[0]
    for axes, epochs in zip(panels, lengths, strict=True):
        for method in dict.fromkeys(cell[2] for cell in found):
            batches = [batch for batch in BATCHES if (epochs, batch, method) in found]
            scores = [found[epochs, batch, method]["linear"] for batch in batches]
            means = [statistics.mean(values) for values in scores]
            spread = [(max(values) - min(values)) / 2 for values in scores]
            axes.errorbar(batches, means, spread, marker="o", capsize=3, label=method)
        axes.set(title=f"{epochs} epochs", xlabel="Batch size", ylabel="Linear top-1, percent")
        axes.set_xscale("log", base=2)
        axes.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
        axes.grid(alpha=0.25)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path)


def check(results, trained):
    """Trains the smallest row again; the exit status: 0 within the stated spread, 1 outside."""
    method, batch = SMALLEST
    stated = summary(results)[EPOCHS, batch, method]
    run = Run(method, batch, best_rate(results), EPOCHS, 0)
    print(f"training {run}: a few minutes", flush=True)
    found = trained(run)
    outside = False
    for score, values in stated.items():
        low, high = min(values) - TOLERANCE, max(values) + TOLERANCE
        inside = low <= found[score] <= high
        outside |= not inside
        verdict = "within" if inside else "OUTSIDE"
        print(f"{score} {found[score]:.2f}: {verdict} {low:.2f} to {high:.2f}")
    return int(outside)


if __name__ == "__main__":
    main()
