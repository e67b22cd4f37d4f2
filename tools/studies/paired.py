"""How far a method is ahead of another, seed by seed."""

import statistics


def lead(scores, base):
    """Mean and standard error of the differences, with the number of seeds: "+1.5 ± 0.3 (4)".

    Runs of one seed have the same first weights, views and order, so that their difference spreads
    less than either.

    Args:
        scores: {seed: score} of a method, or None.
        base: that of the one it is compared with, or None.

    Returns:
        "" where fewer than two seeds are in both.
    """
    ahead = [scores[seed] - base[seed] for seed in scores or () if seed in (base or ())]
    if len(ahead) < 2:
        return ""
    error = statistics.stdev(ahead) / len(ahead) ** 0.5
    return f"{statistics.mean(ahead):+.1f} ± {error:.1f} ({len(ahead)})"
