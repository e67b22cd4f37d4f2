"""A run of images."""

import functools
import logging
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.evaluation_images import evaluation_sample
from sogclr_tf.data.labeled import with_labeled
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.readable import clear_errors
from sogclr_tf.data.training_views import training_views
from sogclr_tf.data.views import Views
from sogclr_tf.evaluation.held_out import HeldOutAccuracy
from sogclr_tf.experiment import build, export
from sogclr_tf.experiment.evaluate import Evaluation, crops, evaluate
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.pictures import report_parts
from sogclr_tf.experiment.sets import EvaluationSets, check_evaluation, open_sets, open_source
from sogclr_tf.experiment.task import Task
from sogclr_tf.experiment.verbosity import verbosity
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.models.sogclr import SogCLR
from sogclr_tf.report import figures, image_sheets

_LOG = logging.getLogger("sogclr_tf")


class ImageTask(Task):
    """Two views of each image; kNN, a linear probe and the rest of `config.evaluation`."""

    def __init__(
        self, config: ConfigDict, mode: str, checkpoints: pathlib.Path | None = None
    ) -> None:
        super().__init__(config, mode, checkpoints)
        self._source = open_source(config, config.data.train_split)
        self._sets: Any = None
        if mode in ("all", "evaluate"):
            self._sets = open_sets(config, config.evaluation.data, self._source)
            check_evaluation(config, self._sets)
        if mode in ("all", "export"):
            export.check_export(config)
        self._has_probe = self._can_probe()

    @functools.cached_property
    def stream(self) -> Views:
        policy, policy_b = build.policies(self.config)
        return training_views(
            self._source,
            batch_size=self.config.batch_size,
            policy=policy,
            policy_b=policy_b,
            seed=self.config.seed,
            service=self.config.data.service,
            finish=build.finish(self.config),
        )

    @property
    def sources(self) -> list[Source]:
        return [self._source, *([self._sets.test] if self._sets else [])]

    def model(self) -> SogCLR:
        classes = len(self._probe_source.class_names) if self._has_probe else None  # type: ignore[arg-type]
        return build.image_model(self.config, self.stream, classes)

    def image_encoder(self, model: SogCLR) -> keras.Model:
        return model.encoder

    def compiled_model(self, strategy: tf.distribute.Strategy) -> ContrastiveModel:
        own = self.config.monitor.data
        if self._has_probe and own.name:
            replicas = strategy.num_replicas_in_sync
            self.stream = with_labeled(
                self.stream, self._probe_source, crops(self.config), replicas
            )
        return super().compiled_model(strategy)

    def _can_probe(self) -> bool:
        """Whether a linear probe learns beside the encoder: where there are labels."""
        if not self.config.monitor.probe_rate or not self._probe_source.labeled:
            return False
        if self._probe_source.class_names is None:
            _LOG.warning(
                "the classes of %s have no names to count: no online probe",
                self._probe_source.name,
            )
            return False
        return True

    @functools.cached_property
    def _probe_source(self) -> Source:
        """The labeled images that teach the online probe."""
        own = self.config.monitor.data
        return open_source(self.config, own.train_split, own) if own.name else self._source

    def monitors(self) -> list:
        config, settings = self.config, self.config.monitor
        if not settings.every_epochs:
            return []
        try:
            sets = open_sets(config, settings.data, self._source)
        except (ValueError, OSError) as error:
            if settings.data.name:
                raise
            # Training does without test images.
            _LOG.warning("nothing is measured on held-out images: %s", error)
            return []
        if not sets.labeled:
            return []
        bank, queries = (
            evaluation_sample(source, config.data.image_size, count, config.seed)
            for source, count in ((sets.train, settings.bank), (sets.test, settings.queries))
        )
        return [
            _Watched(
                sets,
                bank,
                queries,
                every_epochs=settings.every_epochs,
                temperature=config.evaluation.knn_temperature,
            )
        ]

    def draw_tables(self, model: ContrastiveModel, folder: RunFolder) -> None:
        log_u = _table(model)
        if log_u is not None:
            figures.log_u_histogram(log_u, folder.plot("log_u.png"))

    def evaluate(self, model: SogCLR, folder: RunFolder) -> dict:
        config, sets = self.config, self._sets
        with clear_errors(self._source), sets.clear_errors():
            evaluation = evaluate(
                config,
                model.encoder,
                sets,
                build.policies(config),
                untrained=build.encoder(config),
                verbose=verbosity(),
            )
            shown = report_parts(config, evaluation, sets.test, self._source, _table(model))
        keep_evaluation(config, folder, evaluation, sets, shown, _step_name(model))
        return shown

    def export(self, model: SogCLR, folder: RunFolder) -> None:
        export.export_images(
            self.config,
            folder,
            model,
            _step_name(model),
            version=model.trained_steps,
            probe_source=self._probe_source,
            source=self._source,
        )


class _Watched(HeldOutAccuracy):
    """Held-out accuracy that names an image of `sets` which cannot be decoded."""

    def __init__(self, sets: EvaluationSets, bank: tuple, queries: tuple, **options: Any) -> None:
        super().__init__(bank, queries, **options)
        self._sets = sets

    def measure(self) -> dict[str, float]:
        with self._sets.clear_errors():
            return super().measure()


def keep_evaluation(
    config: ConfigDict,
    folder: RunFolder,
    evaluation: Evaluation,
    sets: EvaluationSets,
    shown: dict,
    owner: str,
) -> None:
    """Writes an evaluation's numbers, its linear probe and its pictures.

    Args:
        shown: what `report_parts` gives of it.
        owner: what the linear probe is remembered by, for an export.
    """
    other = config.evaluation.data.name
    if evaluation.probe is not None and not other:
        names = sets.train.class_names
        names = names and names[: evaluation.probe.bias.size]
        folder.keep_probe(evaluation.probe, names, owner)
    figures.embedding(
        evaluation.features,
        evaluation.labels,
        folder.plot("embedding.png"),
        class_names=shown["class_names"],
    )
    image_sheets.neighbor_sheet(shown["neighbors"], folder.plot("neighbors.png"))
    # Another set's scores stand apart, by its name, as there may be several.
    numbers: dict[str, Any] = evaluation.numbers
    if other:
        numbers = {"transfer": {**folder.read_result().get("transfer", {}), other: numbers}}
    folder.update_result(**numbers)


def _table(model: ContrastiveModel) -> np.ndarray | None:
    log_u = getattr(model.contrastive_loss, "log_u", None)
    return None if log_u is None else log_u.numpy()


def _step_name(model: ContrastiveModel) -> str:
    """What a linear probe is remembered by."""
    return f"step-{model.trained_steps}"
