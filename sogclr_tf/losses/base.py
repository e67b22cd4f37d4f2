"""What every contrastive loss promises to a training loop."""

from typing import Any

import keras
import tensorflow as tf

from sogclr_tf.losses import replica, similarities, table
from sogclr_tf.losses.similarities import Similarities


class ContrastiveLoss(keras.layers.Layer):
    """A loss over two sides of a batch, views of an image or image and text: `loss(a, b, index)`.

    Called inside a replica of a `tf.distribute` strategy, a and b are that replica's rows; the
    negatives are those of all replicas. The returned value is the same on each, that of the global
    batch; the gradients of the replicas *add up* to the gradient over the global batch, which is
    how Keras optimizers combine them.

    A subclass gives `compute` and, where they differ, `options` (the names of its arguments),
    `has_table`, `contrasts` ("views" of images, "pairs" of images and texts, or "any" sides),
    `negatives` (as for `similarities.compare`), `has_normalizer` (whether it compares an anchor
    with all its negatives at once, by their mean g), `of_differences` (whether g is the mean of
    exp((<z, z-> - <z, z+>)/temperature), as against exp(<z, z->/temperature)), `log_u_of` where it
    has a table that estimates g, `epsilon` (what F adds to g) and `metric_names` (what it logs
    beside the loss). `num_captions` is how many captions its tables have rows of, where images may
    have several; None where texts are one each.

    Args:
        temperature: of the similarities, for subclasses that have one.
        name: of the layer.

    Raises:
        ValueError: when it is called: sides of another shape, or an index outside the table.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> class AttractionAlone(sogclr_tf.ContrastiveLoss):
        ...     def compute(self, compared, index, training):
        ...         return 1 - tf.reduce_mean(compared.positive)
        >>> loss = AttractionAlone()
        >>> a = tf.random.stateless_normal([8, 16], seed=[1, 2])
        >>> print(f"{float(loss(a, 2 * a, tf.range(8))):.4f}")  # both views point the same way
        0.0000
    """

    options: tuple[str, ...] = ("temperature",)
    has_table = False
    contrasts = "any"
    negatives = "other"
    has_normalizer = True
    of_differences = False
    epsilon = 0.0
    num_captions: int | None = None
    metric_names: tuple[str, ...] = ("contrast_accuracy",)

    def __init__(self, temperature: float = 0.1, name: str | None = None, **kwargs: Any) -> None:
        # float32 and no autocast under any precision policy: exp(1/0.1) is 22026 and a bfloat16
        # has 8 bits of it.
        kwargs.pop("dtype", None)
        super().__init__(name=name, dtype="float32", autocast=False, **kwargs)
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}: it must be > 0, commonly 0.05 to 0.5")
        self.temperature = float(temperature)

    @property
    def tables(self) -> list[tuple[keras.Variable, float]]:
        """[(weight, what its rows begin as)] of what is kept per example, row i for example i.

        Those that `losses.table.add_table` made; of `caption_tables` row i is for caption i.
        """
        weights = [weight for weight in self.weights if hasattr(weight, "initial_row")]
        return [(weight, weight.initial_row) for weight in weights]

    @property
    def caption_tables(self) -> list[keras.Variable]:
        """Those of `tables` that have a row per caption."""
        return [weight for weight, _ in self.tables if table.has_captions(weight)]

    def call(
        self, a: tf.Tensor, b: tf.Tensor, index: tf.Tensor, training: bool = True
    ) -> tf.Tensor:
        """The loss of a batch.

        Args:
            a: float [b, D], raw projections of the first views, or of images; normalized here.
            b: float [b, D], of the second views, or of the images' texts.
            index: int [b], the examples' places in the training set, in [0, num_examples). Where
                images may have several captions, int [b, 2]: the image, and the caption's own place
                in [0, num_captions); rows of one image are no negatives of one another then.
            training: True updates the loss's table, if it has one. False leaves it alone and
                takes every example as visited for the first time, as for images held out.

        Returns:
            float32 scalar. Its value is the one to read; its gradient is the method's.
        """
        loss, _ = self.loss_and_metrics(a, b, index, training=training)
        return loss

    def loss_and_metrics(
        self, a: tf.Tensor, b: tf.Tensor, index: tf.Tensor, training: bool = True
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """As `call`, with a dictionary of the float32 scalars of `metric_names`.

        Each is of this replica's 2b anchors: what `compute_metrics` gives.
        """
        self._check_index(index, training)
        image = index[:, 0] if len(index.shape) == 2 else None
        compared = similarities.compare(a, b, self.negatives, image)
        return self.compute(compared, index, training), self.compute_metrics(compared)

    def compute_metrics(self, compared: Similarities) -> dict[str, tf.Tensor]:
        """What `similarities.Similarities` tell beside the loss: a dictionary of float32 scalars.

        `contrast_accuracy`: the share of the anchors, in 0..1, whose positive is nearer than every
        negative in the global batch.
        """
        hardest = tf.reduce_max(compared.negative, axis=1)
        accuracy = tf.reduce_mean(tf.cast(compared.positive > hardest, tf.float32))
        return {"contrast_accuracy": accuracy}

    def compute(self, compared: Similarities, index: tf.Tensor, training: bool) -> tf.Tensor:
        """The loss from `similarities.Similarities`; updates the table where `training`.

        `index` is as for `call`, [b, 2] with captions.
        """
        raise NotImplementedError(f"{type(self).__name__} must define compute")

    def temperatures_and_rho(self, index: tf.Tensor) -> tuple[float | tf.Tensor, float]:
        """What F has for these examples by now: (temperature, rho).

        Args:
            index: int [N], or [N, 2] as for `call`.

        Returns:
            float32, a scalar for all, [N] for each example or [2N] for each anchor, those of a
            first; and a float, which F adds for each unit of temperature.
        """
        del index
        return self.temperature, 0.0

    def mean_temperature(self) -> float:
        """The temperature as it is by now; of individual ones their geometric mean."""
        temperature, _ = self.temperatures_and_rho(tf.range(1))
        return float(temperature)

    def log_u_of(self, index: tf.Tensor) -> tf.Tensor | None:
        """What the table holds for these examples by now, the estimates of log g.

        Args:
            index: int [N], or [N, 2] as for `call`.

        Returns:
            float32, [N] where both sides of an example share an entry, or [2N] for each anchor,
            those of a first; -inf where never visited. None where the loss has no table.

        Raises:
            ValueError: an index lies outside the table.
        """
        del index
        if self.has_table:
            raise NotImplementedError(
                f"{type(self).__name__} has a table: it must define log_u_of to be compared with g"
            )
        return None

    def check_accumulation(self, batches: int) -> None:
        """Raises ValueError where the loss cannot learn while gradients are accumulated.

        Args:
            batches: whose gradients make one update of the weights, int >= 1.
        """

    def _check_index(self, index: tf.Tensor, training: bool) -> None:
        """Raises ValueError unless `index` says of what the loss's tables have rows.

        Examples that are held out have none there, and captions of whatever number.
        """
        shape = tuple(index.shape)
        if len(shape) != 1 and shape[1:] != (2,):
            raise ValueError(f"index has shape {shape}: expected [B], or [B, 2] with captions")
        if training and self.has_table and (len(shape) == 2) != (self.num_captions is not None):
            has = "a row for each caption" if self.num_captions else "no rows of captions"
            mend = (
                "give [B, 2], the image and the caption"
                if self.num_captions
                else "give [B], or a loss with num_captions"
            )
            raise ValueError(
                f"index has shape {shape}, but the loss '{self.name}' has {has}: {mend}"
            )

    def compute_output_shape(self, *_shapes: Any) -> tuple[int, ...]:
        return ()

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["dtype"]
        return {**config, "temperature": self.temperature}


class TwoViewLoss(ContrastiveLoss):
    """A loss whose sides are of one kind, so that there is a choice of negatives.

    Args:
        temperature: above 0.
        negatives: "both": the 2(B-1) views of the other examples; "other": the B-1 of them on the
            side of the positive.

    Raises:
        ValueError: an argument is out of range.
    """

    options = (*ContrastiveLoss.options, "negatives")
    contrasts = "views"
    metric_names = (*ContrastiveLoss.metric_names, "alignment", "uniformity")

    def __init__(self, temperature: float = 0.1, negatives: str = "both", **kwargs: Any) -> None:
        super().__init__(temperature=temperature, **kwargs)
        similarities.check_negatives(negatives)
        self.negatives = negatives

    def compute_metrics(self, compared: Similarities) -> dict[str, tf.Tensor]:
        """As every loss's, with the two of Wang and Isola, arXiv 2005.10242, of projections.

        `alignment`: the mean of |z - z+|^2 over the anchors, 0 where the views of an image are one
        point. `uniformity`: the log of the mean of exp(-2 |z - z-|^2) over the anchors and their
        negatives, 0 where all images are one point and about -4 at the best.
        """
        # Between vectors of length 1, |x - y|^2 is 2 - 2 <x, y>; a masked entry of -inf adds 0.
        potentials = tf.reduce_sum(tf.exp(4.0 * compared.negative - 4.0), axis=1)
        count = tf.cast(compared.num_negatives, tf.float32)
        return {
            **super().compute_metrics(compared),
            "alignment": 2.0 - 2.0 * tf.reduce_mean(compared.positive),
            "uniformity": tf.math.log(tf.reduce_mean(potentials) / tf.reduce_mean(count)),
        }

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "negatives": self.negatives}


def both_directions(anchors: tf.Tensor, global_batch: int | tf.Tensor) -> tf.Tensor:
    """Twice the mean over the global batch's 2B anchors, the sum of both directions.

    Args:
        anchors: float32 [2b], the losses of this replica's anchors.
        global_batch: B.
    """
    return with_gradient_of(share_of(anchors, global_batch), 2 * replica.mean(anchors))


def share_of(anchors: tf.Tensor, global_batch: int | tf.Tensor) -> tf.Tensor:
    """This replica's share of twice the mean over the global batch's 2B anchors: a scalar."""
    return tf.reduce_sum(anchors) / tf.cast(global_batch, tf.float32)


def with_gradient_of(surrogate: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """A scalar that reads `value` exactly while its gradient is that of `surrogate`."""
    return tf.stop_gradient(value) + (surrogate - tf.stop_gradient(surrogate))
