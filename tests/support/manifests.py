"""Six images that tables name, and what a source has of them."""

import numpy as np

from sogclr_tf import Policy

N = 6
PATHS = [f"{k:05}.png" for k in range(N)]
POLICY = Policy(size=6)


class Frame:
    """What is used of a frame, as of pandas."""

    def __init__(self, **columns):
        self.columns, self._values = [*columns], columns

    def __getitem__(self, column):
        return np.array(self._values[column], object)


def indices(source):
    return sorted(int(example["index"]) for example in source.examples())


def names(source):
    found = source.example_names()
    return [found[k] for k in range(len(found))]
