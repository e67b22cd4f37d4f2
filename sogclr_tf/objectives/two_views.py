"""Objectives over two views of an image, which may be told from views on its own side too."""

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

    def __init__(self, temperature=0.1, negatives="both", **kwargs):
        super().__init__(temperature=temperature, **kwargs)
        pairs.check_negatives(negatives)
        self.negatives = negatives

    def get_config(self):
        return {**super().get_config(), "negatives": self.negatives}
