"""Some held-out pairs, drawn by a seed."""

import numpy as np
import pytest

import sogclr_tf
from sogclr_tf.data.evaluation_images import evaluation_pairs

N, SIDE = 12, 8
IMAGES = (np.arange(N)[:, None, None, None] * np.ones((N, SIDE, SIDE, 3))).astype(np.uint8)


@pytest.mark.parametrize("several", [False, True])
def test_images_texts_and_labels_stay_together(several):
    texts = [[f"{i}", f"{i}!"][: 1 + i % 2] if several else f"{i}" for i in range(N)]
    source = sogclr_tf.ArraySource(IMAGES, np.arange(N), texts=texts)
    images, found, owners, labels = evaluation_pairs(source, SIDE, 5, seed=3)
    levels = [int(image[0, 0, 0].numpy() * 255 + 0.5) for image in images]
    assert levels == labels.tolist()
    assert len(set(levels)) == 5
    assert [int(text.strip("!")) for text in found] == [levels[owner] for owner in owners]
    assert len(found) == sum(1 + level % 2 if several else 1 for level in levels)
    assert evaluation_pairs(source, SIDE, 5, seed=3)[1] == found
    assert evaluation_pairs(source, SIDE, 5, seed=4)[1] != found
