"""The objective over images with several captions, and what each anchor weighs in it."""

import math

import numpy as np

from sogclr_tf.evaluation.all_pairs import AllPairs


def value_and_weights(
    pairs: AllPairs, log_g: np.ndarray, rho: float, epsilon: float
) -> tuple[float, np.ndarray]:
    """F of `TwoWayGlobalContrastiveLoss` with `num_captions`, and the log of each anchor's weight.

        F_x = t * (log(epsilon + mean over x's captions y of g(x; y)) + rho)    of an image x
        F_y = t * (log(epsilon + g(y; x)) + rho)                                of its caption y

    An anchor's weight is the derivative of its image's part of F by log g, over t: 1 for an image
    of one caption, where epsilon is 0.

    Args:
        pairs: with an image in a row for each of its captions.
        log_g: float64 [2N], of each anchor, without its positive.
        rho, epsilon: as for the loss.

    Returns:
        A float, and float64 [2N].

    Raises:
        ValueError: the rows of one image have different temperatures.
    """
    log_epsilon = math.log(epsilon) if epsilon else -math.inf
    of_image, of_caption = np.split(log_g - pairs.positive / pairs.temperature, 2)
    rows = np.log(pairs.rows_of_image)
    temperature = np.split(pairs.temperature, 2)[0]
    lowest, highest = (np.full(pairs.images, x, np.float32) for x in (np.inf, -np.inf))
    np.minimum.at(lowest, pairs.image, temperature)
    np.maximum.at(highest, pairs.image, temperature)
    if (lowest != highest).any():
        raise ValueError("rows of one image have different temperatures: give each image one")
    mean = np.full(pairs.images, -np.inf)
    np.logaddexp.at(mean, pairs.image, of_image - rows)
    floored = np.logaddexp(log_epsilon, np.concatenate([mean[pairs.image], of_caption]))
    share = np.tile(1 / pairs.rows_of_image, 2) / (2 * pairs.images)
    value = float(np.sum(share * pairs.temperature * (floored + rho)))
    return value, np.concatenate([of_image, of_caption]) - floored - np.tile(rows, 2)
