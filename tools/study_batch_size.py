"""Measures what a small batch costs: SimCLR, DCL and SogCLR on CIFAR-10 at batches of 8 to 256.

    python tools/study_batch_size.py --data_dir=DIR [--workdir=docs/study] [--processes=2]
    python tools/study_batch_size.py harm --data_dir=DIR [--methods "SogCLR 0.1 visits" ...]
    python tools/study_batch_size.py table
    python tools/study_batch_size.py check --data_dir=DIR

DIR holds CIFAR-10 as tensorflow_datasets prepares it. 10,000 of its images, a small ResNet, equal
epochs for all. The learning rate grows with the root of the batch size. Its base is chosen at batch
64, by kNN on 5,000 images that take no other part, as the best in the mean over the methods: each
one's own best would differ by chance, and a rate matters more than a loss. SogCLR's gamma is chosen
likewise, at batch 16. Then every method trains at every batch size, and the decisive pairs longer
and with a second seed. kNN and linear top-1 are those of the 10,000 test images, with the labels of
the 10,000 training images.

`harm` trains at that rate where `study_bias.py` predicts harm, batches of 8 and 16 at two
temperatures, and 256 beside them, with four seeds. A method is SimCLR, DCL, or
SogCLR with a gamma, a rule for it and a drift_rate, which are GlobalContrastiveLoss's.

Every training that ends is a line of `results.jsonl`; the same command started again goes on with
those that are missing. It writes `table.md` and `batch_size.png` beside it, of what is there, as
`table` does without a training.
`check` trains the smallest row again and says whether it falls within the stated spread.
"""

import argparse
import functools
import itertools
import pathlib
import statistics
import sys

import study_runs
from studies import batch_size_report, cifar
from studies.cifar import Run

IMAGES = 10_000
EPOCHS, LONG = 12, 30
RATES = (1e-3, 2e-3, 4e-3)
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
# (temperature, batch, seeds) of `harm`, the telling ones first.
HARM_STAGES = (
    (0.05, 8, (0, 1)),
    (0.05, 256, (0, 1)),
    (0.1, 16, (0, 1)),
    (0.1, 256, (0, 1)),
    (0.05, 8, (2, 3)),
    (0.05, 16, (0, 1, 2, 3)),
    (0.1, 8, (0, 1, 2, 3)),
    (0.05, 256, (2, 3)),
    (0.1, 16, (2, 3)),
    (0.1, 256, (2, 3)),
)
SMALLEST = ("SimCLR", 256)
# Percent points by which a training differs between machines, at the least that is allowed for.
TOLERANCE = 1.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = ["study", "harm", "table", "check"]
    parser.add_argument("command", nargs="?", choices=commands, default="study")
    parser.add_argument("--data_dir", help="where TFDS keeps cifar10; of all but table")
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("docs/study"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--methods", nargs="+", default=[*METHODS], help="of harm")
    options = parser.parse_args()
    if options.data_dir is None and options.command != "table":
        parser.error("trainings need --data_dir, where TFDS keeps cifar10")
    options.workdir.mkdir(parents=True, exist_ok=True)
    results = options.workdir / "results.jsonl"
    trained = functools.partial(train, data_dir=options.data_dir)
    if options.command == "check":
        study_runs.one_thread()
        sys.exit(check(study_runs.read(results, Run), trained))
    stages = {
        "study": [gamma_runs, final_runs],
        "harm": [functools.partial(harm_runs, methods=options.methods)],
    }
    for stage in [] if options.command == "table" else [rate_runs, *stages[options.command]]:
        runs = stage(study_runs.read(results, Run))
        study_runs.train_missing(runs, trained, results, options.processes)
    found = study_runs.read(results, Run)
    batch_size_report.write(found, methods(found), best_rate(found), options.workdir)


def rate_runs(results=None):  # noqa: ARG001
    """The runs that find the learning rate, whatever there is."""
    grid = itertools.product(RATES, METHODS)
    return [Run(method, cifar.RATE_BATCH, rate, EPOCHS, 0) for rate, method in grid]


def gamma_runs(results):
    """The runs that find SogCLR's gamma."""
    rate = best_rate(results)
    return [Run(f"SogCLR {gamma}", GAMMA_BATCH, rate, EPOCHS, 0) for gamma in GAMMAS]


def final_runs(results):
    """All others of the study, the telling ones first."""
    names = dict.fromkeys((*METHODS, best_gamma(results)))
    return [
        Run(method, batch, best_rate(results), epochs, seed)
        for batches, epochs, seed in STAGES
        for batch, method in itertools.product(batches, names)
    ]


def harm_runs(results, methods):
    """Those of `harm`, of all `methods`."""
    return [
        Run(method, batch, best_rate(results), EPOCHS, seed, temperature)
        for temperature, batch, seeds in HARM_STAGES
        for seed, method in itertools.product(seeds, methods)
    ]


def best_gamma(results):
    """SogCLR at the gamma that was found."""
    return max(gamma_runs(results), key=lambda run: results[run]["validation_knn"]).method


def methods(results):
    """Those that are compared: METHODS, and all that a search did not train alone."""
    searched = {*rate_runs(), *gamma_runs(results)}
    return tuple(dict.fromkeys((*METHODS, *(run.method for run in results if run not in searched))))


def best_rate(results):
    """The base of the learning rate with which the methods best told the held-out images apart."""

    def mean(rate):
        runs = [run for run in rate_runs() if run.rate == rate]
        return statistics.mean(results[run]["validation_knn"] for run in runs)

    return max(RATES, key=mean)


def train(run, data_dir):
    """Trains one run: {"validation_knn", "knn", "linear"}, top-1 in percent."""
    images, labels = cifar.load(data_dir, f"train[:{IMAGES}]")
    return cifar.evaluate(cifar.fit(run, images).encoder, images, labels, data_dir)


def check(results, trained):
    """Trains the smallest row again; the exit status: 0 within the stated spread, 1 outside."""
    method, batch = SMALLEST
    run = Run(method, batch, best_rate(results), EPOCHS, 0)
    alike = [results[found] for found in results if found._replace(seed=0) == run]
    print(f"training {run}: a few minutes", flush=True)
    found = trained(run)
    outside = False
    for score in ("knn", "linear"):
        values = [scores[score] for scores in alike]
        low, high = min(values) - TOLERANCE, max(values) + TOLERANCE
        inside = low <= found[score] <= high
        outside |= not inside
        verdict = "within" if inside else "OUTSIDE"
        print(f"{score} {found[score]:.2f}: {verdict} {low:.2f} to {high:.2f}")
    return int(outside)


if __name__ == "__main__":
    main()
