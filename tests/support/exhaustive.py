"""How much of a long test is done: enough to see it fail, or all with SOGCLR_TF_EXHAUSTIVE=1."""

import os

ALL = os.environ.get("SOGCLR_TF_EXHAUSTIVE") == "1"


def exhaustive(few, many):
    """`few`, or `many` where the environment asks for all: counts, sizes, names of cases."""
    return many if ALL else few
