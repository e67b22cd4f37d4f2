"""SogCLR between two kinds, images and texts: each side is told from the other side alone."""

from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import gamma_schedule, learned_temperature, normalizer, replica, table
from sogclr_tf.losses.base import ContrastiveLoss, with_gradient_of
from sogclr_tf.losses.normalizer import RunningNormalizer
from sogclr_tf.losses.similarities import Similarities

SCHEMES = ("constant", "global", "individual")


@keras.saving.register_keras_serializable(package="sogclr_tf")
class TwoWayGlobalContrastiveLoss(ContrastiveLoss):
    """SogCLR for pairs, Yuan et al., arXiv 2202.12387, section on bimodal contrastive learning.

    An image is told from all other texts, a text from all other images. With t the temperature of
    an anchor z, z+ its pair and z- any of the N - 1 others of the other side,

        F = mean over the 2N anchors of t * (log g(z) + rho),
        g(z) = mean over the z- of exp((<z, z-> - <z, z+>) / t),

    which without rho is -<z, z+> + t * log(mean of exp(<z, z->/t)), as in `GlobalContrastiveLoss`.
    Each side has a table of its own, since an image and its text need not have as many look-alikes:

        u[i] <- g                              on the first visit of example i
        u[i] <- (1 - gamma) u[i] + gamma g     afterwards
        gradient of mean over the batch's 2B anchors of [ t * stop_gradient(g / u) * log g ].

    Unlike the one-tower losses, whose gradient is that of the sum of both directions, this one's is
    that of their mean, as in CLIP. The authors' library (LibAUC 2.0.1, `GCLoss_v2`) sums over the
    batch's B - 1 negatives where this takes the mean: its gradients are B - 1 times these, its
    tables and temperatures the same. The value returned is the estimate of F, with log u for log g.
    An example that occurs twice in a batch is an example of its own each time, and the first one's
    rows are stored.

    `temperature_scheme` says what t is:

    "constant": `temperature`, and rho counts for nothing.

    "global": one t for all anchors, learned by the optimizer as a weight of the loss, after
    FastCLIP (arXiv 2407.01445, v3). Its gradient is the derivative of F, with u where a batch
    cannot know g:

        dF/dt = mean over the 2B anchors of
            [ log u + rho - (g / u) * mean over the z- of s/t, weighted by exp(s/t) ],

    s being the differences in g. The weight is log t, so what is descended is t * dF/dt. Without
    rho it would rise for ever: at u = g the bracket is rho less the divergence (in nats) of the
    softmax over the negatives from evenness. So t settles where an anchor attends to its negatives
    as if a share exp(-rho) of them had all the weight.

    "individual": a t for each example and side, in tables, by iSogCLR's own descent (arXiv
    2305.11965): d is the bracket above for one anchor, and

        v[i] <- (1 - beta) v[i] + beta d[i]                     from v[i] = 0
        t[i] <- t[i] - eta v[i], clipped to [min_temperature, max_temperature].

    Args:
        num_examples: N, the number of training pairs: indices lie in [0, N). The tables take 8
            bytes per pair, with individual temperatures 24.
        temperature: t, or where it starts. Commonly 0.01 to 0.1 for images and texts.
        gamma: in (0, 1], the weight of the newest batch in u; 1 remembers nothing.
        gamma_decay_steps: int >= 0. Over so many training steps gamma falls from 1 to its value, as
            in `GlobalContrastiveLoss`; 0 keeps it constant.
        gamma_rule, gamma_shift, drift_rate: as for `GlobalContrastiveLoss`; g holds the positive
            here, so that "proximal" is SCENT's own.
        temperature_scheme: "constant", "global" or "individual".
        rho: >= 0, not for "constant": the larger, the lower the temperatures end. 6 to 9 on
            millions of pairs; on N pairs below log(N), or they end at the minimum.
        eta: >= 0, of "individual" alone: the step of the temperatures. Their gradients are a few
            nats, so 0.001 moves a temperature of 0.05 by a tenth.
        beta: in (0, 1], of "individual" alone: the weight of the newest gradient of a temperature.
        min_temperature: > 0, not for "constant"; 0.01 as CLIP's.
        max_temperature: >= min_temperature, not for "constant".

    Raises:
        ValueError: an argument is out of range.
    """

    options = (
        "temperature",
        *normalizer.OPTIONS,
        "temperature_scheme",
        "rho",
        "eta",
        "beta",
        "min_temperature",
        "max_temperature",
    )
    has_table = True
    contrasts = "pairs"

    def __init__(
        self,
        num_examples: int,
        temperature: float = 0.05,
        gamma: float = 0.9,
        gamma_decay_steps: int = 0,
        temperature_scheme: str = "constant",
        *,
        rho: float = 6.0,
        eta: float = 0.001,
        beta: float = 0.9,
        min_temperature: float = 0.01,
        max_temperature: float = 1.0,
        gamma_rule: str = "constant",
        gamma_shift: float = 2.2,
        drift_rate: float = 0.0,
        name: str = "two_way",
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=temperature, name=name, **kwargs)
        gamma_schedule.check_gamma(gamma, gamma_decay_steps)
        table.check_num_examples(num_examples)
        learned_temperature.check_scheme(temperature_scheme, SCHEMES)
        learned_temperature.check_descent(rho, eta, beta)
        self.num_examples = int(num_examples)
        self.gamma = float(gamma)
        self.gamma_decay_steps = int(gamma_decay_steps)
        self.temperature_scheme = temperature_scheme
        self.rho = float(rho)
        self.eta = float(eta)
        self.beta = float(beta)
        self.min_temperature = float(min_temperature)
        self.max_temperature = float(max_temperature)
        self._counter = gamma_schedule.add_counter(self) if self.gamma_decay_steps else None
        self._log_u_a = self._add_table("log_u_a")
        self._log_u_b = self._add_table("log_u_b")
        self.gamma_rule = gamma_rule
        self.gamma_shift = float(gamma_shift)
        self.drift_rate = float(drift_rate)
        rule = {name: getattr(self, name) for name in normalizer.OPTIONS}
        self._normalizer = RunningNormalizer(self, self._both("log_u"), self._counter, **rule)
        # Checkpoints hold weights that are attributes of their layer.
        self._visits, self._drift = self._normalizer.visits, self._normalizer.drift
        if temperature_scheme == "constant":
            return
        learned_temperature.check_bounds(temperature, min_temperature, max_temperature)
        self.metric_names = (*self.metric_names, "temperature")
        if temperature_scheme == "global":
            self._log_temperature = learned_temperature.add_log_temperature(
                self, self.temperature, self.min_temperature, self.max_temperature
            )
        else:
            self._temperatures_a = self._add_table("temperatures_a", self.temperature)
            self._temperatures_b = self._add_table("temperatures_b", self.temperature)
            self._velocities_a = self._add_table("temperature_velocities_a", 0.0)
            self._velocities_b = self._add_table("temperature_velocities_b", 0.0)

    @property
    def log_u_a(self) -> tf.Variable | tf.Tensor:
        """The images' table: float32 [num_examples], -inf where never seen.

        The tf.Variable; with a `drift_rate` a tf.Tensor, its values as they are by now.
        """
        return self._normalizer.log_u(0)

    @property
    def log_u_b(self) -> tf.Variable | tf.Tensor:
        """The texts' table, likewise."""
        return self._normalizer.log_u(1)

    @property
    def temperatures_a(self) -> tf.Variable:
        """With "individual", the images' temperatures: tf.Variable float32 [num_examples]."""
        return self._temperatures_a.value

    @property
    def temperatures_b(self) -> tf.Variable:
        """With "individual", the texts' temperatures: tf.Variable float32 [num_examples]."""
        return self._temperatures_b.value

    @property
    def learned_temperature(self) -> tf.Tensor:
        """With "global", the temperature as it is by now: tf.Tensor float32 []."""
        return tf.exp(self._log_temperature)

    def loss_and_metrics(
        self, a: tf.Tensor, b: tf.Tensor, index: tf.Tensor, training: bool = True
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As in `ContrastiveLoss`; a learned temperature is logged, the batch's mean of several."""
        loss, metrics = super().loss_and_metrics(a, b, index, training=training)
        if "temperature" in self.metric_names:
            metrics["temperature"] = tf.reduce_mean(self._temperature_of(index, training))
        return loss, metrics

    def temperatures_and_rho(self, index: tf.Tensor) -> tuple[float | tf.Tensor, float]:
        rho = 0.0 if self.temperature_scheme == "constant" else self.rho
        return self._temperature_of(index, training=True), rho

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:
        compared = compared.differences()
        learned = self._temperature_of(index, training)
        temperature = tf.stop_gradient(learned)
        log_g = compared.log_mean_exp(temperature)
        log_u, rho, slope = tf.stop_gradient(log_g), 0.0, tf.zeros_like(log_g)
        if training:
            log_u, rows = self._normalizer.update(index, log_u)
        if self.temperature_scheme != "constant":
            rho = self.rho
            slope = learned_temperature.slopes(compared, temperature, log_g, log_u, rho)
        if training:
            table.record(index, rows + self._descend(index, slope))
        weight = tf.stop_gradient(tf.exp(log_g - log_u))
        surrogate = temperature * weight * log_g + learned * slope
        share = tf.reduce_sum(surrogate) / tf.cast(2 * compared.global_batch, tf.float32)
        return with_gradient_of(share, replica.mean(temperature * (log_u + rho)))

    def _temperature_of(self, index: tf.Tensor, training: bool) -> tf.Tensor:
        """The temperature of this replica's anchors: float32, [2b] or a scalar for all."""
        if self.temperature_scheme == "global":
            return self.learned_temperature
        if self.temperature_scheme == "individual" and training:
            return self._read(index, "temperatures")
        return tf.constant(self.temperature)

    def _descend(
        self, index: tf.Tensor, slope: tf.Tensor
    ) -> list[tuple[keras.Variable, tf.Tensor]]:
        """One step of individual temperatures: the rows to store."""
        if self.temperature_scheme != "individual":
            return []
        temperature, velocity = learned_temperature.descend(
            self._read(index, "temperatures"),
            self._read(index, "velocities"),
            slope,
            eta=self.eta,
            beta=self.beta,
            bounds=(self.min_temperature, self.max_temperature),
        )
        return self._rows("temperatures", temperature) + self._rows("velocities", velocity)

    def _read(self, index: tf.Tensor, name: str) -> tf.Tensor:
        """The entries of both sides' tables: float32 [2b], those of a, then those of b."""
        return tf.concat([table.read(side, index) for side in self._both(name)], axis=0)

    def _rows(self, name: str, values: tf.Tensor) -> list[tuple[keras.Variable, tf.Tensor]]:
        """[(table, float32 [b])] of both sides, to record."""
        return list(zip(self._both(name), tf.split(values, 2), strict=True))

    def _both(self, name: str) -> list[keras.Variable]:
        return [getattr(self, f"_{name}_{side}") for side in "ab"]

    def _add_table(self, name: str, initial: float = table.NEVER_VISITED) -> keras.Variable:
        return table.add_table(self, self.num_examples, name, initial)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_examples": self.num_examples,
            **{name: getattr(self, name) for name in self.options},
        }
