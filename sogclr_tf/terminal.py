"""What this process may show on its terminal."""

import logging
import os
import sys

_LOG = logging.getLogger("sogclr_tf")
_BOLD_RED, _PLAIN = "\033[1;31m", "\033[0m"


def is_quiet() -> bool:
    """Whether the logger `sogclr_tf` was told to leave out what is no warning."""
    return _LOG.level > logging.INFO


def has_bar() -> bool:
    """Whether to show bars that redraw themselves."""
    return sys.stdout.isatty() and not is_quiet()


def error_message(message: str) -> str:
    """An error as the last line of a command, "error:" in red where stderr is a terminal.

    Not where NO_COLOR is set (https://no-color.org) or the terminal is "dumb".
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or not sys.stderr.isatty():
        return f"error: {message}"
    return f"{_BOLD_RED}error:{_PLAIN} {message}"
