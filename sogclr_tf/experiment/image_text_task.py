"""A run of images with texts."""

import functools

import keras
import numpy as np
from ml_collections import ConfigDict

from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.image_text import ImageTextPairs, training_pairs
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.data.sources.readable import usable
from sogclr_tf.data.sources.text_owners import image_of_text
from sogclr_tf.evaluation.features import extract_features
from sogclr_tf.evaluation.retrieval import recall, zero_shot
from sogclr_tf.evaluation.scores import accuracy
from sogclr_tf.experiment import build
from sogclr_tf.experiment.export import check_export, export_towers_of
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.summary import RECALLS
from sogclr_tf.experiment.task import Task
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.models.two_tower import TwoTowerSogCLR
from sogclr_tf.networks.text_encoder import vocabulary
from sogclr_tf.report import figures, image_sheets


class ImageTextTask(Task):
    """A view of each image with its text; recall both ways, and classes by their names."""

    def __init__(self, config: ConfigDict, mode: str) -> None:
        super().__init__(config, mode)
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
            text=data.text,
            channels=data.channels,
            value_range=data.value_range,
        )
        return usable(source)

    def model(self) -> TwoTowerSogCLR:
        # The vocabulary is that of the training texts.
        words = vocabulary(self._source.texts(), self.config.text_encoder.max_tokens)
        return build.image_text_model(self.config, self.stream, words)

    def image_encoder(self, model: TwoTowerSogCLR) -> keras.Model:
        return model.image_encoder

    def draw_tables(self, model: ContrastiveModel, folder: RunFolder) -> None:
        for side, name in (("a", "images"), ("b", "texts")):
            log_u = getattr(model.contrastive_loss, f"log_u_{side}", None)
            if log_u is not None:
                figures.log_u_histogram(log_u.numpy(), folder.plot(f"log_u_{name}.png"))

    def evaluate(self, model: TwoTowerSogCLR, folder: RunFolder) -> dict:
        test = self._split(self.config.data.test_split)
        images, labels = evaluation_set(test, self.config.data.image_size)
        texts, owners = test.texts(), image_of_text(test)
        of_images = extract_features(
            lambda batch, training: model.embed_images(batch),  # noqa: ARG005
            images,
        )
        of_texts = model.embed_texts(texts).numpy()
        # An image beside its first text.
        _, first = np.unique(owners, return_index=True)
        image_sheets.retrieval_sheet(
            [texts[place] for place in first],
            list(images.as_numpy_iterator()),
            of_texts[first] @ of_images.T,
            folder.plot("retrieval.png"),
        )
        scores: dict[str, float] = {"test_pairs": len(texts)}
        if len(texts) > len(of_images):
            scores["test_images"] = len(of_images)
        found = recall(of_images, of_texts, RECALLS, image_of_text=owners)
        for way, recalls in found._asdict().items():
            scores |= {f"{way}_recall{k}": round(value, 4) for k, value in recalls.items()}
        if test.class_names:
            guessed = zero_shot(of_images, model.embed_texts(test.class_names).numpy())
            scores["zero_shot_top1"] = round(accuracy(guessed == labels), 4)
            scores["largest_class"] = round(float(np.bincount(labels).max() / len(labels)), 4)  # type: ignore[arg-type]
        folder.update_result(**scores)
        return {}

    def export(self, model: TwoTowerSogCLR, folder: RunFolder) -> None:
        export_towers_of(
            self.config,
            folder,
            model,
            class_names=self._split(self.config.data.test_split).class_names,
            pixel_format=self._source.pixel_format,
        )
