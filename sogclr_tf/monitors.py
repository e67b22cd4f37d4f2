"""How good the features are by now, measured on held-out images while training goes on."""

import keras
import numpy as np

from sogclr_tf import evaluate


class HeldOutAccuracy(keras.callbacks.Callback):
    """Adds `knn_top1` and, where the model has a probe, `probe_top1` to the logs of some epochs.

    Both in percent: of the queries, the share that the bank's nearest neighbours vote into their
    class, and that the online probe puts there. The encoder sees whole images in inference mode, on
    this process's first device; its cost is that of one epoch's forward pass times
    (bank + queries) / (6 * examples), for a training step takes two views forward and back.

    Put it before what writes the logs.

    Args:
        bank: (images, labels) that vote: images in a form that `evaluate.extract_features` takes,
            labels integers [N] from 0.
        queries: (images, labels) to classify, likewise.
        every_epochs: at least 1; the last epoch is always measured.
        neighbours: k of the weighted vote.
        temperature: of the votes, > 0.

    Raises:
        ValueError: `every_epochs` is below 1.
    """

    def __init__(self, bank, queries, *, every_epochs=1, neighbours=20, temperature=0.07):
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"every_epochs is {every_epochs}: measure every 1 or more")
        self._bank, self._queries = bank, queries
        self._every_epochs = every_epochs
        self._vote = {"k": neighbours, "temperature": temperature}

    def set_model(self, model):
        super().set_model(model)
        # An encoder handed over as it is would be traced at every epoch.
        self._encoder = evaluate.Compiled(model.encoder)

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every_epochs == 0 or epoch + 1 == self.params["epochs"]:
            logs.update(self.measure())

    def measure(self):
        """{"knn_top1": percent, "probe_top1": percent where there is a probe}."""
        (bank, labels), (queries, expected) = self._bank, self._queries
        voters, features = (
            evaluate.extract_features(self._encoder, images) for images in (bank, queries)
        )
        nearest = evaluate.knn_predict(
            voters, labels, features, num_classes=int(labels.max()) + 1, **self._vote
        )
        found = {"knn_top1": _percent(nearest == expected)}
        if getattr(self.model, "probe", None) is not None:
            guessed = self.model.probe.classify(features, population=voters).numpy()
            found["probe_top1"] = _percent(guessed == expected)
        return found


def _percent(correct):
    return 100 * float(np.mean(correct))
