"""A run from top to bottom, as a config and a mode say."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable

import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.stream import Stream
from sogclr_tf.evaluation.fine_tune import copied
from sogclr_tf.experiment import build
from sogclr_tf.experiment.config import default_config, has_texts, is_free
from sogclr_tf.experiment.encoder_file import check_images, read_start
from sogclr_tf.experiment.environment import environment
from sogclr_tf.experiment.evaluate import evaluate
from sogclr_tf.experiment.export import check_export, export_images
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.folder_lock import FolderLock
from sogclr_tf.experiment.image_task import ImageTask, keep_evaluation
from sogclr_tf.experiment.image_text_task import ImageTextTask
from sogclr_tf.experiment.opening import device_name, opening_block, training_rows
from sogclr_tf.experiment.pictures import report_parts
from sogclr_tf.experiment.sets import EvaluationSets, check_evaluation, open_sets, open_source
from sogclr_tf.experiment.summary import closing_table
from sogclr_tf.experiment.task import Task
from sogclr_tf.experiment.train import train
from sogclr_tf.experiment.verbosity import verbosity
from sogclr_tf.export.load import ServedEncoder, load_encoder
from sogclr_tf.models import replica_checks
from sogclr_tf.models.contrastive import ContrastiveModel
from sogclr_tf.networks.image_format import check_channels_last
from sogclr_tf.report import figures
from sogclr_tf.report.material import Material
from sogclr_tf.report.run_report import write_report
from sogclr_tf.terminal import is_quiet
from sogclr_tf.training.averaged_weights import put_in_place
from sogclr_tf.training.checkpoint import Checkpoints, check_examples
from sogclr_tf.training.strategy import from_all_workers, is_chief


@dataclasses.dataclass(frozen=True)
class Job:
    """What a command asks for.

    Attributes:
        config: checked by `check_config`.
        folder: of the run.
        mode: "all", "train", "evaluate" or "export".
        command: the command line, for the report.
        strategy: the name of the strategy, for the report.
        grow: whether the examples may be others than before; rows of the loss's table go with
            theirs.
    """

    config: ConfigDict
    folder: RunFolder
    mode: str
    command: str
    strategy: str
    grow: bool = False


def run(job: Job, strategy: tf.distribute.Strategy) -> None:
    """Trains, evaluates and exports, as the mode says; prints the closing table.

    Raises:
        ValueError: the config cannot be run, the run is one of other examples, or there is nothing
            trained to evaluate or export.
        FolderInUse: another process writes into the run's folder.
        Stopped: a signal came; the step is saved.
    """
    # The chief alone writes, in every mode.
    with FolderLock(job.folder.lock) if is_chief(strategy) else contextlib.nullcontext():
        _run(job, strategy)


def _run(job: Job, strategy: tf.distribute.Strategy) -> None:
    check_channels_last()
    config, folder, chief = job.config, job.folder, is_chief(strategy)
    replica_checks.check_accumulation(config.optimizer.gradient_accumulation_steps, strategy)
    build.set_precision(config.precision)
    trains = job.mode in ("all", "train")
    start = read_start(config, folder, strategy) if trains else None
    kind = ImageTextTask if has_texts(config) else ImageTask
    task = kind(config, job.mode, folder.checkpoints)
    source = task.stream.source
    _claim(job, task.stream, chief)
    if chief:
        folder.list_skipped(*task.sources)
    with strategy.scope():
        model = task.compiled_model(strategy)
        checkpoints = Checkpoints(model, folder.checkpoints, config.checkpoint.keep)
    step = checkpoints.restore(grow=source if job.grow else None)
    if chief and (trains or step):
        _announce(job, task, model, step, strategy)
    if trains:
        if start is not None:
            with strategy.scope():
                start.assign(task.image_encoder(model))
        train(task, folder, model, checkpoints, step, chief)
    elif step == 0:
        raise ValueError(f"{folder.checkpoints} holds no checkpoint: train first with --mode=train")
    else:
        # As the end of training does.
        put_in_place(model)
    if chief:
        _conclude(job, task, model)
    # A worker that left earlier would look like one that crashed.
    from_all_workers(strategy, 0)


def run_on_encoder(job: Job, encoder_path: str) -> None:
    """Evaluates or exports the encoder of a file, which need not be of such a run.

    Args:
        encoder_path: a checkpoint, SavedModel or `.keras` file, as `load_encoder` takes it.

    Raises:
        ValueError: the mode is another, or the file holds no such encoder.
        FolderInUse: another process writes into the folder.
    """
    with FolderLock(job.folder.lock):
        _run_on_encoder(job, encoder_path)


def _run_on_encoder(job: Job, encoder_path: str) -> None:
    check_channels_last()
    config, folder = job.config, job.folder
    if job.mode not in ("evaluate", "export"):
        raise ValueError(
            f"--encoder goes with --mode=evaluate or export, not with --mode={job.mode}"
        )
    if has_texts(config):
        raise ValueError("--encoder takes encoders of images: give a config without texts")
    build.set_precision(config.precision)
    check_export(config)
    sets = None
    if job.mode == "evaluate":
        sets = open_sets(
            config, config.evaluation.data, open_source(config, config.data.train_split)
        )
        check_evaluation(config, sets)
    settings = {**config.to_dict(), "evaluated_encoder": encoder_path}
    folder.claim(settings, is_free, defaults=default_config().to_dict())
    encoder = load_encoder(encoder_path, build.encoder(config))
    device = device_name(tf.distribute.get_strategy(), "one")
    _say(opening_block(config, folder, sets or (), {encoder_path: encoder}, (), device))
    if sets is not None:
        _evaluate_encoder_file(job, encoder, sets, encoder_path)
    elif isinstance(encoder, ServedEncoder):
        raise ValueError(f"{encoder} is exported already: serve it, or name a checkpoint")
    else:
        export_images(config, folder, encoder, encoder_path)
    sys.stdout.write(closing_table(folder))


def _announce(
    job: Job, task: Task, model: ContrastiveModel, step: int, strategy: tf.distribute.Strategy
) -> None:
    """Prints what the run is about to do."""
    config, replicas = job.config, strategy.num_replicas_in_sync
    encoders = {config.encoder.name: task.image_encoder(model)}
    if has_texts(config):
        encoders[config.text_encoder.tokenizer] = model.text_encoder
    training = [("trained", f"{step:,} steps")]
    if job.mode in ("all", "train"):
        training = training_rows(config, task.stream.steps_per_epoch, step, replicas)
    device = device_name(strategy, job.strategy)
    _say(opening_block(config, job.folder, task.sources, encoders, training, device))


def _say(text: str) -> None:
    if not is_quiet():
        sys.stdout.write(text)
        # Before what the logs say on stderr meanwhile.
        sys.stdout.flush()


def _claim(job: Job, stream: Stream, chief: bool) -> None:
    """Makes the folder this run's, before anything is built, or refuses a run of another kind."""
    counts = {"num_examples": stream.num_examples, "examples_per_epoch": stream.source.size}
    settings, defaults = {**job.config.to_dict(), **counts}, default_config().to_dict()
    job.folder.claim(
        settings, lambda key: is_free(key) or key in counts, write=False, defaults=defaults
    )
    if not job.grow:
        # Before the counts, because this names an example.
        check_examples(job.folder.checkpoints, stream.source)
    may_differ = counts if job.grow else ()
    job.folder.claim(
        settings,
        lambda key: is_free(key) or key in may_differ,
        write=chief,
        defaults=defaults,
    )


def _conclude(job: Job, task: Task, model: ContrastiveModel) -> None:
    """Pictures, scores, report and export, as the mode says; the closing table."""
    folder = job.folder
    if job.mode in ("all", "evaluate"):
        history = folder.history()
        if history:
            figures.training_curves(history, folder.plot("curves.png"))
        task.draw_tables(model, folder)
        measured = folder.measured_normalizer()
        if measured is not None:
            figures.estimates(measured.log_u, measured.log_g, folder.plot("normalizer.png"))
        _write_report(job, task.evaluate(model, folder))
    if job.mode in ("all", "export"):
        task.export(model, folder)
    sys.stdout.write(closing_table(folder))


def _evaluate_encoder_file(
    job: Job, encoder: Callable, sets: EvaluationSets, encoder_path: str
) -> None:
    config, folder = job.config, job.folder
    check_images(config, encoder, encoder_path)
    if config.evaluation.fine_tune:
        # One that cannot be copied is told before the rest is scored.
        copied(encoder)
    with sets.clear_errors():
        evaluation = evaluate(config, encoder, sets, build.policies(config), verbose=verbosity())
        shown = report_parts(config, evaluation, sets.test)
    keep_evaluation(config, folder, evaluation, sets, shown, encoder_path)
    _write_report(job, shown)


def _write_report(job: Job, shown: dict) -> None:
    """Writes report.html; `shown` are arguments of `Material` that an evaluation gave."""
    folder = job.folder
    material = Material(
        title=folder.path.name,
        command=job.command,
        config=job.config.to_dict(),
        environment=environment(job.strategy),
        result=folder.read_result(),
        history=folder.history(),
        normalizer=folder.measured_normalizer(),
        **shown,
    )
    write_report(material, folder.report)
