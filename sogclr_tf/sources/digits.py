"""Scikit-learn's handwritten digits."""

import numpy as np

from sogclr_tf.sources.arrays import ArraySource


def digits(split):
    """scikit-learn's 1,797 handwritten digits, 8x8 grey, with labels: no download.

    Args:
        split: "train" (two thirds of each class) or "test" (the rest).
    """
    from sklearn import datasets, model_selection

    bunch = datasets.load_digits()
    rows = model_selection.train_test_split(
        np.arange(len(bunch.target)), test_size=1 / 3, random_state=0, stratify=bunch.target
    )
    splits = dict(zip(("train", "test"), rows, strict=True))
    if split not in splits:
        raise ValueError(f"unknown split '{split}' of digits: choose one of train, test")
    chosen = np.sort(splits[split])
    images = np.round(bunch.images[chosen] * (255 / 16)).astype(np.uint8)
    return ArraySource(
        images,
        bunch.target[chosen],
        name=f"digits[{split}]",
        class_names=[str(name) for name in bunch.target_names],
    )
