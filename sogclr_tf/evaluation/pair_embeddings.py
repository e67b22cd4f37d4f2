"""Images and texts as the towers of a model embed them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.evaluation.features import CompiledEncoder, extract_features
from sogclr_tf.models.two_tower import TwoTowerSogCLR


class PairEmbedder:
    """Embeds images and texts in batches, by towers that are traced once.

    Args:
        model: a built `TwoTowerSogCLR`.
        batch_size: images or texts that a tower sees at a time.
    """

    def __init__(self, model: TwoTowerSogCLR, batch_size: int = 256) -> None:
        self._batch_size = batch_size
        self._tokenize = model.tokenize
        self._images = CompiledEncoder(
            lambda images, training: model.embed_images(images)  # noqa: ARG005
        )
        self._tokens = tf.function(model.embed_tokens)

    def images(self, images: Any) -> np.ndarray:
        """Embeddings float32 [M, D], L2-normalized, of images as `extract_features` takes them."""
        return extract_features(self._images, images, self._batch_size)

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings float32 [M, D], L2-normalized, of strings."""
        found = []
        for start in range(0, len(texts), self._batch_size):
            batch = list(texts[start : start + self._batch_size])
            # One shape for all: the padding's embeddings are dropped.
            padded = batch + [""] * (min(self._batch_size, len(texts)) - len(batch))
            found.append(self._tokens(self._tokenize(padded)).numpy()[: len(batch)])
        return np.concatenate(found)
