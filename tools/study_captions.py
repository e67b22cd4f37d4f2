"""One caption of an image against several, on emoji in several drawings: CLIP and two-way SogCLR.

    python tools/study_captions.py --pairs=DIR [--workdir=docs/study] [--processes=2]
    python tools/study_captions.py table [--workdir=docs/study]

DIR holds the shards that tools/make_emoji_pairs.py makes. Each loss is trained with the label of an
emoji as its one caption, and with all its captions, of which an epoch draws one, for equally many
epochs. It is then asked for meanings that it has never seen, in each of the styles that it has (the
mean over the styles), and for the meanings of its training in a style that it has never seen. Both
are asked with labels, which all models know, and with all captions.

The learning rate is tuned for each loss and each number of captions alike: over the same grid, with
one seed, by the mean recall by labels on a ninth of the training meanings that is held out of it.
The best is then trained on all of them with three other seeds: 30 trainings, of about two minutes
each on one CPU core.

Every training that ends is a line of `captions.jsonl`; the same command started again goes on with
those that are missing. `table` writes `captions.md` beside it, of what is there; so does the study
when it is through.
"""

import itertools
import pathlib
import statistics
from typing import NamedTuple

import study_runs
from studies import emoji

import sogclr_tf

EPOCHS, BATCH, LENGTH = 15, 32, 24
RATES, TEMPERATURE = (1e-3, 3e-3), 0.07
TUNING_SEED, SEEDS = 0, (1, 2, 3)
METHODS = ("clip", "two_way", "two_way, proximal")
# Where the texts of an image lie in its shard: of those trained with, and of those asked by.
TEXTS = {"label": "json/label", "all captions": "json/captions"}
# {stage: (shards to train on, {what is asked for: shards})}; the first * is the style.
STAGES = {
    "tuning": ("train-*-[1-8].tar", {"new meanings": "train-*-9.tar"}),
    "final": ("train-*-*.tar", {"new meanings": "test-*-*.tar", "new style": "style-*-*.tar"}),
}
ASKED = tuple(STAGES["final"][1])


class Run(NamedTuple):
    """One training; its fields name it."""

    method: str
    texts: str
    rate: float
    seed: int
    stage: str


def main():
    study_runs.command(
        __doc__,
        ("pairs", "folder of make_emoji_pairs.py"),
        "captions",
        Run,
        (lambda _: tuning_runs(), final_runs),
        train,
        markdown,
    )


def tuning_runs():
    """The runs that find the learning rate of each loss with the label and with all captions."""
    return [
        Run(method, texts, rate, TUNING_SEED, "tuning")
        for method, texts, rate in itertools.product(METHODS, TEXTS, RATES)
    ]


def final_runs(results):
    """All others: every loss once before any a second time."""
    return [
        Run(method, texts, best_rate(results, method, texts), seed, "final")
        for seed, method, texts in itertools.product(SEEDS, METHODS, TEXTS)
    ]


def best_rate(results, method, texts):
    """The rate of the highest mean recall on the held-out part; None if unknown."""
    grid = [run for run in tuning_runs() if run[:2] == (method, texts)]
    if not results.keys() >= set(grid):
        return None
    prefix = asked("new meanings", "label")
    return max(grid, key=lambda run: emoji.mean_recall(results[run], prefix)).rate


def asked(what, texts):
    """What the names of the recalls begin with."""
    return f"{what}, by {texts}, "


def train(run, pairs):
    """Trains one run: {"new meanings, by label, image_to_text_at_1": ...}, recalls in percent."""
    from sogclr_tf.evaluation.pair_embeddings import PairEmbedder

    pairs = pathlib.Path(pairs)
    shards, held_out = STAGES[run.stage]
    source = sogclr_tf.TarSource(pairs / shards, text=TEXTS[run.texts])
    model, temperature = emoji.fit(
        source,
        run.method,
        batch=BATCH,
        rate=run.rate,
        temperature=TEMPERATURE,
        seed=run.seed,
        epochs=EPOCHS,
        length=LENGTH,
    )
    embedder = PairEmbedder(model)
    found = {}
    for (what, pattern), texts in itertools.product(held_out.items(), TEXTS):
        means = mean_over_styles(embedder, pairs, pattern, TEXTS[texts])
        found |= {asked(what, texts) + name: recall for name, recall in means.items()}
    return {**found, "last_temperature": temperature}


def mean_over_styles(embedder, pairs, pattern, texts):
    """The recalls among the images of one style, so that a text has one image; their means."""
    styles = sorted({path.name.split("-")[1] for path in pairs.glob(pattern)})
    found = [
        emoji.recalls(
            embedder, sogclr_tf.TarSource(pairs / pattern.replace("*", style, 1), text=texts)
        )
        for style in styles
    ]
    return {name: statistics.mean(recalls[name] for recalls in found) for name in found[0]}


def markdown(results):
    """A table of every loss, with one caption and with all, whose seeds are all there."""
    header = ["asked for", "asked by", "loss", "trained with", "rate", *emoji.header()]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    final = final_runs(results)
    for what, by, method, texts in itertools.product(ASKED, TEXTS, METHODS, TEXTS):
        runs = [run for run in final if run[:2] == (method, texts)]
        if results.keys() >= set(runs):
            cells = emoji.columns([results[run] for run in runs], asked(what, by))
            lines.append(
                f"| {' | '.join([what, by, method, texts, f'{runs[0].rate:g}', *cells])} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
