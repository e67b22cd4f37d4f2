"""How well images and texts find each other by now, on held-out pairs while training goes on."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from sogclr_tf.evaluation.pair_embeddings import PairEmbedder
from sogclr_tf.evaluation.retrieval import recall, zero_shot
from sogclr_tf.evaluation.scores import accuracy
from sogclr_tf.training.averaged_weights import averages_in_place


class HeldOutRetrieval(keras.callbacks.Callback):
    """Adds the recall on held-out pairs, both ways, to the logs of some epochs.

        watch = sogclr_tf.HeldOutRetrieval(test_images, test_captions, every_epochs=5)
        model.fit(pairs, epochs=100, callbacks=[watch])

    `image_to_text_recall1`, `text_to_image_recall1` and so on for each k, and `zero_shot_top1`
    where there are labels; all in 0..1, as `sogclr_tf.recall` and `zero_shot` define them. The
    towers see whole images and texts in inference mode, on this process's first device.

    Of an optimizer that averages weights (`use_ema`) it measures the averages, which are what `fit`
    ends with; the weights are as before. Put it before what writes the logs and, in the fit of a
    model that is not of this package, before `keras.callbacks.SwapEMAWeights`.

    Args:
        images: M images in a form that `extract_features` takes.
        texts: a string for each of them, in the same order; or of several for some, T strings.
        image_of_text: integers [T], of each text the place of its image, where an image has
            several; None where texts are one each.
        labels: integers [M] from 0, of the images' classes; None for no `zero_shot_top1`.
        class_names: a string for each class, with `labels`.
        every_epochs: at least 1; the last epoch is always measured.
        ks: whole numbers >= 1.

    Raises:
        ValueError: `every_epochs` is below 1, there are no texts, or only one of `labels` and
            `class_names` is given.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> images, texts = np.zeros([3, 16, 16, 3], np.uint8), ["a cat", "a dog", "a house"]
        >>> image_encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
        >>> text_encoder = sogclr_tf.TextEncoder(sogclr_tf.vocabulary(texts), width=16)
        >>> model = sogclr_tf.TwoTowerSogCLR(image_encoder, text_encoder, sogclr_tf.CLIPLoss())
        >>> monitor = sogclr_tf.HeldOutRetrieval(images, texts, every_epochs=5, ks=(3,))
        >>> monitor.set_model(model)  # as `fit(..., callbacks=[monitor])` does
        >>> logs = {}
        >>> monitor.on_epoch_end(4, logs)
        >>> logs  # of 3 pairs all lie among the nearest 3
        {'image_to_text_recall3': 1.0, 'text_to_image_recall3': 1.0}
    """

    def __init__(
        self,
        images: Any,
        texts: Sequence[str],
        *,
        image_of_text: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
        every_epochs: int = 1,
        ks: Sequence[int] = (1, 5, 10),
    ) -> None:
        super().__init__()
        if every_epochs < 1:
            raise ValueError(f"every_epochs is {every_epochs}: measure every 1 or more")
        if not len(texts):
            raise ValueError("texts are none: give one for each of the images")
        if (labels is None) != (class_names is None):
            raise ValueError("labels and class_names go together: give both, or none")
        self._images, self._texts, self._owners = images, texts, image_of_text
        self._labels, self._class_names = labels, class_names
        self._every_epochs, self._ks = every_epochs, tuple(ks)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self._embed = PairEmbedder(model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self._every_epochs == 0 or epoch + 1 == self.params["epochs"]:
            logs.update(self.measure())

    def measure(self) -> dict[str, float]:
        """{name: share in 0..1} of what is measured."""
        with averages_in_place(self.model):
            images, texts = self._embed.images(self._images), self._embed.texts(self._texts)
            names = self._embed.texts(self._class_names) if self._class_names else None
        return retrieval_scores(images, texts, self._ks, self._owners, names, self._labels)


def retrieval_scores(
    images: np.ndarray,
    texts: np.ndarray,
    ks: Sequence[int],
    owners: np.ndarray | None = None,
    names: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> dict[str, float]:
    """Recall both ways and, of images with labels, their classes by name: {name: share in 0..1}.

    Args:
        images, texts: float [M, D] and [T, D], embeddings.
        ks: whole numbers >= 1.
        owners: integers [T], of each text the place of its image; None where texts are one each,
            in the same order.
        names: float [C, D], embeddings of the names of the classes.
        labels: integers [M], with names.
    """
    scores = {
        f"{way}_recall{k}": value
        for way, recalls in recall(images, texts, ks, image_of_text=owners)._asdict().items()
        for k, value in recalls.items()
    }
    if names is not None:
        scores["zero_shot_top1"] = accuracy(zero_shot(images, names) == labels)
    return scores
