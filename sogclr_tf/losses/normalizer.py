"""The running estimate of every anchor's normalizer, SogCLR's u: how it follows the batches."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from sogclr_tf.losses import gamma_schedule, replica, table

RULES = ("constant", "visits", "proximal")
OPTIONS = ("gamma", "gamma_decay_steps", "gamma_rule", "gamma_shift", "drift_rate")
_FASTEST_DRIFT = 0.2
# A rule of "visits" gives at most this from the second visit on.
_ALL_BUT_CONSTANT = 0.5


class RunningNormalizer:
    """The tables of log u of one loss, and the weight that the newest batch has in an entry.

        u[i] <- g                              on the first visit of example i
        u[i] <- (1 - w) u[i] + w g             afterwards, w = max(gamma, w of the rule)

    `gamma` falls from 1 over the first `gamma_decay_steps` steps. By `gamma_rule` an entry's own w
    is

    "constant": 0, so that gamma holds for all.

    "visits": 1/k at its k-th visit, which makes u the mean of all its batches until gamma is above
    it: an average that begins at its first g holds that g's noise for 1/gamma visits.

    "proximal": sigmoid(log u[i] - <z, z+>/t + gamma_shift), after SCENT (arXiv 2602.02877). With
    v = log u, minimizing E[g exp(-v)] + v by proximal steps in the divergence of exp(-v) gives

        u <- (u + a u g) / (1 + a u),    so that w = a u / (1 + a u) = sigmoid(log u + log a).

    There g is a mean of exp((<z, z-> - <z, z+>)/t), at most 1 for an anchor that is told apart; a
    one-tower g lacks the positive and reaches exp(1/t), hence the term <z, z+>/t. And there w may
    be as small as it likes, while here gamma bounds it from below: the repulsion of a one-tower
    anchor is weighted by g / u <= 1 / w and its attraction is not, so that an entry that stays far
    behind lets the representation collapse, or explode.

    `drift_rate` compensates the age of entries. While one waits N/B steps for its next visit, the
    network lowers the normalizers of all alike. What all share is kept as one number, L, that
    follows at every step, and an entry as its ratio to it:

        L <- (1 - drift_rate) L + drift_rate L mean over the batch's anchors of g / u,

    first visits left out, each g / u at most 1 / drift_rate. Where u is right, the mean is 1.

    Args:
        layer: the loss, whose weights become those that the rule and the drift need.
        tables: of log u, as made by `table.add_table`: one that both sides share, storing the mean
            of theirs, or two. An index is int [b, 2] where that of the texts has rows of captions.
        counter: as made by `gamma_schedule.add_counter`; None where gamma_decay_steps is 0.
        gamma: in (0, 1], with rules other than "constant" below 0.5.
        gamma_decay_steps: int >= 0.
        gamma_rule: "constant", "visits" or "proximal".
        gamma_shift: float, of "proximal" alone.
        drift_rate: in [0, 0.2]; 0 leaves entries as they were stored.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        tables: Sequence[keras.Variable],
        counter: keras.Variable | None,
        *,
        gamma: float,
        gamma_decay_steps: int,
        gamma_rule: str,
        gamma_shift: float,
        drift_rate: float,
    ) -> None:
        check_options(gamma, gamma_rule, gamma_shift, drift_rate)
        self._gamma, self._decay_steps = gamma, gamma_decay_steps
        self._rule, self._shift, self._drift_rate = gamma_rule, gamma_shift, drift_rate
        self._tables, self._counter = list(tables), counter
        self.visits = _add_visits(layer, self._tables) if gamma_rule == "visits" else []
        self.drift: keras.Variable | None = None
        if drift_rate:
            self.drift = _add_drift(layer, len(tables))

    def log_u(self, side: int = 0) -> tf.Variable | tf.Tensor:
        """A table as it is by now: float32 [num_examples], -inf where never visited.

        The tf.Variable itself; with a `drift_rate` a tf.Tensor, as entries are kept without L.
        """
        entries = self._tables[side].value
        return entries if self.drift is None else entries + self.drift.value[side]

    def entries(self, index: tf.Tensor) -> tf.Tensor:
        """log u of some examples as it is by now: float32, [n] of one table, [2n] of two.

        Args:
            index: int [n], or [n, 2].
        """
        sides = [table.read(entries, index) for entries in self._tables]
        if self.drift is not None:
            drifts = tf.unstack(self.drift.value)
            sides = [side + drift for side, drift in zip(sides, drifts, strict=True)]
        return tf.concat(sides, axis=0)

    def update(
        self, index: tf.Tensor, log_g: tf.Tensor, positive: float | tf.Tensor = 0.0
    ) -> tuple[tf.Tensor, list[tuple[keras.Variable, tf.Tensor]]]:
        """log u of each anchor after this batch, and the rows that `table.record` is to store.

        Args:
            index: int [b] or [b, 2], this replica's examples.
            log_g: float32 [2b], without a gradient.
            positive: float32, a scalar or [2b]: <z, z+>/t where g does not hold it, else 0.

        Returns:
            float32 [2b], and a list of (table, float32 [b]).
        """
        old = self._read(index)
        log_u = table.moving_average(old, log_g, self._weight(index, old - positive))
        sides = [log_mean_of_views(log_u)] if len(self._tables) == 1 else tf.split(log_u, 2)
        if self.drift is not None:
            drifts = tf.unstack(self._follow(self.drift, old, log_g))
            sides = [side - drift for side, drift in zip(sides, drifts, strict=True)]
        rows = list(zip(self._tables, sides, strict=True))
        rows += [(visits, table.read(visits, index) + 1.0) for visits in self.visits]
        return log_u, rows

    def _read(self, index: tf.Tensor) -> tf.Tensor:
        """log u of each anchor before this batch: float32 [2b]."""
        return tf.tile(self.entries(index), [2 // len(self._tables)])

    def _weight(self, index: tf.Tensor, log_u: tf.Tensor) -> float | tf.Tensor:
        """w: a scalar, or float32 [2b]."""
        gamma = gamma_schedule.current(self._gamma, self._decay_steps, self._counter)
        if self.visits:
            visits = tf.concat([table.read(visits, index) for visits in self.visits], axis=0)
            visits = tf.tile(visits, [2 // len(self.visits)])
            return tf.maximum(gamma, 1 / (visits + 1))
        if self._rule == "proximal":
            return tf.maximum(gamma, tf.sigmoid(log_u + self._shift))
        return gamma

    def _follow(self, drift: keras.Variable, old: tf.Tensor, log_g: tf.Tensor) -> tf.Tensor:
        """log L of each table after this batch, which it stores: float32 [tables]."""
        count = len(self._tables)
        changes = map(self._change, tf.split(old, count), tf.split(log_g, count))
        followed = drift.value + tf.stack(list(changes))
        # Every replica writes its own copy, for the reason that `table.write` has.
        tf.raw_ops.AssignVariableOp(resource=drift.value.handle, value=followed)
        return followed

    def _change(self, old: tf.Tensor, log_g: tf.Tensor) -> tf.Tensor:
        """What log L of one table changes by: float32 []."""
        seen = tf.math.is_finite(old)
        ratio = tf.exp(tf.minimum(log_g - tf.where(seen, old, log_g), -math.log(self._drift_rate)))
        share = replica.mean(tf.cast(seen, tf.float32))
        ratio = replica.mean(tf.where(seen, ratio, tf.zeros_like(ratio)))
        # Where nothing was seen before there is nothing to follow.
        mean = tf.where(share > 0, tf.math.divide_no_nan(ratio, share), tf.ones_like(ratio))
        return tf.math.log1p(self._drift_rate * (mean - 1))


def log_mean_of_views(log_u: tf.Tensor) -> tf.Tensor:
    """The log of the mean of both views' u: float32 [2b] to [b]."""
    of_a, of_b = tf.split(log_u, 2)
    return table.log_add(of_a, of_b) - math.log(2)


def check_options(gamma: float, rule: str, shift: float, drift_rate: float) -> None:
    """Raises ValueError unless there is such a rule and the numbers are in range."""
    if rule not in RULES:
        raise ValueError(f"unknown gamma_rule '{rule}': choose one of {', '.join(RULES)}")
    if rule != "constant" and gamma >= _ALL_BUT_CONSTANT:
        raise ValueError(
            f"gamma is {gamma}, the least weight of a batch, which leaves gamma_rule '{rule}' "
            f"nothing to choose: give gamma below {_ALL_BUT_CONSTANT}, commonly 0.1"
        )
    if not math.isfinite(shift):
        raise ValueError(f"gamma_shift is {shift}: it must be a finite number, commonly 0 to 5")
    if not 0 <= drift_rate <= _FASTEST_DRIFT:
        raise ValueError(
            f"drift_rate is {drift_rate}: it must lie in [0, {_FASTEST_DRIFT}], 0 for entries "
            "that stay as they were stored, commonly 0.01 to 0.1"
        )


def _add_visits(layer, tables):
    """Gives `layer` the counts of visits, [table].

    Both sides of an example are visited at once, so that they share one; not an image and each of
    its captions.
    """
    if not table.has_captions(tables[-1]):
        return [table.add_table(layer, tables[0].shape[0], "visits", initial=0.0)]
    return [
        table.add_table(layer, of.shape[0], name, 0.0, of_captions=table.has_captions(of))
        for of, name in zip(tables, ("visits_a", "visits_b"), strict=True)
    ]


def _add_drift(layer, count):
    """Gives `layer` the log of L of each table as a weight: float32 [count]."""
    return layer.add_weight(
        name="drift",
        shape=(count,),
        dtype="float32",
        initializer="zeros",
        trainable=False,
        autocast=False,
    )
