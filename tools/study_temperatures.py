"""Shows what iSogCLR's temperatures learn: rare classes end with lower ones than frequent classes.

    python tools/study_temperatures.py [--workdir=runs/temperatures] [--epochs=100]

The digits, cut down so that the classes' sizes fall from the whole class to a tenth of it; which
class is frequent is drawn anew for each of five seeds, so that no digit's own nature decides. A
small ResNet learns from the images alone. At the end the mean temperature of each class stands
beside its size: `temperatures.png`, and as a table on the screen with Spearman's rank correlation.
Some 5 minutes of one CPU core; a seed that ended is not trained again.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

import sogclr_tf
from sogclr_tf.data.sources.arrays import digits

CLASSES = 10
RAREST = 0.1
SEEDS = range(5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/temperatures"))
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    options.workdir.mkdir(parents=True, exist_ok=True)
    found = [by_class(*temperatures_and_labels(seed, options)) for seed in SEEDS]
    draw(found, options.workdir / "temperatures.png")
    for seed, (sizes, means) in zip(SEEDS, found, strict=True):
        rank = spearmanr(sizes, means)
        print(f"\nseed {seed}: rank correlation {rank.statistic:.2f} (p {rank.pvalue:.3f})")
        for size, mean in sorted(zip(sizes, means, strict=True), reverse=True):
            print(f"{size:5} examples: mean temperature {mean:.4f}")


def temperatures_and_labels(seed, options):
    """Arrays [N], kept in the folder once they are trained."""
    path = options.workdir / f"seed-{seed}-epochs-{options.epochs}.npz"
    if not path.exists():
        images, labels = long_tailed_digits(seed)
        temperatures = train(images, seed, options.epochs)
        unfinished = path.with_suffix(".unfinished.npz")
        np.savez(unfinished, temperatures=temperatures, labels=labels)
        unfinished.rename(path)
    with np.load(path) as file:
        return file["temperatures"], file["labels"]


def train(images, seed, epochs):
    """The temperature of every image after training, float32 [N]."""
    policy = sogclr_tf.Policy(size=8, min_area=0.5, flip=0.0, strength=0.5, grayscale=0.0)
    views = sogclr_tf.training_views(images, batch_size=32, policy=policy, seed=seed)
    keras.utils.set_random_seed(seed)
    loss = sogclr_tf.RobustGlobalContrastiveLoss(views.num_examples, temperature=0.2)
    encoder = sogclr_tf.small_resnet(input_shape=(8, 8, 3), widths=(16, 32))
    model = sogclr_tf.SogCLR(encoder, loss)
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(views, epochs=epochs, verbose=0)
    return loss.temperatures.numpy()


def by_class(temperatures, labels):
    """(examples of each class, mean temperature of each): arrays [classes]."""
    sizes = np.bincount(labels, minlength=CLASSES)
    return sizes, np.bincount(labels, temperatures, CLASSES) / sizes


def long_tailed_digits(seed):
    """(images, labels) of the training digits, less of every class but one."""
    source = digits("train")
    pictures, labels = source.images_and_labels()
    images = np.stack(list(pictures.as_numpy_iterator()))
    generator = np.random.default_rng(seed)
    rank = generator.permutation(CLASSES)
    share = RAREST ** (rank / (CLASSES - 1))
    kept = []
    for digit in range(CLASSES):
        rows = generator.permutation(np.flatnonzero(labels == digit))
        kept.append(rows[: round(share[digit] * len(rows))])
    kept = np.sort(np.concatenate(kept))
    return images[kept], labels[kept]


def draw(found, path):
    """Draws the mean temperature of each class over its size, a color for each seed."""
    figure = Figure(figsize=(6, 3.8), layout="constrained", dpi=110)
    axes = figure.subplots()
    for seed, (sizes, means) in zip(SEEDS, found, strict=True):
        axes.scatter(sizes, means, label=f"seed {seed}")
    axes.set(xlabel="Examples of the class", ylabel="Mean temperature", xscale="log")
    axes.set_xticks([12, 25, 50, 100], labels=["12", "25", "50", "100"])
    axes.minorticks_off()
    axes.set_title("iSogCLR on long-tailed digits")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
