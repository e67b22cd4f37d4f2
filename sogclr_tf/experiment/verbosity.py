"""How much a run says in a terminal."""

import sys


def verbosity(chief: bool = True) -> int:
    """Keras's: a bar that redraws itself is for a terminal; a log gets a line per epoch."""
    if not chief:
        return 0
    return 1 if sys.stdout.isatty() else 2
