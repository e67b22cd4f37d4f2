"""The whole training step: SogCLR beside SimCLR, in every mode, and beside bare networks.

Steps are those that `fit` takes: Keras's train function on a batch in memory, with the optimizer
and all metrics.
"""

import functools

import keras
import numpy as np
import tensorflow as tf
from benchmarks import bare, report
from benchmarks.measure import interleaved

import sogclr_tf
from sogclr_tf.data import policies, randomness
from sogclr_tf.data.changes import changes
from sogclr_tf.training.optimizers import build_optimizer

IMAGENET = 1_281_167
TOGETHER = 10
PROBED = 10


def add_arguments(parser):
    parser.description = __doc__
    bare.add_network_arguments(parser)
    parser.add_argument("--examples", type=int, default=IMAGENET, help="N, of the table")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="these alone")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of every turn, at least")


def run(options):
    steps, notes = {}, []
    for name in options.only or CONTENDERS:
        try:
            steps[name] = CONTENDERS[name][1](options)
        except ImportError as error:
            notes.append(f"{CONTENDERS[name][0]} is left out: {error}.")
    timings = interleaved(steps, options.rounds, options.seconds)
    if "execution" in timings:
        timings["execution"] = timings["execution"].scaled(1 / TOGETHER)
    found = {name: timing._asdict() for name, timing in timings.items()}
    return found, "\n".join([table(timings, options), *notes])


def trained(
    options,
    loss="sogclr",
    optimizer="lars",
    precision="float32",
    *,
    steps=1,
    jit_compile=False,
    probe=False,
    chunks=1,
    accumulated=1,
    finish=False,
):
    """A function that takes `steps` steps of training as `fit` does."""
    keras.mixed_precision.set_dtype_policy(precision)
    model = sogclr_tf.SogCLR(
        bare.encoder(options),
        sogclr_tf.build_loss(loss, options.examples),
        probe=sogclr_tf.OnlineProbe(PROBED) if probe else None,
        chunks=chunks,
    )
    keras.mixed_precision.set_dtype_policy("float32")
    model.compile(
        build_optimizer(optimizer, bare.RATE, gradient_accumulation_steps=accumulated),
        steps_per_execution=steps,
        jit_compile=jit_compile,
    )
    data = batch(options, finish=finish)
    model.build_from(data)
    model.optimizer.build(model.trainable_variables)
    model.make_train_function()
    iterator = iter(tf.data.Dataset.from_tensors(data).repeat())
    return lambda: float(model.train_function(iterator)["loss"])


def batch(options, *, finish=False):
    view_a, view_b = bare.views(options)
    random = np.random.default_rng(1)
    return {
        **(left_to_do(options) if finish else {}),
        "view_a": view_a,
        "view_b": view_b,
        "index": random.integers(0, options.examples, options.batch).astype(np.int32),
        "label": random.integers(0, PROBED, options.batch),
    }


def left_to_do(options):
    """What the step is to change of both views: SimCLR's for ImageNet, which blurs half of them."""
    places = tf.range(options.batch, dtype=tf.int64)
    rows = randomness.draws(0, tf.zeros_like(places), places)
    pair = policies.simclr(options.side)
    return {
        f"view_{side}_changes": changes(rows[:, place], pair[place])
        for place, side in enumerate("ab")
    }


# name -> (what it is, function of the options that makes the step).
CONTENDERS = {
    "sogclr": ("SogCLR, LARS", trained),
    "simclr": ("SimCLR, LARS", functools.partial(trained, loss="simclr")),
    "keras": ("bare Keras step", bare.keras_step),
    "keras_own": (
        "bare Keras step, statistics not synchronized",
        functools.partial(bare.keras_step, synchronized=False),
    ),
    "torch": ("bare PyTorch step, channels last", bare.torch_step),
    "finish": ("SogCLR, LARS, views finished", functools.partial(trained, finish=True)),
    "probe": ("SogCLR, LARS, and the probe", functools.partial(trained, probe=True)),
    "adam": ("SogCLR, Adam", functools.partial(trained, optimizer="adam")),
    "sgd": ("SogCLR, SGD", functools.partial(trained, optimizer="sgd")),
    "execution": (
        f"SogCLR, LARS, {TOGETHER} steps per execution",
        functools.partial(trained, steps=TOGETHER),
    ),
    "xla": ("SogCLR, LARS, XLA", functools.partial(trained, jit_compile=True)),
    "bfloat16": (
        "SogCLR, LARS, mixed_bfloat16",
        functools.partial(trained, precision="mixed_bfloat16"),
    ),
}


def table(timings, options):
    """Steps, images per second and two ratios, as Markdown."""
    title = f"{options.encoder}, {options.side}x{options.side}, B = {options.batch}"
    columns = [title, "images/s", "ms", "quartiles"]
    columns += ["time to SimCLR", "time to SogCLR", "speed to bare Keras"]
    return report.table(columns, [_cells(name, timings, options) for name in timings])


def _cells(name, timings, options):
    timing = timings[name]
    simclr, sogclr, keras_step = (timings.get(base) for base in ("simclr", "sogclr", "keras"))
    return [
        CONTENDERS[name][0],
        f"{options.batch / timing.median:.1f}",
        *report.milliseconds(timing),
        report.ratio(timing.over(simclr)) if simclr else "",
        report.ratio(timing.over(sogclr)) if sogclr else "",
        report.ratio(keras_step.over(timing)) if keras_step else "",
    ]
