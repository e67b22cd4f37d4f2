"""How long until something happens: imports, --help, the first training step of the command.

The first step is seen by its checkpoint, as the command is told to save one after every step: the
time holds the saving too, so that the step itself is a little sooner. Processes start in turn.
"""

import pathlib
import subprocess
import sys

from benchmarks import command, report
from benchmarks.measure import interleaved


def python(*arguments):
    """A function that runs Python and waits for its end."""
    # absl ends --help with status 1.
    must_succeed = "--help" not in arguments
    command_line = [sys.executable, *arguments]
    return lambda: subprocess.run(command_line, capture_output=True, check=must_succeed)


# name -> (until the end of what, function that takes so long).
CONTENDERS = {
    "python": ("python", python("-c", "pass")),
    "tensorflow": ("import tensorflow", python("-c", "import tensorflow")),
    "keras": ("import tensorflow, keras", python("-c", "import tensorflow, keras")),
    "package": ("import sogclr_tf", python("-c", "import sogclr_tf")),
    "model": ("import sogclr_tf and its model", python("-c", "import sogclr_tf; sogclr_tf.SogCLR")),
    "help": ("python -m sogclr_tf.run --help", python("-m", "sogclr_tf.run", "--help")),
    "step": ("first step of digits.py", lambda: first_step()),
}


def add_arguments(parser):
    parser.description = __doc__
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="these alone")


def run(options):
    chosen = options.only or CONTENDERS
    timings = interleaved({name: CONTENDERS[name][1] for name in chosen}, options.rounds, 0)
    return {name: timing._asdict() for name, timing in timings.items()}, table(timings)


def first_step():
    """Runs the command until it has saved its first step."""
    with command.running("--mode=train", "--config.checkpoint.every_steps=1") as run:
        checkpoints = pathlib.Path(run.workdir) / "checkpoints"
        command.wait(run, until=lambda: any(checkpoints.glob("*.index")))


def table(timings):
    rows = [
        [CONTENDERS[name][0], f"{timing.median:.2f}", f"{timing.low:.2f} to {timing.high:.2f}"]
        for name, timing in timings.items()
    ]
    return report.table(["from the start to the end of", "s", "quartiles"], rows)
