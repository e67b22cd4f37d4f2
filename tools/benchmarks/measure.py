"""Times alternatives against each other on a machine that is never quiet."""

import statistics
import time
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds of one call.

    Attributes:
        median: over the rounds.
        low, high: the quartiles, for the spread.
    """

    median: float
    low: float
    high: float


def interleaved(alternatives, rounds=15, seconds=0.1):
    """Times every alternative in every round, so that a slow moment touches all of them.

    Args:
        alternatives: dict of functions without arguments, each of which returns when its work is
            done. Each is called twice before it counts.
        rounds: how often each is measured.
        seconds: how long a measurement lasts at least; an alternative is called as often as it
            takes.

    Returns:
        dict of `Timing`, by the names of `alternatives`.
    """
    calls = {}
    for name, call in alternatives.items():
        call()
        once = _seconds(call, 1)
        calls[name] = max(1, round(seconds / once))
    found = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, call in alternatives.items():
            found[name].append(_seconds(call, calls[name]))
    return {
        name: Timing(statistics.median(times), *_quartiles(times)) for name, times in found.items()
    }


def _quartiles(times):
    low, _, high = statistics.quantiles(times, n=4)
    return low, high


def _seconds(call, count):
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count
