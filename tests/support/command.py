"""The command, as a user starts it."""

import subprocess
import sys

from support import processes

# A run of two epochs of a small network.
SMALL = [
    "--config.epochs=2",
    "--config.optimizer.warmup_epochs=0.5",
    "--config.encoder.widths=(8,16)",
    "--config.checkpoint.every_epochs=1",
]


def command(*arguments, cwd):
    """The finished process of `python -m sogclr_tf.run` with the arguments."""
    return processes.run("-m", "sogclr_tf.run", *arguments, cwd=cwd)


def fresh_command(*arguments, cwd):
    """The same, of an interpreter that has imported nothing."""
    return subprocess.run(
        [sys.executable, "-m", "sogclr_tf.run", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )
