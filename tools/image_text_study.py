"""Retrieval on the emoji set: two-way SogCLR beside CLIP's loss, at the same small batch.

    python tools/image_text_study.py RESULTS.jsonl --data_dir=DIR [--losses LOSS ...] [--table]

Learning rate and temperature are tuned for each loss alike: over the same grid, with one seed, by
the mean recall on a tenth of the training pairs that is held out of it. The best setting is then
trained on all training pairs with three other seeds, and evaluated on the 193 test pairs. A run
takes two minutes on one CPU core. Each finished run is a line of RESULTS.jsonl and is not done
again, so the program may be stopped and started as one likes. --table prints what there is, without
training.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import sogclr_tf
from sogclr_tf.data.image_text import mild
from sogclr_tf.training.optimizers import build_optimizer

BATCH, EPOCHS, SIDE = 32, 25, 32
RATES, TEMPERATURES = (1e-3, 3e-3), (0.03, 0.1)
TUNING_SEED, SEEDS = 0, (1, 2, 3)
# Of the two-way loss gamma falls as FastCLIP (arXiv 2407.01445) recommends, and is not tuned.
GAMMA, GAMMA_DECAY = 0.2, 0.5
LOSSES = ("clip", "two_way", "two_way/global")
TUNED_ON, FINAL = ("train[:90%]", "train[90%:]"), ("train", "test")
KS = (1, 5, 10)


def contrastive_loss(loss, temperature, source, steps):
    if loss == "clip":
        return sogclr_tf.CLIPLoss(temperature)
    scheme = loss.partition("/")[2] or "constant"
    return sogclr_tf.TwoWayGlobalContrastiveLoss(
        source.num_examples,
        temperature,
        gamma=GAMMA,
        gamma_decay_steps=round(GAMMA_DECAY * steps),
        temperature_scheme=scheme,
        rho=3.0,
    )


def train(loss, rate, temperature, seed, splits, data_dir):
    """The recalls of one run in percent, with its settings, as a dictionary."""
    source, held_out = (
        sogclr_tf.TfdsSource("emoji", split, data_dir, text="caption") for split in splits
    )
    pairs = sogclr_tf.training_pairs(source, batch_size=BATCH, policy=mild(SIDE), seed=seed)
    steps = EPOCHS * pairs.steps_per_epoch
    keras.utils.set_random_seed(seed)
    image_encoder = sogclr_tf.small_resnet(
        input_shape=(SIDE, SIDE, 3), widths=(16, 32, 64), stem_stride=2
    )
    text_encoder = sogclr_tf.TextEncoder(sogclr_tf.vocabulary(source.texts()), length=12, width=64)
    model = sogclr_tf.TwoTowerSogCLR(
        image_encoder, text_encoder, contrastive_loss(loss, temperature, source, steps)
    )
    schedule = sogclr_tf.warmup_cosine(rate, total_steps=steps, warmup_steps=steps // 20)
    model.compile(build_optimizer("adamw", schedule, 1e-2))
    history = model.fit(pairs, epochs=EPOCHS, verbose=0).history
    images, _ = sogclr_tf.evaluation_set(held_out, SIDE)
    found = sogclr_tf.recall(
        sogclr_tf.extract_features(lambda x, training: model.embed_images(x), images),  # noqa: ARG005
        model.embed_texts(held_out.texts()).numpy(),
        KS,
    )
    return {
        **{"loss": loss, "rate": rate, "temperature": temperature, "seed": seed},
        "split": splits[1],
        "image_to_text": percent(found.image_to_text),
        "text_to_image": percent(found.text_to_image),
        "last_temperature": history.get("temperature", [temperature])[-1],
    }


def percent(recalls):
    return {k: 100 * share for k, share in recalls.items()}


def mean_recall(result):
    return np.mean([*result["image_to_text"].values(), *result["text_to_image"].values()])


class Results:
    """The runs that are done, one a line of a file."""

    def __init__(self, path, data_dir, train_missing):
        self._path, self._data_dir, self._train_missing = path, data_dir, train_missing
        lines = path.read_text().splitlines() if path.exists() else []
        self._done = [json.loads(line) for line in lines]

    def get(self, loss, rate, temperature, seed, splits):
        """The run's result, trained now where it is missing; None where it may not be."""
        wanted = {"loss": loss, "rate": rate, "temperature": temperature, "seed": seed}
        for result in self._done:
            if {**wanted, "split": splits[1]}.items() <= result.items():
                return result
        if not self._train_missing:
            return None
        made = json.loads(json.dumps(train(**wanted, splits=splits, data_dir=self._data_dir)))
        self._done.append(made)
        with self._path.open("a") as file:
            file.write(json.dumps(made) + "\n")
        print(f"{loss} rate {rate} temperature {temperature} seed {seed}: {mean_recall(made):.1f}")
        return made


def best_setting(results, loss):
    """(rate, temperature) of the highest mean recall on the held-out tenth; None if unknown."""
    grid = [
        results.get(loss, rate, temperature, TUNING_SEED, TUNED_ON)
        for rate, temperature in itertools.product(RATES, TEMPERATURES)
    ]
    if None in grid:
        return None
    best = max(grid, key=mean_recall)
    return best["rate"], best["temperature"]


def row(results, loss):
    """A line of the table: mean and, in brackets, lowest and highest of the seeds."""
    setting = best_setting(results, loss)
    if setting is None:
        return None
    runs = [results.get(loss, *setting, seed, FINAL) for seed in SEEDS]
    if None in runs:
        return None
    columns = [
        [run[way][str(k)] for run in runs] for way in ("image_to_text", "text_to_image") for k in KS
    ]
    columns.append([mean_recall(run) for run in runs])
    cells = [f"{statistics.mean(c):.1f} ({min(c):.1f}-{max(c):.1f})" for c in columns]
    return f"| `{loss}` | {setting[0]:g} | {setting[1]:g} | {' | '.join(cells)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--data_dir")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = Results(options.results, options.data_dir, not options.table)
    rows = [row(results, loss) for loss in options.losses]
    ways = [f"{way} @{k}" for way in ("image to text", "text to image") for k in KS]
    header = ["loss", "rate", "temperature", *ways, "mean"]
    print("\n| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    print("\n".join(line for line in rows if line))


if __name__ == "__main__":
    main()
