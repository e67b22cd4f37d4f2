"""The command: pre-train, evaluate and export an encoder, as a config says.

    python -m sogclr_tf.run [--config=configs/NAME.py] [--workdir=DIR] [--strategy=NAME]
                            [--mode=train|evaluate|export|all] [--encoder=PATH]

Any key of the config is a flag: --config.batch_size=128. The same command started again resumes.
Exit status: 0 done, 1 an error in one line, 75 saved and stopped by SIGTERM, 130 by Ctrl-C.
"""

import dataclasses
import logging
import os
import pathlib
import platform
import re
import runpy
import shlex
import signal
import statistics
import sys

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

import sogclr_tf
from sogclr_tf import closing, image_text_run

# TensorFlow's notices would bury the progress bar.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_LOG = logging.getLogger("sogclr_tf")

MODES = ("all", "train", "evaluate", "export")
STRATEGIES = ("one", "mirrored", "multiworker", "tpu")
# Exit statuses: sysexits.h's "try again" after SIGTERM, the shell's own after Ctrl-C.
PREEMPTED, INTERRUPTED = 75, 130
# Seconds that a worker waits for the others to come up.
PATIENCE = 300
# What a later command may set otherwise, because it does not shape the training.
FREE_KEYS = (
    "data.data_dir",
    "data.test_split",
    "checkpoint",
    "monitor.data.data_dir",
    "evaluation",
    "export",
)


def config_file(name):
    """The path of a config of this project, in a checkout or in an installation."""
    package = pathlib.Path(__file__).resolve().parent
    places = [package.parent / "configs" / name, package / "configs" / name]
    return str(next((place for place in places if place.exists()), places[0]))


# No default here, because ml_collections reads a default's overrides when the flag is defined,
# where nobody could make its errors readable: `_parse_flags` supplies configs/digits.py.
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Python file with get_config(); configs/digits.py by default."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; by default runs/CONFIG.")
_STRATEGY = flags.DEFINE_enum("strategy", "one", STRATEGIES, "Where to compute.")
_MODE = flags.DEFINE_enum("mode", "all", MODES, "What to do; all: train, evaluate and export.")
_DEVICES = flags.DEFINE_integer(
    "virtual_devices", 1, "CPU devices to split this machine's CPU into, to rehearse a strategy.", 1
)
_ENCODER = flags.DEFINE_string(
    "encoder",
    None,
    "With --mode=evaluate or export: a checkpoint, SavedModel or .keras file in place of a run's.",
)
_TPU = flags.DEFINE_string("tpu", None, "Name or address of the TPU; local on a TPU VM.")
_TPU_ZONE = flags.DEFINE_string("tpu_zone", None, "Cloud zone of the TPU.")
_TPU_PROJECT = flags.DEFINE_string("tpu_project", None, "Cloud project of the TPU.")


def main(_argv):
    _start_tensorflow()
    config = _CONFIG.value
    _check_keys(config)
    folder = _open_folder()
    strategy = _strategy()
    chief = sogclr_tf.strategy.is_chief(strategy)
    _set_precision(config.precision)
    if _ENCODER.value is not None:
        take_alone(config, folder)
        return
    has_texts = _has_texts(config)
    views = image_text_run.stream(config) if has_texts else _views(config)
    sets = None if has_texts else _evaluation_sets(config, views.source)
    if _MODE.value in ("all", "export") and not has_texts:
        sogclr_tf.export_run.check(config)
    counts = {"num_examples": views.num_examples, "examples_per_epoch": views.source.size}
    folder.claim({**config.to_dict(), **counts}, FREE_KEYS, write=chief)
    if chief:
        folder.list_skipped(views.source, *([sets[1]] if sets else []))
    with strategy.scope():
        probe = None
        if not has_texts:
            views, probe = _probe_stream(config, views, strategy.num_replicas_in_sync)
        model = _model(config, views, strategy, probe)
        checkpoints = sogclr_tf.checkpoint.Checkpoints(
            model, folder.checkpoints, config.checkpoint.keep
        )
    step = checkpoints.restore()
    if _MODE.value in ("all", "train"):
        train(config, folder, model, views, checkpoints, step, chief)
    elif step == 0:
        raise ValueError(f"{folder.checkpoints} holds no checkpoint: train first with --mode=train")
    if chief:
        conclude(config, folder, model, views, sets)
    # A worker that left earlier would look like one that crashed.
    sogclr_tf.strategy.from_all_workers(strategy, 0)


def train(config, folder, model, views, checkpoints, step, chief):
    """Pre-trains from `step` on to the last epoch; the chief leaves metrics and checkpoints."""
    from sogclr_tf.preemption import StopOnSignal, Stopped

    epoch = step // views.steps_per_epoch
    if step:
        _LOG.info("resumed at step %d, epoch %d", step, epoch)
    if chief:
        folder.rewind_metrics(epoch)
        sogclr_tf.plots.view_sheet(*views.samples(16), folder.plot("views.png"))
    try:
        with StopOnSignal(checkpoints) as stop:
            model.fit(
                views,
                epochs=config.epochs,
                initial_step=step,
                verbose=_verbosity(chief),
                callbacks=[*_callbacks(config, folder, views, checkpoints, chief), stop],
            )
    except Stopped as stopped:
        sys.stderr.write(f"\n{stopped}: the same command goes on from there\n")
        sys.exit(PREEMPTED if stopped.signal == signal.SIGTERM else INTERRUPTED)
    if chief:
        pace = folder.history().get("examples_per_second", [0.0])
        folder.update_result(
            steps=model.trained_steps,
            examples_per_second=round(statistics.median(pace), 1),
            num_examples=views.num_examples,
            versions=_versions(),
        )


def conclude(config, folder, model, views, sets):
    """Pictures, scores, report and export, as --mode says; the closing table."""
    has_texts = _has_texts(config)
    if _MODE.value in ("all", "evaluate"):
        draw_training(folder, model)
        found = {}
        if has_texts:
            image_text_run.evaluate(config, folder, model, views)
        else:
            found = evaluate(config, folder, model, views, sets)
        write_report(config, folder, found)
    if _MODE.value in ("all", "export"):
        if has_texts:
            image_text_run.export(config, folder, model)
        else:
            sogclr_tf.export_run.export(
                config,
                folder,
                model,
                _step_name(model),
                version=model.trained_steps,
                probe_source=_probe_source(config, views.source),
            )
    sys.stdout.write(closing.closing_table(folder))


def _verbosity(chief):
    """Keras's: a bar that redraws itself is for a terminal; a log gets a line per epoch."""
    if not chief:
        return 0
    return 1 if sys.stdout.isatty() else 2


def _callbacks(config, folder, views, checkpoints, chief):
    """What writes beside training; checkpoints last, when the rest of an epoch is written."""
    import keras

    from sogclr_tf import callbacks

    settings = config.checkpoint
    save = callbacks.SaveCheckpoints(
        checkpoints, settings.every_epochs or None, settings.every_steps or None
    )
    if not chief:
        return [save]
    return [
        callbacks.Pace(views.batch_size),
        *_monitors(config, views.source),
        keras.callbacks.LambdaCallback(on_epoch_end=folder.append_metrics),
        keras.callbacks.TensorBoard(str(folder.events), write_graph=False),
        save,
    ]


def _monitors(config, train_source):
    """What measures the encoder on held-out images, where there are labels to measure by."""
    settings = config.get("monitor")
    if not settings or not settings.every_epochs:
        return []
    try:
        sets = _sets(config, settings.data, train_source)
    except (ValueError, OSError) as error:
        if settings.data.name:
            raise
        # Training does without test images.
        _LOG.warning("nothing is measured on held-out images: %s", error)
        return []
    if not sets.labelled:
        return []
    bank, queries = (
        sogclr_tf.data.evaluation_sample(source, config.data.image_size, count, config.seed)
        for source, count in ((sets.train, settings.bank), (sets.test, settings.queries))
    )
    return [
        sogclr_tf.monitors.HeldOutAccuracy(
            bank,
            queries,
            every_epochs=settings.every_epochs,
            temperature=config.evaluation.knn_temperature,
        )
    ]


def evaluate(config, folder, model, views, sets):
    """Scores the trained encoder beside the same encoder before training; draws its features.

    Returns what the report shows of it.
    """
    log_u = model.objective.log_u.numpy() if hasattr(model.objective, "log_u") else None
    with sogclr_tf.sources.clear_errors(views.source), sets.clear_errors():
        numbers, found = sogclr_tf.evaluation_run.score(
            config,
            model.encoder,
            sets,
            (views.policy_a, views.policy_b),
            untrained=_encoder(config),
            verbose=_verbosity(chief=True),
        )
        shown = sogclr_tf.evaluation_run.material(config, found, sets.test, views.source, log_u)
    _keep_head(config, folder, found, sets, _step_name(model))
    _draw_features(folder, found, shown)
    # Another set's scores stand apart, by its name, as there may be several.
    transfer = folder.read_result().get("transfer", {})
    if config.evaluation.data.name:
        numbers = {"transfer": {**transfer, config.evaluation.data.name: numbers}}
    folder.update_result(**numbers)
    return shown


def take_alone(config, folder):
    """Judges or exports the encoder that --encoder names, which need not be of such a run."""
    if _MODE.value not in ("evaluate", "export"):
        raise ValueError(
            f"--encoder goes with --mode=evaluate or export, not with --mode={_MODE.value}"
        )
    if _has_texts(config):
        raise ValueError("--encoder takes encoders of images: give a config without texts")
    judging = _MODE.value == "evaluate"
    sogclr_tf.export_run.check(config)
    sets = _evaluation_sets(config, _source(config, config.data.train_split)) if judging else None
    folder.claim({**config.to_dict(), "judged_encoder": _ENCODER.value}, FREE_KEYS)
    encoder = sogclr_tf.encoders.load_encoder(_ENCODER.value, _encoder(config))
    if not judging and isinstance(encoder, sogclr_tf.encoders.ServedEncoder):
        raise ValueError(f"{encoder} is exported already: serve it, or name a checkpoint")
    if judging:
        judge(config, folder, encoder, sets)
    else:
        sogclr_tf.export_run.export(config, folder, encoder, _ENCODER.value)
    sys.stdout.write(closing.closing_table(folder))


def judge(config, folder, encoder, sets):
    """Scores an encoder that stands alone; its pictures and report."""
    if config.evaluation.fine_tune:
        # One that cannot be copied is told before the rest is scored.
        sogclr_tf.fine_tune.copied(encoder)
    with sets.clear_errors():
        numbers, found = sogclr_tf.evaluation_run.score(
            config, encoder, sets, _policies(config), verbose=_verbosity(chief=True)
        )
        shown = sogclr_tf.evaluation_run.material(config, found, sets.test)
    _keep_head(config, folder, found, sets, _ENCODER.value)
    _draw_features(folder, found, shown)
    folder.update_result(**numbers)
    write_report(config, folder, shown)


def _keep_head(config, folder, found, sets, encoder):
    """Keeps the linear probe for `export`, where it is one of the config's own classes."""
    if found.head is not None and not config.evaluation.data.name:
        names = sets.train.class_names
        folder.keep_head(found.head, names and names[: found.head.bias.size], encoder)


def _draw_features(folder, found, shown):
    """Draws the features of the test images, and which of these are neighbours."""
    sogclr_tf.plots.embedding(
        found.features,
        found.labels,
        folder.plot("embedding.png"),
        class_names=shown["class_names"],
    )
    sogclr_tf.plots.neighbour_sheet(shown["neighbours"], folder.plot("neighbours.png"))


def write_report(config, folder, shown):
    """Writes report.html; `shown` are arguments of `report.Material` that an evaluation gave."""
    material = sogclr_tf.report.Material(
        title=folder.path.name,
        command=shlex.join(["python", "-m", "sogclr_tf.run", *sys.argv[1:]]),
        config=config.to_dict(),
        environment=_environment(),
        result=folder.read_result(),
        history=folder.history(),
        **shown,
    )
    sogclr_tf.report.write_report(material, folder.report)


def _step_name(model):
    """What a linear probe is remembered by."""
    return f"step-{model.trained_steps}"


def draw_training(folder, model):
    """Draws the curves of training and the table."""
    history = folder.history()
    if history:
        sogclr_tf.plots.training_curves(history, folder.plot("curves.png"))
    if hasattr(model.objective, "log_u"):
        log_u = model.objective.log_u.numpy()
        sogclr_tf.plots.log_u_histogram(log_u, folder.plot("log_u.png"))
    image_text_run.draw_tables(model.objective, folder)


def _start_tensorflow():
    """Imports TensorFlow without the notices that it writes before any setting can reach it."""
    stderr = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    absl_logging.set_verbosity(absl_logging.WARNING)
    if _DEVICES.value > 1:
        tensorflow.config.set_logical_device_configuration(
            tensorflow.config.list_physical_devices("CPU")[0],
            [tensorflow.config.LogicalDeviceConfiguration()] * _DEVICES.value,
        )


def _open_folder():
    name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS["config"])).stem
    return sogclr_tf.run_folder.RunFolder(_WORKDIR.value or pathlib.Path("runs") / name)


def _strategy():
    """The strategy that the flags name."""
    several = _STRATEGY.value == "multiworker" and "TF_CONFIG" in os.environ
    if several:
        _LOG.info("waiting for the workers of TF_CONFIG, %d s at most", PATIENCE)
        # Python cannot act while TensorFlow waits: the system's own alarm ends the process.
        signal.alarm(PATIENCE)
    strategy = sogclr_tf.strategy.build_strategy(
        _STRATEGY.value, tpu=_TPU.value, tpu_zone=_TPU_ZONE.value, tpu_project=_TPU_PROJECT.value
    )
    if several:
        signal.alarm(0)
        # TensorFlow's own handler would swallow a SIGTERM that comes outside training.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return strategy


def _source(config, split, where=None):
    data = config.data
    name, data_dir = (where.name, where.data_dir) if where else (data.name, data.data_dir)
    source = sogclr_tf.sources.from_name(name, split, data_dir, data.features.to_dict())
    return sogclr_tf.sources.readable(source) if data.on_error == "skip" else source


def _has_texts(config):
    """Whether the run is one of images and texts."""
    return "text_encoder" in config


def _evaluation_sets(config, train_source):
    """What to judge on, found before the hours of training; None where nothing is evaluated."""
    if _MODE.value not in ("all", "evaluate"):
        return None
    sets = _sets(config, config.evaluation.data, train_source)
    sogclr_tf.evaluation_run.check(config, sets)
    return sets


def _sets(config, where, train_source):
    """`evaluation_run.Sets` of the data set that a section names, or of the config's own."""
    if not where.name:
        return sogclr_tf.evaluation_run.Sets(train_source, _source(config, config.data.test_split))
    splits = (where.train_split, where.test_split)
    return sogclr_tf.evaluation_run.Sets(*(_source(config, split, where) for split in splits))


def _policies(config):
    """(Policy of view a, of view b)."""
    policy = sogclr_tf.augment.Policy(size=config.data.image_size, **config.augment)
    of_b = {key: value for key, value in config.augment_b.items() if value is not None}
    return policy, dataclasses.replace(policy, **of_b)


def _views(config):
    policy, policy_b = _policies(config)
    return sogclr_tf.data.training_views(
        _source(config, config.data.train_split),
        batch_size=config.batch_size,
        policy=policy,
        policy_b=policy_b,
        seed=config.seed,
        service=config.data.service,
    )


def _probe_stream(config, views, replicas):
    """(the stream that teaches an online probe, the probe); the stream as it is, and None."""
    if not config.monitor.probe_rate:
        return views, None
    own = config.monitor.data
    source = _probe_source(config, views.source)
    if not source.labelled:
        return views, None
    if source.class_names is None:
        _LOG.warning("the classes of %s have no names to count: no online probe", source.name)
        return views, None
    probe = sogclr_tf.OnlineProbe(len(source.class_names), config.monitor.probe_rate)
    if own.name:
        crops = sogclr_tf.evaluation_run.crops(config)
        views = sogclr_tf.probe_stream.with_labelled(views, source, crops, replicas)
    return views, probe


def _probe_source(config, train_source):
    """The labelled images that teach the online probe."""
    own = config.monitor.data
    return _source(config, own.train_split, own) if own.name else train_source


def _encoder(config):
    """A new encoder; the same weights for the same seed."""
    import keras

    keras.utils.set_random_seed(config.seed)
    options = config.encoder.to_dict()
    side = config.data.image_size
    return sogclr_tf.resnet.build_encoder(options.pop("name"), (side, side, 3), **options)


def _model(config, views, strategy, probe=None):
    encoder, objective = _encoder(config), _objective(config, views)
    if _has_texts(config):
        model = image_text_run.model(config, views, encoder, objective)
    else:
        projector = sogclr_tf.projection_head(encoder.output_shape[-1], **config.projector)
        model = sogclr_tf.SogCLR(encoder, objective, projector, probe)
    model.compile(
        optimizer=_optimizer(config, views),
        steps_per_execution=config.steps_per_execution,
        jit_compile=sogclr_tf.strategy.jit_compile(strategy),
    )
    return model


def _objective(config, views):
    loss = config.loss.to_dict()
    name = loss.pop("name")
    # A config speaks of shares of training, an objective of steps.
    steps = config.epochs * views.steps_per_epoch
    loss["gamma_decay_steps"] = round(loss.pop("gamma_decay") * steps)
    # One config serves all objectives of its kind: each takes the keys that are its own.
    wanted = sogclr_tf.objectives.objective_options(name)
    for key in wanted:
        if key not in loss:
            other = "digits" if _has_texts(config) else "emoji_text"
            raise ValueError(
                f"loss '{name}' needs loss.{key}, which this config lacks: see configs/{other}.py"
            )
    options = {key: loss[key] for key in wanted}
    return sogclr_tf.objectives.build_objective(name, views.num_examples, **options)


def _optimizer(config, views):
    settings = config.optimizer
    rate = sogclr_tf.schedules.scaled_learning_rate(
        settings.learning_rate, config.batch_size, settings.scaling
    )
    schedule = sogclr_tf.schedules.warmup_cosine(
        rate,
        total_steps=config.epochs * views.steps_per_epoch,
        warmup_steps=int(settings.warmup_epochs * views.steps_per_epoch),
    )
    return sogclr_tf.optimizers.build_optimizer(settings.name, schedule, settings.weight_decay)


def _set_precision(policy):
    import keras

    policies = ("float32", "mixed_bfloat16", "mixed_float16")
    if policy not in policies:
        raise ValueError(f"unknown precision '{policy}': choose one of {', '.join(policies)}")
    keras.mixed_precision.set_dtype_policy(policy)


def _check_keys(config):
    """Raises ValueError where a config lacks a key, or has one that nothing reads."""
    reference = _reference_of(config)
    expected = set(_flat_keys(_keys_of(config_file(reference))))
    found = set(_flat_keys(config.to_dict()))
    for key in sorted(found - expected):
        raise ValueError(f"the config has an unknown key '{key}': {_valid_keys(key, expected)}")
    for key in sorted(expected - found):
        raise ValueError(f"the config lacks the key '{key}': see configs/{reference} for all keys")


def _reference_of(config):
    """The config of its kind that has every key."""
    return "emoji_text.py" if _has_texts(config) else "digits.py"


def _keys_of(path):
    """A config file's own values, as a dictionary."""
    return runpy.run_path(path)["get_config"]().to_dict()


def _flat_keys(values, prefix=""):
    """Dotted keys; those of an encoder are its own arguments, and checked where it is built."""
    for key, value in values.items():
        if isinstance(value, dict) and f"{prefix}{key}" != "encoder":
            yield from _flat_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _valid_keys(key, expected):
    """The keys beside `key`, or all where its section is unknown too."""
    section = key.rpartition(".")[0]
    beside = [name for name in sorted(expected) if name.rpartition(".")[0] == section]
    return f"choose one of {', '.join(beside or sorted(expected))}"


def _versions():
    import keras
    import tensorflow as tf

    return {
        "sogclr_tf": sogclr_tf.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _environment():
    """What the report says of the machine and its software."""
    import keras
    import tensorflow as tf

    devices = tf.config.list_logical_devices()
    return {
        "sogclr_tf": sogclr_tf.__version__,
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "devices": ", ".join(device.name.removeprefix("/device:") for device in devices),
        "strategy": _STRATEGY.value,
    }


def _parse_flags(argv):
    """absl's parsing, with a default config and the valid keys where a --config.KEY is unknown."""
    argv = _with_config(argv)
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError):
        overrides = [arg.lstrip("-").partition("=")[0] for arg in argv if "config." in arg]
        path = next(arg.partition("=")[2] for arg in argv if re.match("--?config=", arg))
        expected = set(_flat_keys(_keys_of(path)))
        for override in overrides:
            key = override.removeprefix("config.")
            if key.startswith("encoder."):
                raise ValueError(f"this config's encoder has no '{key}' to set") from None
            if key not in expected:
                raise ValueError(
                    f"unknown config key '{key}': {_valid_keys(key, expected)}"
                ) from None
        raise


def _with_config(argv):
    """The arguments with a --config that exists: the default, or one of this project by name."""
    place = next((i for i, arg in enumerate(argv) if re.match("--?config=", arg)), None)
    if place is None:
        return [argv[0], f"--config={config_file('digits.py')}", *argv[1:]]
    path = argv[place].partition("=")[2]
    if pathlib.Path(path).exists():
        return argv
    ours = pathlib.Path(config_file(pathlib.Path(path).name))
    if not ours.exists():
        names = ", ".join(sorted(f"configs/{found.name}" for found in ours.parent.glob("*.py")))
        raise ValueError(f"there is no config '{path}': give a file of your own, or {names}")
    return [*argv[:place], f"--config={ours}", *argv[place + 1 :]]


def _run():
    """Runs `main`; what went wrong in one line, where one line says it."""
    _LOG.setLevel(logging.INFO)
    try:
        app.run(main, flags_parser=_parse_flags)
    except (ValueError, TypeError, OSError, RuntimeError, FloatingPointError) as error:
        message = str(error).strip()
        if "\n" in message:
            raise
        sys.exit(f"error: {message}")
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped: the same command goes on from the last checkpoint\n")
        sys.exit(INTERRUPTED)
    except Exception as error:
        reason = _lost_worker(error)
        if reason is None:
            raise
        sys.exit(
            f"error: the connection to another worker broke ({reason}): start the same command on "
            "every worker again, and it goes on from the last checkpoint"
        )


def _lost_worker(error):
    """What TensorFlow says of a worker that is gone, in a line; None if it is another error."""
    import tensorflow as tf

    if _STRATEGY.value != "multiworker" or not isinstance(error, tf.errors.OpError):
        return None
    said = re.findall(r"aborted by: (.*)", str(error)) or str(error).strip().splitlines()
    return said[0].strip()


if __name__ == "__main__":
    _run()
