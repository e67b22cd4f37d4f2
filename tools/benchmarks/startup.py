"""How long until something happens: imports, --help, the first training step of the command.

The first step is seen by its checkpoint, as the command is told to save one after every step: the
time holds the saving too, so that the step itself is a little sooner. A second start goes on from
such a checkpoint, to its next one. Processes start in turn.
"""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from benchmarks import command, report, stages
from benchmarks.measure import interleaved, timing

FLAGS = ("--mode=train", "--config.checkpoint.every_steps=1")


def python(*arguments):
    """A function that runs Python and waits for its end."""
    # absl ends --help with status 1.
    must_succeed = "--help" not in arguments
    command_line = [sys.executable, *arguments]
    return lambda _: subprocess.run(command_line, capture_output=True, check=must_succeed)


# name -> (until the end of what, function of the folder of a begun run that takes so long).
CONTENDERS = {
    "python": ("python", python("-c", "pass")),
    "tensorflow": ("import tensorflow", python("-c", "import tensorflow")),
    "keras": ("import tensorflow, keras", python("-c", "import tensorflow, keras")),
    "package": ("import sogclr_tf", python("-c", "import sogclr_tf")),
    "model": ("import sogclr_tf and its model", python("-c", "import sogclr_tf; sogclr_tf.SogCLR")),
    "help": ("python -m sogclr_tf.run --help", python("-m", "sogclr_tf.run", "--help")),
    "step": ("first step of digits.py", lambda _: first_step()),
    "again": ("first step of a second start of digits.py", lambda begun: next_step(begun)),
}


def add_arguments(parser):
    parser.description = __doc__
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="these alone")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="what the time to the first step is made of, in place of the rest",
    )


def run(options):
    chosen = options.only or CONTENDERS
    with tempfile.TemporaryDirectory() as folder:
        begun = f"{folder}/run"
        if options.profile or "again" in chosen:
            begin(begun)
        if options.profile:
            return profile(options.rounds, begun)
        turns = {name: functools.partial(CONTENDERS[name][1], begun) for name in chosen}
        timings = interleaved(turns, options.rounds, 0)
    return {name: timing._asdict() for name, timing in timings.items()}, table(timings)


def begin(begun):
    """Makes the folder of a run that was killed when it had saved its first step."""
    # Its stages are of no interest, but it ends when the checkpoint is whole.
    with command.running(*FLAGS, program=(stages.__file__, os.devnull)) as run:
        command.wait(run)
        shutil.copytree(run.workdir, begun)


def saved(run):
    """The names of the checkpoints."""
    return {path.name for path in pathlib.Path(run.workdir, "checkpoints").glob("*.index")}


def first_step():
    """Runs the command until it has saved its first step."""
    with command.running(*FLAGS) as run:
        command.wait(run, until=lambda: saved(run))


def next_step(begun):
    """Runs the command where a run was begun, until it has saved another step."""
    with command.running(*FLAGS, begun=begun) as run:
        before = saved(run)
        command.wait(run, until=lambda: saved(run) - before)


def profile(rounds, begun):
    """(what each stage took, by start, seconds; the table)."""
    found = {"first start": {}, "second start": {}}
    for _ in range(rounds):
        for start, folder in zip(found, (None, begun), strict=True):
            for stage, seconds in stage_seconds(folder).items():
                found[start].setdefault(stage, []).append(seconds)
    timings = {
        start: {stage: timing(each) for stage, each in of_stage.items()}
        for start, of_stage in found.items()
    }
    rows = [
        [stage, *(f"{of_stage[stage].median:.2f}" for of_stage in timings.values())]
        for stage in stages.STAGES
    ]
    return found, report.table(["stage, s", *timings], rows)


def stage_seconds(begun):
    """{stage: seconds} of one start."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/ended"
        started = time.time()
        with command.running(*FLAGS, begun=begun, program=(stages.__file__, file)) as run:
            command.wait(run)
        ended = json.loads(pathlib.Path(file).read_text())
    seconds = {}
    for stage in stages.STAGES:
        seconds[stage], started = ended[stage] - started, ended[stage]
    return seconds


def table(timings):
    rows = [
        [CONTENDERS[name][0], f"{timing.median:.2f}", f"{timing.low:.2f} to {timing.high:.2f}"]
        for name, timing in timings.items()
    ]
    return report.table(["from the start to the end of", "s", "quartiles"], rows)
