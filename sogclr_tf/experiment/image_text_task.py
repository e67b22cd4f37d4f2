"""A run of images with texts."""

import functools
import logging
import pathlib

import keras
import numpy as np
from ml_collections import ConfigDict

from sogclr_tf.data.evaluation_images import evaluation_pairs, evaluation_set
from sogclr_tf.data.image_text import ImageTextPairs, training_pairs
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.data.sources.readable import usable
from sogclr_tf.data.sources.text_owners import image_of_text
from sogclr_tf.evaluation.held_out_retrieval import HeldOutRetrieval, retrieval_scores
from sogclr_tf.evaluation.pair_embeddings import PairEmbedder
from sogclr_tf.experiment import build
from sogclr_tf.experiment.export import check_export, export_towers_of
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.kept_vocabulary import kept_vocabulary
from sogclr_tf.experiment.pair_pictures import Embedded, report_parts
from sogclr_tf.experiment.summary import RECALLS
from sogclr_tf.experiment.task import Task
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.models.two_tower import TwoTowerSogCLR
from sogclr_tf.report import figures, image_sheets

_LOG = logging.getLogger("sogclr_tf")


class ImageTextTask(Task):
    """A view of each image with its text; recall both ways, and classes by their names."""

    def __init__(
        self, config: ConfigDict, mode: str, checkpoints: pathlib.Path | None = None
    ) -> None:
        super().__init__(config, mode, checkpoints)
        if mode in ("all", "export"):
            check_export(config)
        self._source = self._split(config.data.train_split)

    @functools.cached_property
    def stream(self) -> ImageTextPairs:
        return training_pairs(
            self._source,
            batch_size=self.config.batch_size,
            policy=Policy(size=self.config.data.image_size, **self.config.augment),
            seed=self.config.seed,
            finish=build.finish(self.config),
        )

    def _split(self, split: str) -> Source:
        data = self.config.data
        source = from_name(
            data.name,
            split,
            data.data_dir,
            data.features.to_dict(),
            data.text,
            channels=data.channels,
            value_range=data.value_range,
        )
        return usable(source, data.on_error)

    def model(self) -> TwoTowerSogCLR:
        words = kept_vocabulary(self.checkpoints) if self.checkpoints else None
        if words is None:
            words = build.text_vocabulary(self.config, self._source.texts)
        return build.image_text_model(self.config, self.stream, words)

    def image_encoder(self, model: TwoTowerSogCLR) -> keras.Model:
        return model.image_encoder

    def monitors(self) -> list:
        settings = self.config.monitor
        if not settings.every_epochs:
            return []
        try:
            test = self._split(self.config.data.test_split)
        except (ValueError, OSError) as error:
            # Training does without test pairs.
            _LOG.warning("nothing is measured on held-out pairs: %s", error)
            return []
        images, texts, owners, labels = evaluation_pairs(
            test, self.config.data.image_size, settings.queries, self.config.seed
        )
        # Decoded once, as they are embedded again and again.
        watch = HeldOutRetrieval(
            images.cache(),
            texts,
            image_of_text=owners,
            labels=labels if test.class_names else None,
            class_names=test.class_names,
            every_epochs=settings.every_epochs,
            ks=RECALLS,
        )
        return [watch]

    def draw_tables(self, model: ContrastiveModel, folder: RunFolder) -> None:
        for side, name in (("a", "images"), ("b", "texts")):
            log_u = getattr(model.contrastive_loss, f"log_u_{side}", None)
            if log_u is not None:
                figures.log_u_histogram(log_u.numpy(), folder.plot(f"log_u_{name}.png"))

    def evaluate(self, model: TwoTowerSogCLR, folder: RunFolder) -> dict:
        test = self._split(self.config.data.test_split)
        images, labels = evaluation_set(test, self.config.data.image_size)
        texts, owners, embed = test.texts(), image_of_text(test), PairEmbedder(model)
        of_images, of_texts = embed.images(images), embed.texts(texts)
        # An image beside its first text.
        _, first = np.unique(owners, return_index=True)
        image_sheets.retrieval_sheet(
            [texts[place] for place in first],
            list(images.as_numpy_iterator()),
            of_texts[first] @ of_images.T,
            folder.plot("retrieval.png"),
        )
        names = embed.texts(test.class_names) if test.class_names else None
        found = retrieval_scores(of_images, of_texts, RECALLS, owners, names, labels)
        scores = {"test_pairs": len(texts), **{key: round(one, 4) for key, one in found.items()}}
        if len(texts) > len(of_images):
            scores["test_images"] = len(of_images)
        if names is not None:
            scores["largest_class"] = round(float(np.bincount(labels).max() / len(labels)), 4)  # type: ignore[arg-type]
        folder.update_result(**scores)
        embedded = Embedded(of_images, of_texts, texts, owners)
        loss, seed = model.contrastive_loss, self.config.seed
        return report_parts(embedded, test, self._source, loss, seed)

    def export(self, model: TwoTowerSogCLR, folder: RunFolder) -> None:
        names = self._source.class_names or []
        export_towers_of(
            self.config,
            folder,
            model,
            # One class alone is nothing to choose among.
            class_names=names if len(names) > 1 else None,
            pixel_format=self._source.pixel_format,
        )
