"""Sizes of views: a side, or (height, width)."""

import numpy as np
import pytest
import tensorflow as tf

from sogclr_tf.data.view_size import height_and_width


@pytest.mark.parametrize(
    ("size", "want"),
    [
        (24, (24, 24)),
        (np.int64(24), (24, 24)),
        ((32, 96), (32, 96)),
        ([32, 96], (32, 96)),
        (np.array([1, 2]), (1, 2)),
        (np.zeros((4, 3, 2)).shape[:2], (4, 3)),
        (tf.zeros((4, 3, 2)).shape[:2], (4, 3)),
    ],
)
def test_what_is_a_size(size, want):
    found = height_and_width(size)
    assert found == want
    assert {type(side) for side in found} == {int}


@pytest.mark.parametrize(
    "size",
    [0, -3, 2.5, None, "24", "ab", True, (), (8,), (0, 5), (5, 0), (8, -8), (8, 2.5), (1, 2, 3)]
    + [(None, 8), (True, 3), {"height": 3, "width": 4}, ((1, 2), 3), float("nan")],
)
def test_what_is_none(size):
    with pytest.raises(ValueError, match="expected a whole number of pixels >= 1, or two") as error:
        height_and_width(size, "data.image_size")
    assert str(error.value).startswith(f"data.image_size is {size!r}: ")
    assert "\n" not in str(error.value)
