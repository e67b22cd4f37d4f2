"""The command: pre-train, evaluate and export an encoder, as a config says.

    python -m sogclr_tf.run [--config=configs/NAME.py] [--workdir=DIR] [--strategy=NAME]
                            [--mode=train|evaluate|export|all] [--encoder=PATH] [--print_config]
                            [--grow] [--quiet]

Any key of the config is a flag: --config.batch_size=128. The same command started again resumes;
with --grow it does so where training images came, went or were renamed.
Exit status: 0 done, 1 an error in one line, 75 saved and stopped by SIGTERM, 130 by Ctrl-C.
"""

import logging
import os
import pathlib
import re
import shlex
import signal
import sys

from absl import app, flags
from ml_collections import config_flags

from sogclr_tf.experiment import command_line
from sogclr_tf.experiment import config as configs
from sogclr_tf.experiment.environment import start_tensorflow
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.terminal import error_message

# TensorFlow's notices would bury the progress bar.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_LOG = logging.getLogger("sogclr_tf")

MODES = ("all", "train", "evaluate", "export")
STRATEGIES = ("one", "mirrored", "multiworker", "tpu")
# Exit statuses: sysexits.h's "try again" after SIGTERM, the shell's own after Ctrl-C.
PREEMPTED, INTERRUPTED = 75, 130
# Seconds that a worker waits for the others to come up.
PATIENCE = 300

_CONFIG = command_line.define_config("Python file with get_config(); configs/digits.py by default.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; by default runs/CONFIG.")
_STRATEGY = flags.DEFINE_enum("strategy", "one", STRATEGIES, "Where to compute.")
_MODE = flags.DEFINE_enum("mode", "all", MODES, "What to do; all: train, evaluate and export.")
_GROW = flags.DEFINE_bool(
    "grow",
    False,
    "Go on though training images came, went or were renamed: those of the same name keep their "
    "row of the loss's table, new ones begin as never seen.",
)
_QUIET = flags.DEFINE_bool(
    "quiet", False, "Print warnings, errors and the closing table, and nothing else."
)
_PRINT_CONFIG = flags.DEFINE_bool("print_config", False, "Print the whole config, and do nothing.")
_DEVICES = flags.DEFINE_integer(
    "virtual_devices", 1, "CPU devices to split this machine's CPU into, to rehearse a strategy.", 1
)
_ENCODER = flags.DEFINE_string(
    "encoder",
    None,
    "With --mode=evaluate or export: a checkpoint, SavedModel or .keras file in place of a run's.",
)
_TPU = flags.DEFINE_string("tpu", None, "Name or address of the TPU; local on a TPU VM.")
_TPU_ZONE = flags.DEFINE_string("tpu_zone", None, "Cloud zone of the TPU.")
_TPU_PROJECT = flags.DEFINE_string("tpu_project", None, "Cloud project of the TPU.")
# Errors whose message is for users.
_SAID_IN_A_LINE = (ValueError, TypeError, OSError, RuntimeError, FloatingPointError, ImportError)


def main(_argv: list[str]) -> None:
    config = _CONFIG.value
    _LOG.setLevel(logging.WARNING if _QUIET.value else logging.INFO)
    configs.check_config(config)
    about_encoder = [key for key in command_line.given_keys(sys.argv) if key.startswith("encoder.")]
    if about_encoder or not _PRINT_CONFIG.value:
        start_tensorflow(_DEVICES.value)
    if about_encoder:
        from sogclr_tf.experiment.encoder_settings import settle_encoder

        settle_encoder(config, command_line.recipe_of(sys.argv), about_encoder)
    if _PRINT_CONFIG.value:
        sys.stdout.write(f"{config}\n")
        return
    from sogclr_tf.experiment import main as experiment
    from sogclr_tf.training.preemption import Stopped

    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    job = experiment.Job(
        config=config,
        folder=RunFolder(_WORKDIR.value or pathlib.Path("runs") / name),
        mode=_MODE.value,
        command=shlex.join(["python", "-m", "sogclr_tf.run", *sys.argv[1:]]),
        strategy=_STRATEGY.value,
        grow=_GROW.value,
    )
    if _ENCODER.value is not None:
        experiment.run_on_encoder(job, _ENCODER.value)
        return
    try:
        experiment.run(job, _strategy())
    except Stopped as stopped:
        sys.stderr.write(f"\n{stopped}: the same command goes on from there\n")
        sys.exit(PREEMPTED if stopped.signal == signal.SIGTERM else INTERRUPTED)


def _strategy():
    """The strategy that the flags name."""
    from sogclr_tf.training.strategy import build_strategy

    several = _STRATEGY.value == "multiworker" and "TF_CONFIG" in os.environ
    if several:
        _LOG.info("waiting for the workers of TF_CONFIG, %d s at most", PATIENCE)
        # Python cannot act while TensorFlow waits: the system's own alarm ends the process.
        signal.alarm(PATIENCE)
    strategy = build_strategy(
        _STRATEGY.value, tpu=_TPU.value, tpu_zone=_TPU_ZONE.value, tpu_project=_TPU_PROJECT.value
    )
    if several:
        signal.alarm(0)
        # TensorFlow's own handler would swallow a SIGTERM that comes outside training.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return strategy


def _run() -> None:
    """Runs `main`; what went wrong in one line, where one line says it."""
    try:
        app.run(main, flags_parser=command_line.parse_flags)
    except _SAID_IN_A_LINE as error:
        message = str(error).strip()
        if "\n" in message:
            raise
        sys.exit(error_message(message))
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped: the same command goes on from the last checkpoint\n")
        sys.exit(INTERRUPTED)
    except Exception as error:
        reason = _lost_worker(error)
        if reason is None:
            raise
        sys.exit(
            error_message(
                f"the connection to another worker broke ({reason}): start the same command on "
                "every worker again, and it goes on from the last checkpoint"
            )
        )


def _lost_worker(error: Exception) -> str | None:
    """What TensorFlow says of a worker that is gone, in a line; None if it is another error."""
    import tensorflow as tf

    several = flags.FLAGS.is_parsed() and _STRATEGY.value == "multiworker"
    if not several or not isinstance(error, tf.errors.OpError):
        return None
    said = re.findall(r"aborted by: (.*)", str(error)) or str(error).strip().splitlines()
    return said[0].strip()


if __name__ == "__main__":
    _run()
