"""Retrieval on the emoji set: CLIP, SigLIP and two-way SogCLR at batches of 16, 32 and 128.

    python tools/study_image_text.py --data_dir=DIR [--workdir=docs/study] [--processes=2]
    python tools/study_image_text.py table [--workdir=docs/study]

DIR holds the emoji set as tensorflow_datasets prepares it. Learning rate and temperature are tuned
for each method alike: over the same grid, at batch 32 with one seed, by the mean recall on a tenth
of the training pairs that is held out of it. The best setting, or each of those that are level, is
then trained on all training pairs with four other seeds at every batch size, for equal epochs, the
rate growing with the root of the batch size, and evaluated on the 193 test pairs. A run takes a
minute or two on one CPU core.

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
        Run(method, batch, *setting, seed, FINAL[1])
        for seed, batch, method in itertools.product(SEEDS, BATCHES, METHODS)
        for setting in best_settings(results, method)
    ]


def best_settings(results, method):
    """[(rate, temperature), ...] of the highest mean recall on the held-out tenth, level ones all.

    Empty while a run of the grid is missing.
    """
    grid = [run for run in tuning_runs() if run.method == method]
    if not results.keys() >= set(grid):
        return []
    scores = {run: round(emoji.mean_recall(results[run]), 6) for run in grid}
    best = max(scores.values())
    return [(run.rate, run.temperature) for run in grid if scores[run] == best]


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
        for setting in best_settings(results, method):
            found = seeds_of(results, method, batch, setting)
            if len(found) == len(SEEDS):
                first = [str(batch), method, *(f"{number:g}" for number in setting)]
                cells = emoji.columns(list(found.values()))
                lines.append(f"| {' | '.join([*first, *cells])} |")
    return lines


def ahead(results):
    """Lines: the mean of the six recalls ahead of CLIP's, seed by seed."""
    base, *others = METHODS
    header = ["batch", f"{base}: rate", "temperature", *others]
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for batch, setting in itertools.product(BATCHES, best_settings(results, base)):
        scores = means_of(results, base, batch, setting)
        cells = [
            " / ".join(
                lead(means_of(results, method, batch, own), scores)
                for own in best_settings(results, method)
            )
            for method in others
        ]
        first = [str(batch), *(f"{number:g}" for number in setting)]
        lines.append(f"| {' | '.join([*first, *cells])} |")
    return lines


def means_of(results, method, batch, setting):
    """{seed: the mean of the six recalls} of the final runs that are there."""
    found = seeds_of(results, method, batch, setting)
    return {seed: emoji.mean_recall(one) for seed, one in found.items()}


def seeds_of(results, method, batch, setting):
    """{seed: recalls} of the final runs that are there."""
    runs = [Run(method, batch, *setting, seed, FINAL[1]) for seed in SEEDS]
    return {run.seed: results[run] for run in runs if run in results}


if __name__ == "__main__":
    main()
