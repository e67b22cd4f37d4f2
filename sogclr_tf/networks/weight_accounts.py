"""No array of a file of weights stays unaccounted for."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from sogclr_tf.networks.weight_files import Stored


def without_the_rest(
    stored: Stored, patterns: Sequence[tuple[str, str]], prefix: str
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """({name: array} of the encoder or unknown, {reason: names} of what is known not to be).

    Args:
        stored: what a file holds.
        patterns: (regular expression of names, reason to leave them out), ...; `{prefix}` within
            one stands for the prefix.
        prefix: what the names of the encoder's arrays begin with.
    """
    arrays, left_out = {}, collections.defaultdict(list)
    for name, array in stored.arrays.items():
        for pattern, reason in patterns:
            if re.match(pattern.format(prefix=re.escape(prefix)), name):
                left_out[reason].append(name)
                break
        else:
            arrays[name] = array
    if stored.beside:
        left_out["what lies beside the weights"] = stored.beside
    return arrays, dict(left_out)


def check_fit(
    origin: str,
    what: str,
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Raises one ValueError with everything that is amiss, unless arrays are those of `shapes`.

    Args:
        origin: where the arrays are from, for the message.
        what: the network that they are to fit.
    """
    both = [name for name in shapes if name in arrays]
    misfits = {
        "missing": [name for name in shapes if name not in arrays],
        "unexpected": [name for name in arrays if name not in shapes],
        "of another shape": [
            f"{name} {arrays[name].shape} instead of {shapes[name]}"
            for name in both
            if arrays[name].shape != shapes[name]
        ],
        "not finite": [name for name in both if not np.all(np.isfinite(arrays[name]))],
    }
    found = [f"{kind}: {listed(names)}" for kind, names in misfits.items() if names]
    if found:
        raise ValueError(
            f"{origin} does not fit a {what} ({'; '.join(found)}): give the weights of one, whole "
            "and with nothing else"
        )


def listed(names: Iterable[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = [f"and {len(names) - most} more"] if len(names) > most else []
    return ", ".join(names[:most] + more)
