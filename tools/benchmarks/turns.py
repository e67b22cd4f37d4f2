"""Work in turns, by a process that stays alive between them: its start is not timed.

    python -m benchmarks.turns MODULE FUNCTION '{"argument": value}'

`MODULE.FUNCTION(**arguments)` returns a `Work`. The process writes a line of JSON when it is
ready, {"versions": ...}; each line that it reads, a number of seconds, is answered by a turn of at
least so long, {"seconds": of an image}. The standard library alone: peers have no more of ours.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks import report


class Work(NamedTuple):
    """What turns are taken of.

    Attributes:
        start: function that returns an endless iterator, of which each `next` is a unit of work.
        images: int, those of a unit.
        uncounted: int, units at the beginning of each turn that are not timed.
    """

    start: Callable
    images: int
    uncounted: int


def steps(step, images):
    """`Work` of calls of a function that takes a step of `images` images."""

    def endless():
        while True:
            yield step()

    return Work(endless, images, uncounted=1)


def turn(work, seconds):
    """Seconds of an image, over a turn of at least `seconds`."""
    units = work.start()
    for _ in range(work.uncounted):
        next(units)
    count, began = 0, time.perf_counter()
    while not count or time.perf_counter() - began < seconds:
        next(units)
        count += work.images
    return (time.perf_counter() - began) / count


def main():
    module, function, arguments = sys.argv[1:]
    # What libraries print must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = getattr(importlib.import_module(module), function)(**json.loads(arguments))
    turn(work, 0)
    print(json.dumps({"versions": report.versions()}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps({"seconds": turn(work, float(line))}), file=answers, flush=True)


if __name__ == "__main__":
    main()
