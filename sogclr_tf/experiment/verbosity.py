"""How much a run says in a terminal."""

import sys

from sogclr_tf.terminal import is_quiet


def verbosity(chief: bool = True) -> int:
    """Keras's: a bar that redraws itself is for a terminal; a log gets a line per epoch."""
    if is_quiet() or not chief:
        return 0
    return 1 if sys.stdout.isatty() else 2
