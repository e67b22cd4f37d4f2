"""What a run of images, and one of images with texts, must be able to do."""

import abc
import functools
import pathlib

import keras
import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.stream import Stream
from sogclr_tf.experiment import build
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.models.contrastive import ContrastiveModel


class Task(abc.ABC):
    """One kind of run. Making it finds and checks its data, before hours are spent.

    Args:
        config: the run's.
        mode: "all", "train", "evaluate" or "export".
        checkpoints: the folder of what was trained before, if there is one.
    """

    def __init__(
        self, config: ConfigDict, mode: str, checkpoints: pathlib.Path | None = None
    ) -> None:
        self.config, self.mode, self.checkpoints = config, mode, checkpoints

    @functools.cached_property
    @abc.abstractmethod
    def stream(self) -> Stream:
        """The training stream."""

    @property
    def sources(self) -> list[Source]:
        """The collections in use, whose images may have been left out."""
        return [self.stream.source]

    @abc.abstractmethod
    def model(self) -> ContrastiveModel:
        """A new model, not compiled."""

    @abc.abstractmethod
    def image_encoder(self, model: ContrastiveModel) -> keras.Model:
        """The encoder of images that a model trains."""

    def compiled_model(self, strategy: tf.distribute.Strategy) -> ContrastiveModel:
        """A new model, ready to train; call it in the scope of `strategy`."""
        model = self.model()
        build.compile_model(self.config, model, self.stream, strategy)
        return model

    def monitors(self) -> list:
        """Callbacks that measure beside training, before the logs are written."""
        return []

    @abc.abstractmethod
    def draw_tables(self, model: ContrastiveModel, folder: RunFolder) -> None:
        """Draws the tables of the loss."""

    @abc.abstractmethod
    def evaluate(self, model: ContrastiveModel, folder: RunFolder) -> dict:
        """Evaluates what was trained into `result.json`; what the report shows beside it."""

    @abc.abstractmethod
    def export(self, model: ContrastiveModel, folder: RunFolder) -> None:
        """Exports what was trained."""
