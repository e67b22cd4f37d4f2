"""Objectives of the batch alone in loop form, in float64: what the package must agree with."""

import numpy as np
from support.reference import anchors, log_mean_exp, normalized


def siglip(a, b, temperature, bias, image=None):
    """arXiv 2303.15343, Algorithm 1: each image with each text, over the number of images.

    An image's other texts, where `image` says which rows are of one, are left out.
    """
    image = np.arange(len(a)) if image is None else image
    a, b = normalized(a), normalized(b)
    logits = [[x @ y / temperature + bias for y in b] for x in a]
    return sum(
        np.log1p(np.exp(-logit if i == j else logit))
        for i, row in enumerate(logits)
        for j, logit in enumerate(row)
        if i == j or image[i] != image[j]
    ) / len(a)


def clip(a, b, temperature, image=None):
    """arXiv 2103.00020, figure 3: the mean of both directions' cross-entropies."""
    a, b = normalized(a), normalized(b)
    total = 0.0
    for _, _, anchor, positive, others in anchors(a, b, "other", image):
        logits = [anchor @ z / temperature for z in [positive, *others]]
        total += log_mean_exp(logits) + np.log(len(logits)) - logits[0]
    return total / (2 * len(a))


def nt_xent(a, b, temperature, negatives="both", image=None):
    """arXiv 2002.05709, eq. (1), summed over both directions and averaged over examples."""
    a, b = normalized(a), normalized(b)
    total = 0.0
    for _, _, anchor, positive, others in anchors(a, b, negatives, image):
        everyone = [positive, *others]
        log_sum = log_mean_exp([anchor @ z / temperature for z in everyone]) + np.log(len(everyone))
        total += log_sum - anchor @ positive / temperature
    return total / len(a)


def decoupled(a, b, temperature, negatives="both"):
    """arXiv 2110.06848, L_DC: as NT-Xent, but the sum leaves the positive out."""
    a, b = normalized(a), normalized(b)
    total = 0.0
    for _, _, anchor, positive, others in anchors(a, b, negatives):
        log_sum = log_mean_exp([anchor @ z / temperature for z in others]) + np.log(len(others))
        total += log_sum - anchor @ positive / temperature
    return total / len(a)
