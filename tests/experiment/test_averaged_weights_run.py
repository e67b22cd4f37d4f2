"""Runs that average the encoder's weights: all that reads an encoder afterwards reads one."""

import re
import shutil
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import processes
from support.command import SMALL, command
from support.exhaustive import exhaustive
from support.numerics import assert_all_close

from sogclr_tf import load_encoder
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.evaluation.features import extract_features
from sogclr_tf.experiment import build
from sogclr_tf.experiment.config import config_of_file, recipe_path
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.image_task import ImageTask
from sogclr_tf.training.strategy import build_strategy

EMA = 0.9
AVERAGED = [*SMALL, f"--config.optimizer.ema={EMA}", "--config.monitor.every_epochs=1"]
STEPS = 36
of_a_run = pytest.mark.slow(reason="runs of the command")


def config():
    """The config of `AVERAGED`."""
    found = config_of_file(recipe_path("digits.py"))
    found.epochs, found.encoder.widths = 2, (8, 16)
    found.optimizer.warmup_epochs, found.optimizer.ema = 0.5, EMA
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of two epochs, from start to end."""
    cwd = tmp_path_factory.mktemp("run")
    process = command(*AVERAGED, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return RunFolder(cwd / "runs" / "digits")


def of_checkpoint(folder):
    return load_encoder(folder.path, build.encoder(config()))


def of_keras_file(folder):
    return load_encoder(folder.path / "encoder.keras")


def as_bytes(encoder):
    return [np.asarray(weight).tobytes() for weight in encoder.weights]


def state(folder):
    """{name: bytes} of everything in the newest checkpoint: weights, averages, table, optimizer."""
    reader = tf.train.load_checkpoint(str(folder.checkpoints / f"step-{STEPS}"))
    names = reader.get_variable_to_shape_map()
    # But for TensorFlow's own notes.
    kept = [name for name in names if name.startswith(("model/", "means/"))]
    assert len(kept) > 40
    return {name: np.asarray(reader.get_tensor(name)).tobytes() for name in kept}


@of_a_run
def test_what_is_exported_is_what_is_restored(finished):
    kept = as_bytes(of_keras_file(finished))
    assert as_bytes(of_checkpoint(finished)) == kept
    images, _ = evaluation_set(digits("test"), 16)
    of_file = extract_features(of_keras_file(finished), images)
    served = extract_features(load_encoder(finished.saved_model), images)
    np.testing.assert_array_equal(served, of_file)


@of_a_run
def test_it_is_the_average_of_the_weights_of_every_step(finished):
    """By a loop, over the weights of a training in this process."""
    keras.utils.clear_session()
    task = ImageTask(config(), "train")
    built = task.compiled_model(build_strategy("one"))
    average, last = [], []

    def follow(batch, logs):  # noqa: ARG001
        last[:] = [weight.numpy() for weight in built.encoder.trainable_weights]
        pairs = zip(average or last, last, strict=True)
        average[:] = [EMA * old + (1 - EMA) * new for old, new in pairs]

    every_step = keras.callbacks.LambdaCallback(on_train_batch_end=follow)
    built.fit(task.stream, epochs=2, callbacks=[every_step], verbose=0)
    exported = of_keras_file(finished).trainable_weights
    assert_all_close(exported, average, terms=STEPS)
    with pytest.raises(AssertionError, match="Not equal"):
        assert_all_close(exported, last, terms=STEPS)


@of_a_run
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(finished, tmp_path):
    """Killed in the middle of an epoch, a real process."""
    arguments = ["--config.checkpoint.every_epochs=9", "--config.checkpoint.every_steps=5"]
    folder = RunFolder(tmp_path / "runs" / "digits")
    process = processes.Process("-m", "sogclr_tf.run", *AVERAGED, *arguments, cwd=tmp_path)
    while not list(folder.checkpoints.glob("*.index")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    again = command(*AVERAGED, *arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    step = int(re.search(r"resumed at step (\d+)", again.stderr)[1])
    assert 5 <= step < STEPS
    assert step % 18
    assert state(folder) == state(finished)
    assert as_bytes(of_keras_file(folder)) == as_bytes(of_keras_file(finished))
    for column in ("knn_top1", "probe_top1", "probe_accuracy", "loss"):
        assert folder.history()[column][-1] == finished.history()[column][-1]
    assert scores(folder) == scores(finished)


def scores(folder):
    return {key: value for key, value in folder.read_result().items() if "top" in key}


@of_a_run
@pytest.mark.parametrize("mode", ["all", *exhaustive([], ["evaluate", "export"])])
def test_a_later_command_reads_the_same(finished, tmp_path, mode):
    """Of a folder with nothing but the config and the checkpoints."""
    folder = RunFolder(tmp_path / "runs" / "digits")
    shutil.copytree(finished.checkpoints, folder.checkpoints)
    shutil.copy(finished.path / "config.json", folder.path)
    process = command(f"--mode={mode}", *AVERAGED, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    if mode != "export":
        assert scores(folder) == scores(finished)
        ours, theirs = (np.load(one.path / "linear_probe.npz") for one in (folder, finished))
        assert sorted(ours) == sorted(theirs)
        for name in set(ours) - {"owner"}:
            np.testing.assert_array_equal(ours[name], theirs[name])
    if mode != "evaluate":
        assert as_bytes(of_keras_file(folder)) == as_bytes(of_keras_file(finished))
    assert state(folder) == state(finished)


@of_a_run
def test_the_encoder_of_a_checkpoint_scores_as_its_run(finished, tmp_path):
    encoder = f"--encoder={finished.path}"
    process = command("--mode=evaluate", *AVERAGED, encoder, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    found = scores(RunFolder(tmp_path / "runs" / "digits"))
    assert found
    assert found.items() <= scores(finished).items()


def test_a_share_out_of_range_is_told_before_anything_else(tmp_path):
    process = command("--config.optimizer.ema=1.0", "--config.data.name=nowhere", cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr.strip().splitlines()[-1] == (
        "error: optimizer.ema is 1.0: give a number in [0, 1), such as 0.999, or 0 for no average"
    )


@of_a_run
def test_two_towers(emoji_dir, tmp_path):
    """Recall, classes by their names, and both exported towers."""
    arguments = [
        *("--config=configs/emoji_text.py", "--config.epochs=2", f"--config.optimizer.ema={EMA}"),
        *("--config.optimizer.warmup_epochs=0.5", "--config.data.train_split=train[:20%]"),
        f"--config.data.data_dir={emoji_dir}",
    ]
    process = command(*arguments, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    folder = RunFolder(tmp_path / "runs" / "emoji_text")
    result, towers = folder.read_result(), served_variables(folder)
    folder.result.unlink()
    shutil.rmtree(folder.saved_model)
    for mode in ("evaluate", "export"):
        process = command(f"--mode={mode}", *arguments, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
    again = folder.read_result()
    assert {"text_to_image_recall10", "zero_shot_top1"} <= set(again)
    assert {key: result[key] for key in again} == again
    assert served_variables(folder) == towers
    weights = load_encoder(folder.path, build.encoder(emoji_config())).trainable_weights
    assert {np.asarray(weight).tobytes() for weight in weights} <= towers["image"]


def emoji_config():
    return config_of_file(recipe_path("emoji_text.py"))


def served_variables(folder):
    """{side: the bytes of every variable} of both exported towers."""
    found = {}
    for side in ("image", "text"):
        loaded = tf.saved_model.load(str(folder.saved_model / side / "20"))
        variables = loaded.signatures["serving_default"].variables
        found[side] = {np.asarray(variable).tobytes() for variable in variables}
        assert len(found[side]) > 3
    return found
