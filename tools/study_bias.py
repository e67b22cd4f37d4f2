"""Measures where a small batch harms: how far its estimate of g is off, on a trained encoder.

    python tools/study_bias.py --data_dir=DIR [--workdir=docs/study] [--processes=2]

DIR holds CIFAR-10 as tensorflow_datasets prepares it. An encoder is trained as in
`study_batch_size.py`, on 10,000 images; the projections of two views of all 50,000 are kept in
`--scratch`. For each of 256 anchors g is then computed exactly, over N examples of them, and from
batches: the other examples are shuffled and cut into batches of B - 1, each of which gives an
estimate of g from both views of its examples. Measured, over batches and anchors, with r the
estimate divided by g, and the pull being the sum of all negatives by their softmax, at a right
angle to the anchor:

    bias        E[log r], by which log g is overestimated
    spread      standard deviation of log r over the batches of an anchor
    weight      E[1/r] - 1, by which a negative counts for too much; the median over the anchors
    gradient    |the mean pull of a batch - that of all| / |that of all|
    gamma 0.2   the same, where r is averaged over an anchor's batches with that weight of the
                newest, as in a table whose encoder stands still
    positive    share of the positive in the denominator of SimCLR

and predicted, without a batch, from the variance v of r, which is

    v = cv2 / (B - 1) * (1 - (B - 1) / (N - 1)),

cv2 being that of the mean of an example's two exp(s/temperature)/g (cv2_views: of single ones):

    delta       -v/2, the bias by the delta method
    predicted   -log(1 + v)/2, the bias of a log-normal r

Every measurement is a line of `bias.jsonl`; the same command started again goes on with those that
are missing. It writes `bias.md` and `bias.png` beside it. A quarter of an hour of one core.
"""

import argparse
import functools
import itertools
import pathlib
from typing import NamedTuple

import numpy as np
import study_runs
from studies import bias_report, cifar

import sogclr_tf

EXAMPLES = (1_000, 5_000, 10_000, 50_000)
TEMPERATURES = (0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5)
BATCHES = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
FEWER_BATCHES = (8, 16, 64)
# The rate that `study_batch_size.py` chose.
ENCODER = cifar.Run("SogCLR 0.9", batch=256, rate=4e-3, epochs=12, seed=0)
ENCODER_IMAGES = 10_000
IMAGES = "train"
ANCHORS, BLOCK = 256, 32
# Batches of an anchor, at least, in shuffles of which there is an even number.
DRAWN = 16
GAMMAS = (0.9, 0.5, 0.2)
PULLS = ("gradient", *(f"gamma {gamma}" for gamma in GAMMAS))


class Run(NamedTuple):
    """One measurement; its fields name it."""

    examples: int
    temperature: float
    batch: int


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", required=True, help="where TFDS keeps cifar10")
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("docs/study"))
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("runs/bias"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    for folder in (options.workdir, options.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    results, projections = options.workdir / "bias.jsonl", options.scratch / "projections.npy"
    done = study_runs.read(results, Run)
    if not projections.exists() and not set(runs()) <= set(done):
        study_runs.one_thread()
        save_projections(projections, options.data_dir)
    measured = functools.partial(measure, path=projections)
    study_runs.train_missing(runs(), measured, results, options.processes)
    bias_report.write(study_runs.read(results, Run), options.workdir)


def runs():
    """All measurements: at the largest N every batch, and at the others the smallest."""
    *fewer, most = EXAMPLES
    grid = itertools.product([most], TEMPERATURES, BATCHES)
    return [Run(*run) for run in (*grid, *itertools.product(fewer, TEMPERATURES, FEWER_BATCHES))]


def save_projections(path, data_dir):
    """Trains the encoder; keeps z of two views of all images: float32 [2, 50000, D], shuffled."""
    import tensorflow as tf

    images, _ = cifar.load(data_dir, IMAGES)
    model = cifar.fit(ENCODER, images[:ENCODER_IMAGES])
    sides = tf.function(lambda batch: model.sides(batch, training=False))
    stream = sogclr_tf.training_views(images, batch_size=500, policy=cifar.policy(), seed=1)
    # Shuffled by the stream, so that the first N are a sample of those trained on and the others.
    parts = [np.stack(sides(batch)) for batch in model.prepare_dataset(stream.epoch(0))]
    raw = np.concatenate(parts, axis=1)
    whole = path.with_suffix(".part.npy")
    np.save(whole, raw / np.linalg.norm(raw, axis=-1, keepdims=True))
    whole.rename(path)


@functools.cache
def load(path):
    return np.load(path)


def measure(run, path):
    """The measures of one run by their names, means over the anchors."""
    return summarize(run, load(path)[:, : run.examples])


def summarize(run, views):
    """Those of normalized views, float32 [2, N, D]."""
    random = np.random.default_rng((run.examples, run.batch))
    count = min(ANCHORS, run.examples)
    blocks = [np.arange(count)[start : start + BLOCK] for start in range(0, count, BLOCK)]
    parts = [of_anchors(run, views, rows, random) for rows in blocks]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = {name: np.mean(values) for name, values in whole.items()}
    found["weight"] = np.median(whole["weight"])
    length = found.pop("length")
    for name in PULLS:
        found[name] = np.sqrt(max(found[name], 0.0) / length)
    return {name: float(f"{value:.4g}") for name, value in found.items()}


def of_anchors(run, views, rows, random):
    """{name: [anchors]}, of the first views of the examples `rows`."""
    anchors, count = views[0, rows], run.examples
    similarity = np.einsum("ad,vnd->avn", anchors, views, optimize=True).astype(np.float64)
    here = np.arange(len(rows))
    positive = similarity[here, 1, rows]
    similarity[here, :, rows] = -np.inf
    log_g = _log_mean_exp(similarity / run.temperature, 2 * (count - 1))
    weight = np.exp(similarity / run.temperature - log_g[:, np.newaxis, np.newaxis])
    of_example = weight.mean(axis=1)
    batches = max(1, (count - 1) // (run.batch - 1))
    shuffles = 2 * -(-DRAWN // (2 * batches))
    drawn = [shuffled(rows, count, batches, run.batch - 1, random) for _ in range(shuffles)]
    sizes = (len(rows), batches, run.batch - 1)
    ratio = np.concatenate(
        [np.take_along_axis(of_example, order, 1).reshape(sizes).mean(axis=2) for order in drawn],
        axis=1,
    )
    pull = functools.partial(_pull, views=views, anchors=anchors)
    # e^(s+/t) is to the sum over the negatives of the batch as 1 to this.
    odds = np.exp(log_g - positive / run.temperature)[:, np.newaxis] * 2 * (run.batch - 1) * ratio
    return {
        **_moments(ratio),
        **_predictions(run, weight, of_example),
        "positive": np.mean(1 / (1 + odds), axis=1),
        "length": (pull(weight / (2 * (count - 1))) ** 2).sum(axis=1),
        "gradient": _off(ratio, drawn, weight, pull),
        **{f"gamma {g}": _off(averaged(ratio, g), drawn, weight, pull) for g in GAMMAS},
    }


def averaged(ratio, gamma):
    """u / g at each batch of an anchor, [anchors, batches], long after its first one."""
    from scipy.signal import lfilter

    # The batches twice, of which the first time is for the first visit to be forgotten.
    again = np.concatenate([ratio, ratio], axis=1)
    u, _ = lfilter([gamma], [1, gamma - 1], again, axis=1, zi=(1 - gamma) * ratio[:, :1])
    return u[:, ratio.shape[1] :]


def _off(normalizer, drawn, weight, pull):
    """[anchors]: square of the bias of the pull, if a batch's sum is divided by normalizer * g.

    Twice over, of every other shuffle, and multiplied: so noise does not count as bias.
    """
    pulls = []
    for order, divisor in zip(drawn, np.split(normalizer, len(drawn), axis=1), strict=True):
        share = np.zeros((len(weight), weight.shape[2]))
        # Without the 1 it would be the pull of a batch; the 1 gives the exact one on average.
        size = order.shape[1] // divisor.shape[1]
        np.put_along_axis(share, order, np.repeat(1 / divisor - 1, size, axis=1), axis=1)
        pulls.append(pull(weight * share[:, np.newaxis] / (2 * order.shape[1])))
    first, second = (np.mean(pulls[half::2], axis=0) for half in (0, 1))
    return (first * second).sum(axis=1)


def shuffled(rows, count, batches, size, random):
    """int [anchors, batches * size]: for each anchor other examples in an order of its own."""
    others = np.broadcast_to(np.arange(count - 1), (len(rows), count - 1))
    others = random.permuted(others, axis=1)[:, : batches * size]
    return others + (others >= rows[:, np.newaxis])


def _moments(ratio):
    """Of the estimates divided by g, [anchors, batches], whose mean is 1.

    r - 1 is taken off log r and added to 1/r: that changes no expectation and takes most noise.
    """
    return {
        "bias": np.mean(np.log(ratio) - (ratio - 1), axis=1),
        "spread": np.std(np.log(ratio), axis=1),
        "weight": np.mean(1 / ratio + ratio - 2, axis=1),
    }


def _predictions(run, weight, of_example):
    """What the spread of the weights, whose mean is 1, says without a batch."""
    others, drawn = run.examples - 1, run.batch - 1
    cv2 = ((of_example**2).sum(axis=1) - others) / (others - 1)
    variance = cv2 / drawn * (1 - drawn / others)
    of_views = (weight**2).sum(axis=(1, 2)) / (2 * others) - 1
    return {
        "predicted": -np.log1p(variance) / 2,
        "delta": -variance / 2,
        "cv2": cv2,
        "cv2_views": of_views,
    }


def _pull(share, views, anchors):
    """[anchors, D]: the views summed by their share, at a right angle to the anchor."""
    pull = np.einsum("avn,vnd->ad", share.astype(np.float32), views, optimize=True)
    return pull - anchors * (pull * anchors).sum(axis=1, keepdims=True)


def _log_mean_exp(exponent, count):
    most = exponent.max(axis=(1, 2), keepdims=True)
    return most[:, 0, 0] + np.log(np.exp(exponent - most).sum(axis=(1, 2)) / count)


if __name__ == "__main__":
    main()
