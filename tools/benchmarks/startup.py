"""How long until something happens: imports, --help, the first training step of the command.

The first step is seen by its checkpoint, as the command is told to save one after every step: the
time holds the saving too, so that the step itself is a little sooner. Processes start in turn.
"""

import pathlib
import subprocess
import sys

from benchmarks import command, report
from benchmarks.measure import interleaved


def add_arguments(parser):
    parser.description = __doc__
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--config", default="configs/digits.py", help="whose first step it is")


def run(options):
    alternatives = {
        "python": python("-c", "pass"),
        "import tensorflow": python("-c", "import tensorflow"),
        "import keras": python("-c", "import keras"),
        "import sogclr_tf": python("-c", "import sogclr_tf"),
        "import sogclr_tf, and a model of it": python("-c", "import sogclr_tf; sogclr_tf.SogCLR"),
        "python -m sogclr_tf.run --help": python("-m", "sogclr_tf.run", "--help"),
        f"first step of {pathlib.Path(options.config).name}": lambda: first_step(options.config),
    }
    timings = interleaved(alternatives, options.rounds, seconds=0)
    return {name: timing._asdict() for name, timing in timings.items()}, table(timings)


def python(*arguments):
    """A function that runs Python and waits for its end."""

    def one():
        # absl ends --help with status 1.
        subprocess.run(
            [sys.executable, *arguments], capture_output=True, check="--help" not in arguments
        )

    return one


def first_step(config):
    """Runs the command until it has saved its first step."""
    flags = ["--mode=train", "--config.checkpoint.every_steps=1"]
    with command.running(f"--config={config}", *flags) as run:
        checkpoints = pathlib.Path(run.workdir) / "checkpoints"
        command.wait(run, until=lambda: any(checkpoints.glob("*.index")))


def table(timings):
    rows = [
        [name, f"{timing.median:.2f}", f"{timing.low:.2f} to {timing.high:.2f}"]
        for name, timing in timings.items()
    ]
    return report.table(["from the start to the end of", "s", "quartiles"], rows)
