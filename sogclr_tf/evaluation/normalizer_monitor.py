"""What the table of the loss is worth by now, measured while training goes on."""

from typing import Any

import keras

from sogclr_tf.data.stream import Stream
from sogclr_tf.evaluation.measured_normalizer import MeasuredNormalizer
from sogclr_tf.evaluation.normalizer_error import check_measurable, measure
from sogclr_tf.evaluation.projections import projecting


class NormalizerError(keras.callbacks.Callback):
    """Adds what `sogclr_tf.normalizer_error` finds to the logs of some epochs.

    `normalizer_bias` and `normalizer_rms`, of log u - log g in nats, and `normalizer_correlation`.
    A measurement is a forward pass of both views of all N examples, on this process's first device,
    and a comparison of each view with every other on the host, whose time grows with the square of
    N. Put it before what writes the logs and, where an optimizer averages weights, before
    `keras.callbacks.SwapEMAWeights`: the table is one of the weights themselves.

    Args:
        data: the views of all examples, as `normalizer_error` takes them; None for the stream that
            the model is trained on, with the views of the epoch that has ended.
        every_epochs: at least 1; the last epoch is always measured.
        batch_size, training: as for `normalizer_error`.

    Attributes:
        last: the newest `MeasuredNormalizer`; None before the first.

    Raises:
        ValueError: `every_epochs` is below 1; at the start of `fit`, `data` is None and the model
            is trained on data of your own, or the loss has nothing to measure.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> model = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(num_examples=32))
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> images = np.random.default_rng(0).integers(0, 256, [32, 8, 8, 3], np.uint8)
        >>> views = sogclr_tf.training_views(images, batch_size=16)
        >>> monitor = sogclr_tf.NormalizerError(every_epochs=2)
        >>> history = model.fit(views, epochs=2, verbose=0, callbacks=[monitor])
        >>> monitor.last.log_u.shape  # the table's entry of each example
        (32,)
    """

    def __init__(
        self,
        data: Any = None,
        *,
        every_epochs: int = 1,
        batch_size: int | None = None,
        training: bool = True,
    ) -> None:
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"every_epochs is {every_epochs}: measure every 1 or more")
        self._given = data
        self._every_epochs = every_epochs
        self._batch_size = batch_size
        self._training = training
        self.last: MeasuredNormalizer | None = None

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        # A model handed over as it is would be traced at every epoch.
        self._project = projecting(model, self._training)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        check_measurable(self.model.contrastive_loss)
        self._data()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._every_epochs == 0 or epoch + 1 == self.params["epochs"]:
            logs.update(self.measure())

    def measure(self) -> dict[str, float]:
        """{"normalizer_bias", "normalizer_rms", "normalizer_correlation"}, floats."""
        self.last = measure(self.model, self._data(), self._project, batch_size=self._batch_size)
        return self.last.figures()

    def _data(self) -> Any:
        if self._given is not None:
            return self._given
        stream: Stream | None = self.model.training_stream
        if stream is None:
            raise ValueError(
                "the model is trained on no stream of sogclr_tf: give NormalizerError the views of "
                "all examples"
            )
        return stream
