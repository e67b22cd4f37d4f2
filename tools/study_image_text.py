"""Retrieval on the emoji set: CLIP, SigLIP and two-way SogCLR at batches of 16, 32 and 128.

    python tools/study_image_text.py --data_dir=DIR [--workdir=docs/study] [--processes=2]
    python tools/study_image_text.py table [--workdir=docs/study]

DIR holds the emoji set as tensorflow_datasets prepares it. Learning rate and temperature are tuned
for each method alike: over the same grid, at batch 32 with one seed, by the mean recall on a tenth
of the training pairs that is held out of it. The best setting is then trained on all training pairs
with four other seeds at every batch size, for equal epochs, the rate growing with the root of the
batch size, and evaluated on the 193 test pairs. A run takes two minutes on one CPU core.

Every training that ends is a line of `image_text.jsonl`; the same command started again goes on
with those that are missing. `table` writes `image_text.md` beside it, of what is there; so does the
study when it is through.
"""

import itertools
from typing import NamedTuple

import study_runs
from studies import emoji
from studies.emoji import METHODS
from studies.paired import lead

import sogclr_tf

EPOCHS = 25
BATCHES, TUNED_BATCH = (16, 32, 128), emoji.RATE_BATCH
RATES, TEMPERATURES = (1e-3, 3e-3), (0.03, 0.1)
TUNING_SEED, SEEDS = 0, (1, 2, 3, 4)
# (trained on, evaluated on)
TUNING, FINAL = ("train[:90%]", "train[90%:]"), ("train", "test")


class Run(NamedTuple):
    """One training; its fields name it."""

    method: str
    batch: int
    rate: float
    temperature: float
    seed: int
    evaluated_on: str


def main():
    study_runs.command(
        __doc__,
        ("data_dir", "where TFDS keeps the emoji set"),
        "image_text",
        Run,
        (lambda _: tuning_runs(), final_runs),
        train,
        markdown,
    )


def tuning_runs():
    """The runs that find learning rate and temperature of each method."""
    grid = itertools.product(METHODS, RATES, TEMPERATURES)
    return [
        Run(method, TUNED_BATCH, rate, temperature, TUNING_SEED, TUNING[1])
        for method, rate, temperature in grid
    ]


def final_runs(results):
    """All others: every method once before any a second time."""
    return [
        Run(method, batch, *best_setting(results, method), seed, FINAL[1])
        for seed, batch, method in itertools.product(SEEDS, BATCHES, METHODS)
    ]


def best_setting(results, method):
    """(rate, temperature) of the highest mean recall on the held-out tenth; None if unknown."""
    grid = [run for run in tuning_runs() if run.method == method]
    if not results.keys() >= set(grid):
        return None
    best = max(grid, key=lambda run: emoji.mean_recall(results[run]))
    return best.rate, best.temperature


def train(run, data_dir):
    """Trains one run: {"image_to_text_at_1", ...}, recalls in percent, and "last_temperature"."""
    from sogclr_tf.evaluation.pair_embeddings import PairEmbedder

    splits = TUNING if run.evaluated_on == TUNING[1] else FINAL
    source, held_out = (
        sogclr_tf.TfdsSource("emoji", split, data_dir, text="caption") for split in splits
    )
    model, temperature = emoji.fit(
        source,
        run.method,
        batch=run.batch,
        rate=run.rate,
        temperature=run.temperature,
        seed=run.seed,
        epochs=EPOCHS,
        length=12,
    )
    found = emoji.recalls(PairEmbedder(model), held_out)
    return {**found, "last_temperature": temperature}


def markdown(results):
    """Tables of every batch: what each method reached, and by how much it is ahead of CLIP's."""
    return "\n".join([*reached(results), "", *ahead(results), ""])


def reached(results):
    """Lines: the recalls of every method at every batch whose seeds are all there."""
    header = ["batch", "method", "rate", "temperature", *emoji.header()]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for batch, method in itertools.product(BATCHES, METHODS):
        runs = runs_of(method, batch, results)
        if len(runs) == len(SEEDS):
            cells = emoji.columns([results[run] for run in runs])
            setting = (f"{number:g}" for number in (runs[0].rate, runs[0].temperature))
            lines.append(f"| {' | '.join([str(batch), method, *setting, *cells])} |")
    return lines


def ahead(results):
    """Lines: the mean of the six recalls ahead of CLIP's, seed by seed."""
    base, *others = METHODS
    lines = [f"| batch | {' | '.join(others)} |", "|" + "---|" * (len(others) + 1)]
    for batch in BATCHES:
        scores = {
            method: {
                run.seed: emoji.mean_recall(results[run]) for run in runs_of(method, batch, results)
            }
            for method in METHODS
        }
        cells = [lead(scores[method], scores[base]) for method in others]
        lines.append(f"| {' | '.join([str(batch), *cells])} |")
    return lines


def runs_of(method, batch, results):
    """The final runs of a method that are there, in the order of their seeds."""
    setting = best_setting(results, method)
    runs = [Run(method, batch, *(setting or ()), seed, FINAL[1]) for seed in SEEDS if setting]
    return [run for run in runs if run in results]


if __name__ == "__main__":
    main()
