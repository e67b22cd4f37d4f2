"""Times alternatives against each other on a machine that is never quiet."""

import statistics
import time
from typing import NamedTuple


class Timing(NamedTuple):
    """Seconds of one call, or a ratio of such.

    Attributes:
        median: over the rounds.
        low, high: the quartiles, for the spread.
        rounds: list, one of each round.
    """

    median: float
    low: float
    high: float
    rounds: list

    def over(self, base):
        """The ratio to another, round by round: what slows a round down slows both."""
        return timing([x / y for x, y in zip(self.rounds, base.rounds, strict=True)])

    def scaled(self, factor):
        """As if everything had taken `factor` times as long."""
        return timing([factor * x for x in self.rounds])


def timing(rounds):
    """`Timing` of what each round gave."""
    low = high = rounds[0]
    if len(rounds) > 1:
        low, _, high = statistics.quantiles(rounds, n=4, method="inclusive")
    return Timing(statistics.median(rounds), low, high, list(rounds))


def interleaved(alternatives, rounds=15, seconds=0.1):
    """Times every alternative in every round, so that a slow moment touches all of them.

    Args:
        alternatives: dict of functions without arguments, each of which returns when its work is
            done. Each is called twice before it counts.
        rounds: how often each is measured. Every second round goes backwards.
        seconds: how long a measurement lasts at least; an alternative is called as often as it
            takes. 0 calls each once a round, and never before.

    Returns:
        dict of `Timing`, by the names of `alternatives`.
    """
    calls = dict.fromkeys(alternatives, 1)
    for name, call in alternatives.items() if seconds else ():
        call()
        calls[name] = max(1, round(seconds / _seconds(call, 1)))
    found = {name: [] for name in alternatives}
    for number in range(rounds):
        for name in list(alternatives)[:: -1 if number % 2 else 1]:
            found[name].append(_seconds(alternatives[name], calls[name]))
    return {name: timing(times) for name, times in found.items()}


def _seconds(call, count):
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count
