"""How good the features are by now, measured on held-out images while training goes on."""

from typing import Any

import keras

from sogclr_tf.evaluation.features import CompiledEncoder, extract_features
from sogclr_tf.evaluation.neighbors import knn_predict
from sogclr_tf.evaluation.scores import accuracy
from sogclr_tf.training.averaged_weights import averages_in_place


class HeldOutAccuracy(keras.callbacks.Callback):
    """Adds `knn_top1` and, where the model has a probe, `probe_top1` to the logs of some epochs.

    Both in 0..1: of the queries, the share that the bank's nearest neighbors vote into their
    class, and that the online probe puts there. The encoder sees whole images in inference mode, on
    this process's first device; its cost is that of one epoch's forward pass times
    (bank + queries) / (6 * examples), for a training step takes two views forward and back.

    Of an optimizer that averages weights (`use_ema`) it measures the averages, which are what `fit`
    ends with; the weights are as before. Put it before what writes the logs and, in the fit of a
    model that is not of this package, before `keras.callbacks.SwapEMAWeights`.

    Args:
        bank: (images, labels) that vote: images in a form that `extract_features` takes,
            labels integers [N] from 0.
        queries: (images, labels) to classify, likewise.
        every_epochs: at least 1; the last epoch is always measured.
        neighbors: k of the weighted vote.
        temperature: of the votes, > 0.

    Raises:
        ValueError: `every_epochs` is below 1.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> images = np.random.default_rng(0).integers(0, 256, [64, 8, 8, 3], np.uint8)
        >>> labels = np.arange(64) % 2
        >>> monitor = sogclr_tf.HeldOutAccuracy(
        ...     (images[:48], labels[:48]), (images[48:], labels[48:]), neighbors=5
        ... )
        >>> views = sogclr_tf.training_views(images, batch_size=32)
        >>> history = model.fit(views, epochs=2, verbose=0, callbacks=[monitor]).history
        >>> len(history["knn_top1"])  # one for each epoch, in 0..1
        2
    """

    def __init__(
        self,
        bank: tuple,
        queries: tuple,
        *,
        every_epochs: int = 1,
        neighbors: int = 20,
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"every_epochs is {every_epochs}: measure every 1 or more")
        self._bank, self._queries = bank, queries
        self._every_epochs = every_epochs
        self._vote: dict[str, Any] = {"k": neighbors, "temperature": temperature}

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        # An encoder handed over as it is would be traced at every epoch.
        self._encoder = CompiledEncoder(model.encoder)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._every_epochs == 0 or epoch + 1 == self.params["epochs"]:
            logs.update(self.measure())

    def measure(self) -> dict[str, float]:
        """{"knn_top1": share, "probe_top1": share where there is a probe}, in 0..1."""
        (bank, labels), (queries, expected) = self._bank, self._queries
        with averages_in_place(self.model):
            voters, features = (
                extract_features(self._encoder, images) for images in (bank, queries)
            )
        nearest = knn_predict(
            voters, labels, features, num_classes=int(labels.max()) + 1, **self._vote
        )
        found = {"knn_top1": accuracy(nearest == expected)}
        if getattr(self.model, "probe", None) is not None:
            guessed = self.model.probe.classify(features, population=voters).numpy()
            found["probe_top1"] = accuracy(guessed == expected)
        return found
