"""What cannot be done is said in one line, before anything is loaded that need not be."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from support.command import SMALL, command

from sogclr_tf.experiment.folder import RunFolder


@pytest.mark.slow(reason="a run of the command, or several")
def test_every_key_of_the_loss_reaches_it(tmp_path):
    loss = ["name=isogclr", "gamma_decay=0.5", "negatives=other", "eta=0.1", "max_temperature=0.25"]
    process = command(
        "--mode=train", *SMALL, *(f"--config.loss.{setting}" for setting in loss), cwd=tmp_path
    )
    assert process.returncode == 0, process.stderr
    folder = RunFolder(tmp_path / "runs" / "digits")
    saved = tf.train.load_checkpoint(str(folder.checkpoints / "step-36"))
    temperatures, counts = [], []
    for name, shape in saved.get_variable_to_shape_map().items():
        if name.startswith("model/contrastive_loss/"):
            value = saved.get_tensor(name)
            (temperatures if shape == [1198] else counts).append(value)
    assert counts == [36]
    assert any(0.2 < table.max() <= np.float32(0.25) for table in temperatures)


class TestOneClearLine:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--config.batch_sise=3"], "unknown config key 'batch_sise': choose one of batch_siz"),
            (["--config.loss.gama=1"], "unknown config key 'loss.gama': choose one of loss.beta"),
            (["--config.encoder.foo=1"], "encoder 'small_resnet' has no option foo"),
            (["--config=nosuch.py"], "or configs/cc12m_fastclip.py, configs/cc3m_fastclip.py"),
            (["--config.batch_size=abc"], "invalid literal for int"),
            (["--config.batch_size=1"], "batch_size is 1"),
            (["--config.batch_size=4096"], "1198 examples, fewer than batch_size 4096"),
            (["--config.loss.temperature=0.0"], "temperature is 0.0: it must be > 0"),
            (["--config.loss.gamma=1.5"], "gamma is 1.5"),
            (["--config.loss.name=moco"], "choose one of clip, dcl, isogclr"),
            (["--config.loss.name=clip"], "does not contrast views: choose one of dcl, isogclr"),
            (["--config.encoder.name=vgg"], "resnet18, resnet34"),
            (["--config.optimizer.name=sgdd"], "lars, sgd, adam"),
            (["--config.optimizer.scaling=cubic"], "sqrt, linear, constant"),
            (["--config.precision=float8"], "choose one of float32, mixed_bfloat16"),
            (["--config.data.name=nosuchset"], "unknown data set 'nosuchset': choose digits"),
            (["--config.data.train_split=validation"], "choose one of train, test"),
            (["--config.data.name=cifar10", "--config.data.data_dir=/no/such"], "does not exist"),
            (["--config.data.name=./nowhere"], "no folder and no file is called './nowhere'"),
            (["--config.data.name=."], "no sub-folder 'train'"),
            (["--config.data.name=/x", "--config.data.data_dir=x"], "names of TFDS sets"),
            (["--config.augment_b.blur=2.0"], "blur is 2.0: a probability is in [0, 1]"),
            (["--strategy=many"], "<one|mirrored|multiworker|tpu>"),
            (["--mode=evaluate"], "train first with --mode=train"),
            (["--strategy=tpu"], "no TPU was found"),
            (["--strategy=multiworker"], "needs TF_CONFIG"),
        ],
    )
    def test_bad_argument(self, arguments, message, tmp_path):
        process = command(*arguments, cwd=tmp_path)
        assert process.returncode != 0
        assert message in process.stderr.replace("\n", " ")
        assert "Traceback" not in process.stderr

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_loss_that_is_not_finite_keeps_the_last_good_checkpoint(self, tmp_path):
        diverge = ["--config.optimizer.name=sgd", "--config.optimizer.learning_rate=1e30"]
        process = command(*SMALL, *diverge, "--config.optimizer.warmup_epochs=1", cwd=tmp_path)
        assert process.returncode == 1
        assert "error: the loss is nan at step" in process.stderr


class TestWithoutTensorFlow:
    def test_help_answers_without_tensorflow(self, tmp_path):
        probe = (
            "import sys; sys.argv = ['run', '--helpshort']\n"
            "from sogclr_tf import run\n"
            "try:\n    run.app.run(run.main, flags_parser=run.command_line.parse_flags)\n"
            "except SystemExit:\n    assert 'tensorflow' not in sys.modules\n"
        )
        process = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, capture_output=True)
        assert process.returncode == 0, process.stderr

    def test_import_names_the_extras(self, tmp_path):
        probe = (
            "import importlib.util as util; find = util.find_spec\n"
            "util.find_spec = lambda name, *a: None if name == 'tensorflow' else find(name, *a)\n"
            "import sogclr_tf"
        )
        process = subprocess.run(
            [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True
        )
        assert process.stderr.splitlines()[-1].endswith(
            '"sogclr_tf[cpu]", "sogclr_tf[gpu]" or "sogclr_tf[tpu]"'
        )

    def test_another_keras_backend_is_named(self, tmp_path):
        process = subprocess.run(
            [sys.executable, "-c", "import sogclr_tf; sogclr_tf.SogCLR"],
            cwd=tmp_path,
            env={**os.environ, "KERAS_BACKEND": "numpy"},
            capture_output=True,
            text=True,
        )
        assert "set KERAS_BACKEND=tensorflow" in process.stderr.splitlines()[-1]


@pytest.mark.slow(reason="an interpreter of its own, since Keras reads its settings once")
def test_channels_first_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first"}')
    process = subprocess.run(
        [sys.executable, "-m", "sogclr_tf.run", "--config.data.name=no-such-folder"],
        cwd=tmp_path,
        env={**os.environ, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith(
        "error: Keras's image_data_format is 'channels_first' (keras.json), but images here are"
    )
