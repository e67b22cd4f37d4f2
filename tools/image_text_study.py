"""Retrieval on the emoji set: CLIP, SigLIP and two-way SogCLR at batches of 16, 32 and 128.

    python tools/image_text_study.py --data_dir=DIR [--workdir=docs/study] [--processes=2]
    python tools/image_text_study.py table [--workdir=docs/study]

DIR holds the emoji set as tensorflow_datasets prepares it. Learning rate and temperature are tuned
for each method alike: over the same grid, at batch 32 with one seed, by the mean recall on a tenth
of the training pairs that is held out of it. The best setting is then trained on all training pairs
with four other seeds at every batch size, for equal epochs, the rate growing with the root of the
batch size, and evaluated on the 193 test pairs. A run takes two minutes on one CPU core.

Every training that ends is a line of `image_text.jsonl`; the same command started again goes on
with those that are missing. `table` writes `image_text.md` beside it, of what is there; so does the
study when it is through.
"""

import argparse
import functools
import itertools
import pathlib
import statistics
from typing import NamedTuple

import study_runs

import sogclr_tf

EPOCHS, SIDE = 25, 32
BATCHES, TUNED_BATCH = (16, 32, 128), 32
RATES, TEMPERATURES = (1e-3, 3e-3), (0.03, 0.1)
TUNING_SEED, SEEDS = 0, (1, 2, 3, 4)
# (trained on, evaluated on)
TUNING, FINAL = ("train[:90%]", "train[90%:]"), ("train", "test")
KS = (1, 5, 10)
WAYS = ("image_to_text", "text_to_image")
# gamma falls as FastCLIP (arXiv 2407.01445) recommends. By the rules of single entries it is the
# least weight of a batch, low enough for the rule to be what counts. No gamma is tuned.
CONSTANT, FALLING, DECAY, LEAST = 0.9, 0.2, 0.5, 0.1
LEARNED = {"temperature_scheme": "global", "rho": 3.0}
# {method: (loss, its options)}
METHODS = {
    "clip": ("clip", {}),
    "siglip": ("siglip", {}),
    "two_way": ("two_way", {**LEARNED, "gamma": CONSTANT}),
    "two_way, gamma falling": ("two_way", {**LEARNED, "gamma": FALLING, "decay": DECAY}),
    "two_way, proximal": ("two_way", {**LEARNED, "gamma": LEAST, "gamma_rule": "proximal"}),
    "two_way, visits": ("two_way", {**LEARNED, "gamma": LEAST, "gamma_rule": "visits"}),
}
# Beside these, at the batch of the tuning alone.
FIXED = "two_way, gamma falling, temperature constant"
METHODS[FIXED] = ("two_way", {"gamma": FALLING, "decay": DECAY})


class Run(NamedTuple):
    """One training; its fields name it."""

    method: str
    batch: int
    rate: float
    temperature: float
    seed: int
    evaluated_on: str


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("command", nargs="?", choices=["study", "table"], default="study")
    parser.add_argument("--data_dir", help="where TFDS keeps the emoji set")
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("docs/study"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    results = options.workdir / "image_text.jsonl"
    if options.command == "study":
        if options.data_dir is None:
            parser.error("the study needs --data_dir")
        options.workdir.mkdir(parents=True, exist_ok=True)
        trained = functools.partial(train, data_dir=options.data_dir)
        for stage in (lambda _: tuning_runs(), final_runs):
            runs = stage(study_runs.read(results, Run))
            study_runs.train_missing(runs, trained, results, options.processes)
    table = markdown(study_runs.read(results, Run))
    (options.workdir / "image_text.md").write_text(table)
    print(table)


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
        if method != FIXED or batch == TUNED_BATCH
    ]


def best_setting(results, method):
    """(rate, temperature) of the highest mean recall on the held-out tenth; None if unknown."""
    grid = [run for run in tuning_runs() if run.method == method]
    if not results.keys() >= set(grid):
        return None
    best = max(grid, key=lambda run: mean_recall(results[run]))
    return best.rate, best.temperature


def mean_recall(found):
    """The mean of the six recalls of a run."""
    return statistics.mean(found[recall_at(way, k)] for way in WAYS for k in KS)


def recall_at(way, k):
    return f"{way}_at_{k}"


def contrastive_loss(method, temperature, num_examples, steps):
    name, options = METHODS[method]
    options = {**options, "temperature": temperature}
    decay = options.pop("decay", None)
    if decay:
        options["gamma_decay_steps"] = round(decay * steps)
    return sogclr_tf.build_loss(name, num_examples, **options)


def train(run, data_dir):
    """Trains one run: {"image_to_text_at_1", ...}, recalls in percent, and "last_temperature"."""
    import keras

    from sogclr_tf.data.image_text import mild
    from sogclr_tf.training.optimizers import build_optimizer

    splits = TUNING if run.evaluated_on == TUNING[1] else FINAL
    source, held_out = (
        sogclr_tf.TfdsSource("emoji", split, data_dir, text="caption") for split in splits
    )
    keras.utils.clear_session()
    pairs = sogclr_tf.training_pairs(source, batch_size=run.batch, policy=mild(SIDE), seed=run.seed)
    steps = EPOCHS * pairs.steps_per_epoch
    keras.utils.set_random_seed(run.seed)
    image_encoder = sogclr_tf.small_resnet(
        input_shape=(SIDE, SIDE, 3), widths=(16, 32, 64), stem_stride=2
    )
    text_encoder = sogclr_tf.TextEncoder(sogclr_tf.vocabulary(source.texts()), length=12, width=64)
    loss = contrastive_loss(run.method, run.temperature, source.num_examples, steps)
    model = sogclr_tf.TwoTowerSogCLR(image_encoder, text_encoder, loss)
    rate = run.rate * (run.batch / TUNED_BATCH) ** 0.5
    schedule = sogclr_tf.warmup_cosine(rate, total_steps=steps, warmup_steps=steps // 20)
    model.compile(build_optimizer("adamw", schedule, 1e-2))
    history = model.fit(pairs, epochs=EPOCHS, verbose=0).history
    return {
        **evaluate(model, held_out),
        "last_temperature": history.get("temperature", [run.temperature])[-1],
    }


def evaluate(model, source):
    """The recalls of a trained model in percent, of all pairs of a source."""
    images, _ = sogclr_tf.evaluation_set(source, SIDE)
    found = sogclr_tf.recall(
        sogclr_tf.extract_features(lambda x, training: model.embed_images(x), images),  # noqa: ARG005
        model.embed_texts(source.texts()).numpy(),
        KS,
    )
    return {
        recall_at(way, k): 100 * share for way in WAYS for k, share in getattr(found, way).items()
    }


def markdown(results):
    """A table of every method at every batch whose seeds are all there."""
    ways = [f"{way.replace('_', ' ')} @{k}" for way in WAYS for k in KS]
    header = ["batch", "method", "rate", "temperature", *ways, "mean of the six"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for batch, method in itertools.product(BATCHES, METHODS):
        setting = best_setting(results, method)
        runs = [Run(method, batch, *(setting or ()), seed, FINAL[1]) for seed in SEEDS if setting]
        if runs and results.keys() >= set(runs):
            cells = _cells([results[run] for run in runs])
            first = [str(batch), method, *(f"{number:g}" for number in setting)]
            lines.append(f"| {' | '.join([*first, *cells])} |")
    return "\n".join(lines) + "\n"


def _cells(found):
    """Mean and, in brackets, lowest and highest of the seeds: of each recall, then of the six."""
    columns = [[recalls[recall_at(way, k)] for recalls in found] for way in WAYS for k in KS]
    columns.append([mean_recall(recalls) for recalls in found])
    return [f"{statistics.mean(c):.1f} ({min(c):.1f}-{max(c):.1f})" for c in columns]


if __name__ == "__main__":
    main()
