"""Images per second of the command, `python -m sogclr_tf.run`, beside bare steps of its network.

The command trains on PNG files with labels: data, LARS, metrics, the online probe, its logs and
its picture of the views; without checkpoints and kNN, which come every few epochs. Its pace is that
of its second epoch. Then bare steps, in this process, as many; and so in turn.
"""

import csv
import pathlib
import tempfile
import time

import keras
from benchmarks import bare, command, report
from benchmarks.input import small_images
from benchmarks.measure import timing

CLASSES = 2
COMMAND, KERAS, TORCH = "the command", "bare Keras step", "bare PyTorch step, channels last"


def add_arguments(parser):
    parser.description = __doc__
    bare.add_network_arguments(parser)
    parser.add_argument("--steps", type=int, default=15, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)


def run(options):
    steps, notes = {KERAS: bare.keras_step(options)}, ""
    try:
        steps[TORCH] = bare.torch_step(options)
    except ImportError as error:
        notes = f"\n{TORCH} is left out: {error}.\n"
    for step in steps.values():
        step()
    seconds = {name: [] for name in (COMMAND, *steps)}
    with tempfile.TemporaryDirectory() as folder:
        write_images(pathlib.Path(folder), options.steps * options.batch)
        for _ in range(options.rounds):
            seconds[COMMAND].append(seconds_of_command(options, folder))
            for name, step in steps.items():
                seconds[name].append(seconds_of(step, options.steps))
    timings = {name: timing(each) for name, each in seconds.items()}
    found = {name: each._asdict() for name, each in timings.items()}
    return found, table(timings, options) + notes


def write_images(folder, count):
    """PNG files of 32x32 pixels, in a folder for each class."""
    for number, image in enumerate(small_images(count)):
        path = folder / f"class{number % CLASSES}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        keras.utils.save_img(path, image, scale=False)


def seconds_of_command(options, folder):
    """Seconds of a step in the command's second epoch, by its own count of images per second."""
    with command.running(*flags(options, folder)) as run:
        command.wait(run)
        with open(f"{run.workdir}/metrics.csv") as file:
            last = list(csv.DictReader(file))[-1]
    return options.batch / float(last["examples_per_second"])


def flags(options, folder):
    """configs/cifar10.py with another network, other images and two epochs."""
    network = {"name": options.encoder}
    config = "cifar10.py"
    if options.encoder == "small_resnet":
        config = "cifar10_small.py"
        network |= {"widths": tuple(options.widths), "stem_stride": options.stem_stride}
    settings = {
        **{f"encoder.{key}": value for key, value in network.items()},
        "data.name": folder,
        "data.train_split": ".",
        "data.image_size": options.side,
        "batch_size": options.batch,
        "epochs": 2,
        "optimizer.name": "lars",
        "optimizer.scaling": "constant",
        "optimizer.warmup_epochs": 0.0,
        "checkpoint.every_epochs": 0,
        "monitor.every_epochs": 0,
    }
    given = [f"--config.{key}={value}" for key, value in settings.items()]
    return [f"--config={config}", "--mode=train", *given]


def seconds_of(step, count):
    began = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - began) / count


def table(timings, options):
    columns = [
        f"{options.encoder}, {options.side}x{options.side}, B = {options.batch}",
        "images/s",
        "ms per step",
        "quartiles",
        "speed of the command to it",
    ]
    rows = [
        [
            name,
            f"{options.batch / each.median:.1f}",
            *report.milliseconds(each),
            report.ratio(each.over(timings[COMMAND])),
        ]
        for name, each in timings.items()
    ]
    return report.table(columns, rows)
