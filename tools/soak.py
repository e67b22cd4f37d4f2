"""Kills a training at random moments, again and again, and checks that nothing is lost.

    python tools/soak.py [--kills=20] [--strategy=one] [--devices=1] [--epochs=25] [--seed=0]
        [--workdir=DIR]

A small run of `python -m sogclr_tf.run` on the digits is trained once without interruption. Then
the same run is started, killed at a random moment by SIGKILL (three times in four) or SIGTERM, and
started again, until it ends; with a new folder each time, until there were so many kills. Every end
must equal the first: weights, optimizer, table, step and `metrics.csv`, bit for bit on one device
and within 1e-6 on several. The process fails at the first difference. Some 8 minutes for 20 kills
on 2 CPU cores.
"""

import argparse
import csv
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

EVERY_STEPS = 3
PREEMPTED = 75
CONFIG = [
    "--config.encoder.widths=(8,16)",
    "--config.checkpoint.every_epochs=1",
    f"--config.checkpoint.every_steps={EVERY_STEPS}",
]


class Soak:
    """One soak: the command, the reference and the count of kills."""

    def __init__(self, options, workdir):
        self.command = [sys.executable, "-m", "sogclr_tf.run", "--mode=train", *CONFIG]
        self.command += [f"--strategy={options.strategy}", f"--virtual_devices={options.devices}"]
        self.command += [f"--config.epochs={options.epochs}"]
        self.kills, self.wanted = 0, options.kills
        self.tolerance = 0.0 if options.devices == 1 else 1e-6
        self.random = random.Random(options.seed)
        self.workdir = workdir

    def start(self, folder):
        log = (self.workdir / f"{folder.name}.log").open("a")
        return subprocess.Popen([*self.command, f"--workdir={folder}"], stdout=log, stderr=log)

    def uninterrupted(self):
        """(folder, seconds) of a run that nobody kills."""
        folder, began = self.workdir / "uninterrupted", time.monotonic()
        status = self.start(folder).wait()
        if status:
            sys.exit(f"the uninterrupted run ended with status {status}: see {folder}.log")
        return folder, time.monotonic() - began

    def interrupted(self, folder, seconds):
        """Starts and kills a run in `folder` until it ends or there were kills enough."""
        saved = 0
        while True:
            process = self.start(folder)
            if self.kills < self.wanted:
                self.kill_later(process, folder, seconds)
            status = process.wait()
            if newest_step(folder) < saved:
                sys.exit(f"step {saved} was saved and is lost: {folder}")
            saved = newest_step(folder)
            if status == 0:
                return
            if status not in (-signal.SIGKILL, -signal.SIGTERM, PREEMPTED):
                sys.exit(f"a run ended with status {status}: see {folder}.log")

    def kill_later(self, process, folder, seconds):
        """Kills at a random moment; one time in four as soon as a checkpoint is being written."""
        number = self.random.choice([signal.SIGKILL] * 3 + [signal.SIGTERM])
        moment = time.monotonic() + self.random.uniform(0, seconds)
        while_saving = self.random.random() < 0.25
        while time.monotonic() < moment or (while_saving and not is_saving(folder)):
            if process.poll() is not None:
                return
            time.sleep(0.0005 if while_saving else 0.01)
        process.send_signal(number)
        self.kills += 1
        print(
            f"kill {self.kills:3} of {self.wanted}: {number.name}, status {process.wait():3}, "
            f"step {newest_step(folder):4} is saved{', one was being saved' * while_saving}",
            flush=True,
        )


def is_saving(folder):
    """Whether TensorFlow is about to write a checkpoint: it does so in a folder of its own."""
    return any(folder.glob("checkpoints/step-*_temp"))


def newest_step(folder):
    steps = [int(path.stem.split("-")[1]) for path in folder.glob("checkpoints/step-*.index")]
    return max(steps, default=0)


def difference(one, other):
    """The largest difference between the last checkpoints of two runs."""
    ends = [
        tf.train.load_checkpoint(str(folder / "checkpoints" / f"step-{newest_step(folder)}"))
        for folder in (one, other)
    ]
    names = set(ends[0].get_variable_to_shape_map())
    if names != set(ends[1].get_variable_to_shape_map()):
        sys.exit(f"{one} and {other} hold other variables")
    # How often a process saved is no part of the training.
    names -= {"_CHECKPOINTABLE_OBJECT_GRAPH", "save_counter/.ATTRIBUTES/VARIABLE_VALUE"}
    pairs = [[np.float64(end.get_tensor(name)) for end in ends] for name in names]
    return max(np.max(np.abs(a - b), initial=0.0, where=a != b) for a, b in pairs)


def metrics(folder):
    """`metrics.csv` but for the pace, as an array; NaN where an epoch has no value."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array(
        [[float(row[key] or "nan") for key in row if key != "examples_per_second"] for row in rows]
    )


def soak(options, workdir):
    running = Soak(options, workdir)
    reference, seconds = running.uninterrupted()
    print(f"uninterrupted: {newest_step(reference)} steps in {seconds:.1f} s", flush=True)
    rounds = 0
    while running.kills < running.wanted:
        rounds += 1
        folder = workdir / f"interrupted-{rounds}"
        running.interrupted(folder, seconds)
        largest = difference(reference, folder)
        np.testing.assert_allclose(metrics(folder), metrics(reference), rtol=running.tolerance)
        if not largest <= running.tolerance:
            sys.exit(f"{folder} differs from {reference} by {largest:.1e}")
        print(f"run {rounds} ended after {running.kills} kills in all, {largest:.1e} off")
    print(f"{running.kills} kills in {rounds} runs: nothing lost")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="kills in all")
    parser.add_argument("--strategy", default="one", choices=["one", "mirrored"])
    parser.add_argument("--devices", type=int, default=1, help="virtual CPU devices")
    parser.add_argument("--epochs", type=int, default=25, help="of a run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the signals")
    parser.add_argument("--workdir", type=pathlib.Path, help="kept; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workdir = options.workdir or pathlib.Path(temporary)
        workdir.mkdir(parents=True, exist_ok=True)
        soak(options, workdir)


if __name__ == "__main__":
    main()
