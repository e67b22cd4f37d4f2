"""What is measured beside training costs: readings and probe in the step, kNN after epochs.

And what averages of the weights cost, from which the probe learns then.
"""

import time

import keras
import numpy as np
import tensorflow as tf
from benchmarks.measure import interleaved

import sogclr_tf

CLASSES = 10


def add_arguments(parser):
    parser.description = (
        "The train step of configs/cifar10_small.py as it is, beside the same step that reads the "
        "loss and the contrast accuracy alone; and the kNN monitor, whose cost is spread over the "
        "steps of the epochs between two measurements."
    )
    parser.add_argument("--batch", type=int, default=64, help="B")
    parser.add_argument("--examples", type=int, default=50_000, help="N, of an epoch")
    parser.add_argument("--bank", type=int, default=2048)
    parser.add_argument("--queries", type=int, default=1024)
    parser.add_argument("--every_epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)


def run(options):
    batch, models = random_batch(options.batch), {"bare": bare_model(options.examples)}
    for name, probed, averaged in (
        ("readings", False, False),
        ("readings and probe", True, False),
        ("readings, averaged weights", False, True),
        ("readings and probe, averaged weights", True, True),
    ):
        loss = sogclr_tf.GlobalContrastiveLoss(options.examples)
        probe = sogclr_tf.OnlineProbe(CLASSES) if probed else None
        models[name] = compiled(sogclr_tf.SogCLR(encoder(), loss, probe=probe), averaged)
    timings = interleaved(
        {name: step(model, batch) for name, model in models.items()}, options.rounds, seconds=1.0
    )
    steps = options.every_epochs * (options.examples // options.batch)
    knn = seconds_of_knn(models["readings and probe"], options.bank, options.queries) / steps
    found = {name: timing._asdict() for name, timing in timings.items()}
    found["kNN"] = {"median": knn}
    return found, table(found)


def compiled(model, averaged=False):
    averaging = {"use_ema": True, "ema_momentum": 0.999} if averaged else {}
    model.compile(keras.optimizers.Adam(1e-3, **averaging), jit_compile=False)
    return model


class BareLoss(sogclr_tf.GlobalContrastiveLoss):
    """SogCLR without alignment and uniformity."""

    metric_names = sogclr_tf.ContrastiveLoss.metric_names

    def compute_metrics(self, compared):
        return sogclr_tf.ContrastiveLoss.compute_metrics(self, compared)


class BareModel(sogclr_tf.SogCLR):
    """A model that does not look at its features."""

    def track_features(self, width):
        pass

    @property
    def metrics(self):
        return self._means

    def _log(self, features, logged):  # noqa: ARG002
        for mean in self._means:
            mean.update_state(logged[mean.name])
        return self.get_metrics_result()


def bare_model(examples):
    return compiled(BareModel(encoder(), BareLoss(examples)))


def encoder():
    return sogclr_tf.small_resnet(widths=(32, 64, 128, 256), stem_stride=2)


def random_batch(size):
    random = np.random.default_rng(0)
    views = random.integers(0, 256, (2, size, 32, 32, 3), np.uint8)
    index, label = np.arange(size), random.integers(0, CLASSES, size)
    return {"view_a": views[0], "view_b": views[1], "index": index, "label": label}


def step(model, batch):
    """A function that takes one training step."""
    batch = {name: tf.constant(values) for name, values in batch.items()}
    model.build_from(batch)
    model.optimizer.build(model.trainable_variables)
    compiled = tf.function(model.train_step)
    return lambda: compiled(batch)["loss"].numpy()


def seconds_of_knn(model, bank, queries):
    """The time of one measurement on images in memory, the least of three."""
    random = np.random.default_rng(1)
    sets = [
        (random.integers(0, 256, (count, 32, 32, 3), np.uint8), np.arange(count) % CLASSES)
        for count in (bank, queries)
    ]
    monitor = sogclr_tf.HeldOutAccuracy(*sets)
    monitor.set_model(model)
    monitor.measure()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        monitor.measure()
        times.append(time.perf_counter() - began)
    return min(times)


def table(found):
    """Milliseconds of a step, and percent of the bare one, as Markdown."""
    bare = found["bare"]["median"]
    lines = ["| | ms per step | quartiles | added to the bare step |", "|---|---|---|---|"]
    for name, row in found.items():
        extra = row["median"] if name == "kNN" else row["median"] - bare
        quartiles = f"{1e3 * row['low']:.1f} to {1e3 * row['high']:.1f}" if "low" in row else ""
        lines.append(
            f"| {name} | {1e3 * row['median']:.2f} | {quartiles} | {100 * extra / bare:.1f}% |"
        )
    return "\n".join(lines)
