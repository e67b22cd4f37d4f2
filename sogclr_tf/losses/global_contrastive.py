"""SogCLR: the global contrastive objective at small batch."""

from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import gamma_schedule, normalizer, replica, table
from sogclr_tf.losses.base import TwoViewLoss, share_of, with_gradient_of
from sogclr_tf.losses.normalizer import RunningNormalizer
from sogclr_tf.losses.similarities import Similarities


@keras.saving.register_keras_serializable(package="sogclr_tf")
class GlobalContrastiveLoss(TwoViewLoss):
    """SogCLR, Yuan et al., ICML 2022, arXiv 2202.12387, Algorithm 1.

    The objective contrasts each view with the views of *all* other training examples:

        F = mean over the 2N anchors of [ -<z, z+> + temperature * log g(z) ],
        g(z) = mean over the negatives z- of exp(<z, z-> / temperature).

    A batch sees 2(B-1) negatives of each anchor. The log of so small a sample's mean is biased, so
    u[i], a moving average kept for every example, stands in for g:

        u[i] <- g                              on the first visit of example i
        u[i] <- (1 - gamma) u[i] + gamma g     afterwards
        gradient of 2 * mean over the batch's anchors of
            [ -<z, z+> + temperature * stop_gradient(g / u) * log g ].

    The factor 2 makes it the sum of both directions, as in the authors' library (and in SimCLR).
    Each view averages with the entry as it was before the step; the mean of the two is stored. The
    value returned is the estimate of F, `mean(-<z, z+> + temperature * log u)`, which falls as
    training succeeds and lies between -2 and 2. Of an example that occurs twice in a batch each
    occurrence is an example of its own, and the first one's average is stored.

    Args:
        num_examples: N, the size of the training set: indices lie in [0, N). The table takes
            4 bytes per example.
        temperature: above 0. The paper's 0.1 for ImageNet; 0.3 for CIFAR-10.
        gamma: in (0, 1], the weight of the newest batch. 1 remembers nothing: the decoupled
            in-batch loss. The paper's 0.9; smaller values pay at small batches.
        gamma_decay_steps: int >= 0. Over so many training steps, each a call with training=True,
            gamma falls from 1 along a half cosine to its value (FastCLIP, arXiv 2407.01445); 0
            keeps it constant. A weight of the loss counts the steps, so that they are saved
            with it and a resumed training goes on where it was.
        negatives: "both", as in the paper: the 2(B-1) views of the other examples; "other": the
            B-1 of them on the side of the positive.
        gamma_rule: "constant": gamma for every entry; "visits": 1/k at an entry's k-th visit;
            "proximal": SCENT's, the higher an entry's u stands. Of both, gamma is the least, which
            must lie below 0.5 then. `losses.normalizer.RunningNormalizer` has the equations.
        gamma_shift: float, of "proximal" alone: the higher, the more the newest batch counts.
        drift_rate: in [0, 0.2]: how fast all entries follow, at every step, what the normalizers
            of the batch have changed by since they were stored; 0: an entry waits for its own
            next visit. For small gammas, where an entry else lags behind the network.
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import numpy as np
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> loss = sogclr_tf.GlobalContrastiveLoss(num_examples=1000, temperature=0.1, gamma=0.9)
        >>> a, b = tf.random.stateless_normal([2, 64, 128], seed=[1, 2])
        >>> index = tf.range(64)  # the places of these 64 examples among the 1,000
        >>> value = loss(a, b, index)  # float32 []
        >>> int(np.isfinite(loss.log_u).sum())  # entries of the table that were visited
        64
    """

    options: tuple[str, ...] = ("temperature", *normalizer.OPTIONS, "negatives")
    has_table = True

    def __init__(
        self,
        num_examples: int,
        temperature: float = 0.1,
        gamma: float = 0.9,
        gamma_decay_steps: int = 0,
        negatives: str = "both",
        *,
        gamma_rule: str = "constant",
        gamma_shift: float = 2.2,
        drift_rate: float = 0.0,
        name: str = "sogclr",
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=temperature, negatives=negatives, name=name, **kwargs)
        gamma_schedule.check_gamma(gamma, gamma_decay_steps)
        table.check_num_examples(num_examples)
        self.gamma = float(gamma)
        self.gamma_decay_steps = int(gamma_decay_steps)
        self.num_examples = int(num_examples)
        self._table = table.add_table(self, self.num_examples, name="log_u")
        self._counter = gamma_schedule.add_counter(self) if self.gamma_decay_steps else None
        self.gamma_rule = gamma_rule
        self.gamma_shift = float(gamma_shift)
        self.drift_rate = float(drift_rate)
        rule = {name: getattr(self, name) for name in normalizer.OPTIONS}
        self._normalizer = RunningNormalizer(self, [self._table], self._counter, **rule)
        # Checkpoints hold weights that are attributes of their layer.
        self._visits, self._drift = (
            next(iter(self._normalizer.visits), None),
            self._normalizer.drift,
        )

    @property
    def log_u(self) -> tf.Variable | tf.Tensor:
        """The table: float32 [num_examples], -inf where an example was never seen.

        The tf.Variable; with a `drift_rate` a tf.Tensor, its values as they are by now.
        """
        return self._normalizer.log_u()

    def log_u_of(self, index: tf.Tensor) -> tf.Tensor:
        return self._normalizer.entries(index)

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:
        log_g = compared.log_mean_exp(self.temperature)
        log_u = tf.stop_gradient(log_g)
        if training:
            log_u, rows = self._normalizer.update(
                index, log_u, tf.stop_gradient(compared.positive) / self.temperature
            )
            table.record(index, rows)
        return global_loss(compared, self.temperature, log_g, log_u)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_examples": self.num_examples,
            **{name: getattr(self, name) for name in normalizer.OPTIONS},
        }


def global_loss(
    compared: Similarities,
    temperature: float | tf.Tensor,
    log_g: tf.Tensor,
    log_u: tf.Tensor,
    rho: float = 0.0,
) -> tf.Tensor:
    """The scalar whose value estimates F and whose gradient is the method's.

    Args:
        compared: `similarities.Similarities`.
        temperature: float32, a scalar or [2b].
        log_g: float32 [2b], with a gradient.
        log_u: float32 [2b], without.
        rho: float, what F adds for each unit of temperature.
    """
    weight = tf.stop_gradient(tf.exp(log_g - log_u))
    surrogate = -compared.positive + temperature * weight * log_g
    value = replica.mean(-compared.positive + temperature * (log_u + rho))
    return with_gradient_of(share_of(surrogate, compared.global_batch), value)
