"""The flag --config of a program: its default, and its errors in one line."""

import pathlib
import re

from absl import app

from sogclr_tf.experiment import config as configs


def parse_flags(argv: list[str], default: str = "digits.py") -> list[str]:
    """absl's parsing, with a default config and the valid keys where a --config.KEY is unknown.

    Args:
        argv: the command line, of a program that has defined the flag --config.
        default: the recipe of this project that is taken where no --config is given.

    Returns:
        What is left of the command line.

    Raises:
        ValueError: there is no such config or no such key of it.
    """
    argv = _with_config(argv, default)
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError):
        overrides = [arg.lstrip("-").partition("=")[0] for arg in argv if "config." in arg]
        path = next(arg.partition("=")[2] for arg in argv if re.match("--?config=", arg))
        expected = set(configs.flat_keys(configs.config_of_file(path)))
        for override in overrides:
            key = override.removeprefix("config.")
            if key.startswith("encoder."):
                known = key in configs.flat_keys(configs.default_config())
                way = f": set config.{key} in {path}" if known else ""
                raise ValueError(f"this config's encoder has no '{key}' to set{way}") from None
            if key not in expected:
                raise ValueError(
                    f"unknown config key '{key}': {configs.valid_keys(key, expected)}"
                ) from None
        raise


def _with_config(argv: list[str], default: str) -> list[str]:
    """The arguments with a --config that exists: the default, or one of this project by name."""
    place = next((i for i, arg in enumerate(argv) if re.match("--?config=", arg)), None)
    if place is None:
        return [argv[0], f"--config={configs.recipe_path(default)}", *argv[1:]]
    path = argv[place].partition("=")[2]
    if pathlib.Path(path).exists():
        return argv
    ours = configs.recipe_path(pathlib.Path(path).name)
    if not ours.exists():
        names = ", ".join(sorted(f"configs/{found.name}" for found in ours.parent.glob("*.py")))
        raise ValueError(f"there is no config '{path}': give a file of your own, or {names}")
    return [*argv[:place], f"--config={ours}", *argv[place + 1 :]]
