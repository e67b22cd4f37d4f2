"""SogCLR between two kinds, images and texts: each side is told from the other side alone."""

import math
from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import gamma_schedule, normalizer, replica, table
from sogclr_tf.losses.base import with_gradient_of
from sogclr_tf.losses.normalizer import RunningNormalizer
from sogclr_tf.losses.similarities import Similarities
from sogclr_tf.losses.two_way_temperatures import TwoWayTemperatures


@keras.saving.register_keras_serializable(package="sogclr_tf")
class TwoWayGlobalContrastiveLoss(TwoWayTemperatures):
    """SogCLR for pairs, Yuan et al., arXiv 2202.12387, section on bimodal contrastive learning.

    An image is told from all other texts, a text from all other images. With t the temperature of
    an anchor z, z+ its pair and z- any of the N - 1 others of the other side,

        F = mean over the 2N anchors of t * (log g(z) + rho),
        g(z) = mean over the z- of exp((<z, z-> - <z, z+>) / t),

    which without rho is `-<z, z+> + t * log(mean of exp(<z, z->/t))`, as in
    `GlobalContrastiveLoss`. Each side has a table of its own, since an image and its text need not
    have as many look-alikes:

        u[i] <- g                              on the first visit of example i
        u[i] <- (1 - gamma) u[i] + gamma g     afterwards
        gradient of mean over the batch's 2B anchors of [ t * stop_gradient(g / u) * log g ].

    Unlike the one-tower losses, whose gradient is that of the sum of both directions, this one's is
    that of their mean, as in CLIP. The authors' library (LibAUC 2.0.1, `GCLoss_v2`) sums over the
    batch's B - 1 negatives where this takes the mean: its gradients are B - 1 times these, its
    tables and temperatures the same. The value returned is the estimate of F, with log u for log g.
    An example that occurs twice in a batch is an example of its own each time, and the first one's
    rows are stored.

    With `num_captions` images may have several captions, of which a batch shows one each. The
    images' tables have a row per image, the texts' a row per caption, `index` is [B, 2], and the
    other captions of an image are never its negatives: rows of one image are masked, and every
    anchor's g is the mean over the negatives that it has. An image's u averages over its captions
    then, so that it estimates the mean of its g over them:

        F = mean over the N images x of (F_x + mean over x's captions y of F_y) / 2,
        F_x = t * (log(mean over x's captions y of g(x; y)) + rho),  F_y = t * (log g(y; x) + rho),

    where g(z; z+) has z+ as its positive and gives every other image the same weight, which its
    captions share.

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

    "unscaled": one t for all anchors as with "global", but of an objective without the factor t and
    rho, FastCLIP's v0: F is the mean over the 2N anchors of log g(z). The gradient by projections
    is 1/t times as long, and that by t is -(g / u) * mean of s/t^2, weighted by exp(s/t): t falls
    while the weighted negatives are farther than the positives. The value is the mean of log u.

    `temperature_optimizer` "adam" has the loss move a learned t by Adam steps of size `eta`, as
    FastCLIP does. By "global" and "unscaled" that gives log t a rate of its own, which no schedule
    changes and which is a third while t <= 0.03 (v3). By "individual" each t has Adam's moments in
    tables of its own, its derivative d cut to [-5, 5] (v2). Where the authors' code departs from
    Adam, docs/method.md says how; this is Adam.

    `epsilon` stands in F as t * (log(epsilon + g) + rho), and as epsilon + u in place of u in all
    that is derived from it but the tables themselves: an anchor's weight is g / (epsilon + u),
    which goes to 0 where u is far below epsilon, so that pairs which are told apart already are
    left alone, and neither the value nor the derivative by t has a term below log epsilon. The
    one-tower losses have none: their g holds no positive, and is never below exp(-1/t).

    Args:
        num_examples: N, the number of training pairs: indices lie in [0, N). The tables take 8
            bytes per pair, with individual temperatures 24, which Adam moves 40. Where images have
            several captions, the number of images.
        temperature: t, or where it starts. Commonly 0.01 to 0.1 for images and texts.
        gamma: in (0, 1], the weight of the newest batch in u; 1 remembers nothing.
        gamma_decay_steps: int >= 0. Over so many training steps gamma falls from 1 to its value, as
            in `GlobalContrastiveLoss`; 0 keeps it constant.
        gamma_rule, gamma_shift, drift_rate: as for `GlobalContrastiveLoss`; g holds the positive
            here, so that "proximal" is SCENT's own.
        temperature_scheme: "constant", "global", "individual" or "unscaled".
        num_captions: M >= N, the captions of all images, where an image may have several; the
            tables take half of the bytes above per image and half per caption. None where each has
            one.
        temperature_optimizer: "adam", not for "constant"; or None, by which the model's optimizer
            moves t with "global" and "unscaled", and the descent above with "individual".
        rho: at least 0, of "global" and "individual": the larger, the lower the temperatures end. 6
            to 9 on millions of pairs; on N pairs below log(N), or they end at the minimum.
        eta: at least 0, of "individual" and of "adam": the step of the temperatures. Gradients of
            single ones are a few nats, so without Adam 0.001 moves a temperature of 0.05 by a
            tenth. FastCLIP's v3 takes 0.0002 by log t on CC3M.
        beta: in (0, 1], of "individual" without Adam: the weight of the newest gradient of a
            temperature.
        min_temperature: above 0, not for "constant"; 0.01 as CLIP's.
        max_temperature: at least min_temperature, not for "constant".
        epsilon: at least 0. FastCLIP's code has 1e-14, later commands of its authors 1e-6.
        name: of the layer.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> loss = sogclr_tf.TwoWayGlobalContrastiveLoss(num_examples=1000, temperature=0.05)
        >>> images, texts = tf.random.stateless_normal([2, 64, 128], seed=[1, 2])
        >>> value = loss(images, texts, tf.range(64))  # float32 []
        >>> loss.log_u_a.shape, loss.log_u_b.shape  # tables of the images and of the texts
        (TensorShape([1000]), TensorShape([1000]))
    """

    options = (
        "temperature",
        *normalizer.OPTIONS,
        "temperature_scheme",
        "temperature_optimizer",
        "rho",
        "eta",
        "beta",
        "min_temperature",
        "max_temperature",
        "epsilon",
    )
    has_table = True
    contrasts = "pairs"
    of_differences = True

    def __init__(
        self,
        num_examples: int,
        temperature: float = 0.05,
        gamma: float = 0.9,
        gamma_decay_steps: int = 0,
        temperature_scheme: str = "constant",
        *,
        num_captions: int | None = None,
        temperature_optimizer: str | None = None,
        rho: float = 6.0,
        eta: float = 0.001,
        beta: float = 0.9,
        min_temperature: float = 0.01,
        max_temperature: float = 1.0,
        epsilon: float = 0.0,
        gamma_rule: str = "constant",
        gamma_shift: float = 2.2,
        drift_rate: float = 0.0,
        name: str = "two_way",
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature=temperature, name=name, **kwargs)
        gamma_schedule.check_gamma(gamma, gamma_decay_steps)
        table.check_num_examples(num_examples)
        table.check_num_captions(num_captions, num_examples)
        if not 0 <= epsilon < math.inf:
            raise ValueError(f"epsilon is {epsilon}: it must be >= 0, commonly 0 or 1e-14")
        self.num_examples = int(num_examples)
        self.num_captions = None if num_captions is None else int(num_captions)
        self.gamma = float(gamma)
        self.gamma_decay_steps = int(gamma_decay_steps)
        self.gamma_rule = gamma_rule
        self.gamma_shift = float(gamma_shift)
        self.drift_rate = float(drift_rate)
        self.epsilon = float(epsilon)
        bounds = min_temperature, max_temperature
        self._set_temperatures(temperature_scheme, temperature_optimizer, rho, eta, beta, bounds)
        self._counter = gamma_schedule.add_counter(self) if self.gamma_decay_steps else None
        self._add_tables("log_u", "log_u", table.NEVER_VISITED)
        rule = {name: getattr(self, name) for name in normalizer.OPTIONS}
        self._normalizer = RunningNormalizer(self, self._both("log_u"), self._counter, **rule)
        # Checkpoints hold weights that are attributes of their layer.
        self._visits, self._visits_b = (*self._normalizer.visits, None, None)[:2]
        self._drift = self._normalizer.drift
        self._add_temperatures()

    @property
    def log_u_a(self) -> tf.Variable | tf.Tensor:
        """The images' table: float32 [num_examples], -inf where never seen.

        The tf.Variable; with a `drift_rate` a tf.Tensor, its values as they are by now.
        """
        return self._normalizer.log_u(0)

    @property
    def log_u_b(self) -> tf.Variable | tf.Tensor:
        """The texts' table, likewise; [num_captions] where that is given."""
        return self._normalizer.log_u(1)

    def log_u_of(self, index: tf.Tensor) -> tf.Tensor:
        return self._normalizer.entries(index)

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:
        compared = compared.differences()
        learned = self._temperature_of(index, training)
        temperature = tf.stop_gradient(learned)
        log_g = compared.log_mean_exp(temperature)
        log_u = tf.stop_gradient(log_g)
        if training:
            log_u, rows = self._normalizer.update(index, log_u)
        floored = self._with_epsilon(log_u)
        slope = self._slopes(compared, temperature, log_g, floored)
        if training:
            table.record(index, rows + self._move(index, temperature, slope))
        weight = tf.stop_gradient(tf.exp(log_g - floored))
        scale = 1.0 if self.temperature_scheme == "unscaled" else temperature
        surrogate = scale * weight * log_g + learned * slope
        share = tf.reduce_sum(surrogate) / tf.cast(2 * compared.global_batch, tf.float32)
        return with_gradient_of(share, replica.mean(scale * (floored + self._rho)))

    def _with_epsilon(self, log_u: tf.Tensor) -> tf.Tensor:
        """log(epsilon + u): float32 like `log_u`."""
        return table.log_add(math.log(self.epsilon), log_u) if self.epsilon else log_u
