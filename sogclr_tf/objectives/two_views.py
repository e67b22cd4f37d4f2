"""Objectives over two views of an image, which may be told from views on its own side too."""

import tensorflow as tf

from sogclr_tf.objectives import pairs
from sogclr_tf.objectives.base import ContrastiveLoss


class TwoViewLoss(ContrastiveLoss):
    """A loss whose sides are of one kind, so that there is a choice of negatives.

    Args:
        temperature: > 0.
        negatives: "both": the 2(B-1) views of the other examples; "other": the B-1 of them on the
            side of the positive.

    Raises:
        ValueError: an argument is out of range.
    """

    options = (*ContrastiveLoss.options, "negatives")
    metric_names = (*ContrastiveLoss.metric_names, "alignment", "uniformity")

    def __init__(self, temperature=0.1, negatives="both", **kwargs):
        super().__init__(temperature=temperature, **kwargs)
        pairs.check_negatives(negatives)
        self.negatives = negatives

    def readings(self, compared):
        """As every objective's, with the two of Wang and Isola, arXiv 2005.10242, of projections.

        `alignment`: the mean of |z - z+|^2 over the anchors, 0 where the views of an image are one
        point. `uniformity`: the log of the mean of exp(-2 |z - z-|^2) over the anchors and their
        negatives, 0 where all images are one point and about -4 at the best.
        """
        # Between vectors of length 1, |x - y|^2 is 2 - 2 <x, y>; a masked entry of -inf adds 0.
        potentials = tf.reduce_sum(tf.exp(4.0 * compared.negative - 4.0), axis=1)
        count = tf.cast(compared.num_negatives, tf.float32)
        return {
            **super().readings(compared),
            "alignment": 2.0 - 2.0 * tf.reduce_mean(compared.positive),
            "uniformity": tf.math.log(tf.reduce_mean(potentials) / count),
        }

    def get_config(self):
        return {**super().get_config(), "negatives": self.negatives}
