"""The flag --config of a program: its default, and its errors in one line."""

import pathlib
import re

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from sogclr_tf.experiment import config as configs
from sogclr_tf.experiment import config_keys

# What an encoder takes is known to the encoder, and not to the config.
_ENCODER_OPTION = re.compile(r"encoder\.\w+")


def define_config(help_text: str, flag_values: flags.FlagValues = flags.FLAGS) -> flags.FlagHolder:
    """Defines the flag --config, for a program that parses its flags by `parse_flags`.

    No default here, because ml_collections reads a default's overrides when the flag is defined,
    where nobody could make its errors readable.
    """
    return config_flags.DEFINE_config_file(
        "config",
        None,
        help_text,
        flag_values,
        # By `parse_flags`, which says more of a key that is unknown.
        lock_config=False,
        accept_new_attributes=True,
    )


def parse_flags(argv: list[str], default: str = "digits.py") -> list[str]:
    """absl's parsing, with a default config and the valid keys where a --config.KEY is unknown.

    An option of the encoder may be one that the config lacks: it is added, as what Python reads in
    its value, or else as text.

    Args:
        argv: the command line, of a program that has called `define_config`.
        default: the recipe of this project that is taken where no --config is given.

    Returns:
        What is left of the command line.

    Raises:
        ValueError: there is no such config or no such key of it.
    """
    argv = _with_config(argv, default)
    known = list(config_keys.flat_keys(recipe_of(argv)))
    for key in given_keys(argv):
        is_known = any(name == key or name.startswith(f"{key}.") for name in known)
        if not is_known and not _ENCODER_OPTION.fullmatch(key):
            raise ValueError(f"unknown config key '{key}': {config_keys.valid_keys(key, known)}")
    rest = app.parse_flags_with_usage(argv)
    flags.FLAGS.config.lock()
    return rest


def given_keys(argv: list[str]) -> list[str]:
    """The dotted keys of the config that a command line sets."""
    found = (re.match(r"--?(?:no)?config\.([^=]+)", argument) for argument in argv)
    return [match[1] for match in found if match]


def recipe_of(argv: list[str], default: str = "digits.py") -> ConfigDict:
    """The config of the file that a command line names, or of the default one, as it stands there.

    Raises:
        ValueError: there is no such config.
    """
    path = next(arg.partition("=")[2] for arg in _with_config(argv, default) if _names_config(arg))
    return configs.config_of_file(path)


def _with_config(argv: list[str], default: str) -> list[str]:
    """The arguments with a --config that exists: the default, or one of this project by name."""
    argv = _with_equals_sign(argv)
    place = next((i for i, arg in enumerate(argv) if _names_config(arg)), None)
    if place is None:
        return [argv[0], f"--config={configs.recipe_path(default)}", *argv[1:]]
    found = _config_file(argv[place].partition("=")[2])
    return [*argv[:place], f"--config={found}", *argv[place + 1 :]]


def _config_file(name: str) -> pathlib.Path:
    """The file of a --config: cifar10, cifar10.py and configs/cifar10.py are the same recipe."""
    path = pathlib.Path(name)
    if path.is_file():
        return path
    ours = configs.recipe_path(path.name if path.suffix == ".py" else f"{path.name}.py")
    if not ours.exists():
        recipes = configs.recipe_path("digits.py").parent.glob("*.py")
        names = ", ".join(sorted(f"configs/{found.name}" for found in recipes))
        raise ValueError(f"there is no config '{name}': give a file of your own, or {names}")
    return ours


def _with_equals_sign(argv: list[str]) -> list[str]:
    """The arguments with --config=FILE in place of --config FILE."""
    place = next((i for i, arg in enumerate(argv[:-1]) if arg in ("--config", "-config")), None)
    if place is None:
        return argv
    return [*argv[:place], f"--config={argv[place + 1]}", *argv[place + 2 :]]


def _names_config(argument: str) -> bool:
    return bool(re.match("--?config=", argument))
