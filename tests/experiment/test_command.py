"""The command, as a user starts it: real processes, real files."""

import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import processes
from support.command import SMALL, command, fresh_command
from support.files import write_folder, write_shards, write_table

from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.experiment.folder import RunFolder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run on the digits, start to end: (folder, process)."""
    cwd = tmp_path_factory.mktemp("run")
    process = fresh_command(*SMALL, "--config.monitor.normalizer_every_epochs=10", cwd=cwd)
    assert process.returncode == 0, process.stderr
    return RunFolder(cwd / "runs" / "digits"), process


class TestWholeRun:
    def test_every_file_is_there(self, finished):
        folder, _ = finished
        names = {path.name for path in folder.plots.iterdir()}
        assert names == {
            "views.png",
            "curves.png",
            "embedding.png",
            "log_u.png",
            "neighbors.png",
            "normalizer.png",
        }
        assert (folder.path / "config.json").exists()
        assert list(folder.events.rglob("events.out.tfevents*"))
        assert list(folder.checkpoints.glob("*.index"))
        assert (folder.saved_model / "36" / "saved_model.pb").exists()
        assert not list(folder.path.glob(".*"))
        assert not folder.lock.exists()

    def test_result(self, finished):
        folder, _ = finished
        result = json.loads(folder.result.read_text())
        assert result["steps"] == 36
        assert result["num_examples"] == 1198
        assert result["examples_per_second"] > 0
        assert result["versions"]["tensorflow"] == tf.__version__
        for key in ("knn20_top1", "knn200_top1", "linear_top1"):
            assert 0.4 < result[key] <= 1
            assert 0.4 < result[f"untrained_{key}"] <= 1
        assert result["linear_top1"] < result["linear_top5"]
        assert 0 < result["alignment"] < 4
        assert -4 < result["uniformity"] < 0

    def test_metrics_have_a_row_per_epoch(self, finished):
        folder, _ = finished
        with folder.metrics.open() as file:
            rows = list(csv.DictReader(file))
        assert [row["epoch"] for row in rows] == ["0", "1"]
        every_epoch = {
            *("loss", "contrast_accuracy", "alignment", "uniformity", "feature_std"),
            *("probe_accuracy", "learning_rate", "examples_per_second"),
        }
        assert all(float(row[name]) is not None for row in rows for name in every_epoch)
        # Measured every ten epochs, and at the end.
        for name in ("knn_top1", "probe_top1"):
            assert rows[0][name] == ""
            assert 0.05 < float(rows[1][name]) <= 1
        measured = folder.measured_normalizer()
        assert (measured.compared + measured.never_visited, measured.step) == (1198, 36)
        for name, value in measured.figures().items():
            assert rows[0][name] == ""
            assert float(rows[1][name]) == value
        # 46 of 1198 examples are left out of each epoch; none of the second's are older.
        assert (
            np.unique(measured.age[measured.age < 18], return_counts=True)[1].tolist() == [64] * 18
        )

    def test_the_report_shows_the_run(self, finished):
        folder, process = finished
        page = folder.report.read_text()
        parts = ("Numbers", "Curves", "Embedding", "Nearest neighbors", "Confusion")
        for part in (*parts, "Error of the estimates of g"):
            assert f">{part}</h2>" in page
        assert "--config.epochs=2" in page
        assert "report.html" in process.stdout

    def test_progress_and_closing_table_are_shown(self, finished):
        folder, process = finished
        opening = process.stdout.partition("\n\n")[0].splitlines()
        assert opening[0] == "data       digits[train]: 1,198 images, 10 classes"
        assert opening[-1] == "writes to  runs/digits"
        assert "Epoch 2/2  loss " in process.stdout
        assert "contrast_accuracy 0." in process.stdout
        table = process.stdout.rpartition("Epoch 2/2")[2]
        for word in ("untrained", "kNN of 20, top-1", "linear probe", "36 steps", "result.json"):
            assert word in table

    def test_export_serves_the_trained_encoder(self, finished):
        folder, _ = finished
        served = tf.saved_model.load(str(folder.saved_model / "36")).signatures["serving_default"]
        features = served(images=tf.zeros([3, 16, 16, 3]))["features"]
        assert features.shape == (3, 16)

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_started_again_it_keeps_what_is_there(self, finished):
        folder, _ = finished
        metrics, version = folder.metrics.read_bytes(), folder.saved_model / "36"
        exported = version.stat().st_mtime_ns
        process = command(*SMALL, cwd=folder.path.parents[1])
        assert process.returncode == 0, process.stderr
        assert "resumed at step 36" in process.stderr
        assert folder.metrics.read_bytes() == metrics
        assert version.stat().st_mtime_ns == exported

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_the_first_step_does_not_wait_for_the_picture_of_the_views(self, tmp_path):
        saving = ["--config.checkpoint.every_steps=1", "--config.checkpoint.keep=99"]
        process = command(*SMALL, *saving, "--mode=train", "--workdir=run", "--quiet", cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert (process.stdout[:12], process.stderr) == ("\nrun        ", "")
        names = ("checkpoints/step-1.index", "plots/views.png", "checkpoints/step-2.index")
        written = [(tmp_path / "run" / name).stat().st_mtime_ns for name in names]
        assert written == sorted(written)

    def test_another_config_is_refused_and_names_the_key(self, finished):
        folder, _ = finished
        process = fresh_command(*SMALL, "--config.batch_size=32", cwd=folder.path.parents[1])
        assert process.returncode == 1
        (said,) = process.stderr.splitlines()
        assert "holds a run with batch_size=64, but this one has 32" in said


@pytest.mark.slow(reason="a run of the command, or several")
def test_sigterm_saves_and_exits_with_a_status_of_its_own(tmp_path):
    arguments = [
        "--mode=train",
        *SMALL,
        "--config.epochs=1000",
        "--config.checkpoint.every_steps=5",
    ]
    process = processes.Process("-m", "sogclr_tf.run", *arguments, cwd=tmp_path)
    folder = tmp_path / "runs" / "digits" / "checkpoints"
    while not list(folder.glob("*.index")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 75
    step = re.search(r"stopped by SIGTERM at step (\d+), which is saved", errors)[1]
    assert (folder / f"step-{step}.index").exists()
    assert not (folder.parent / "run.lock").exists()


@pytest.mark.slow(reason="two runs of the command")
def test_killed_it_goes_on_from_the_last_checkpoint(tmp_path):
    """A real process, and a real kill; what comes of many is in `tests/tools/test_soak.py`."""
    arguments = ["--mode=train", *SMALL, "--config.checkpoint.every_steps=2"]
    folder = tmp_path / "runs" / "digits" / "checkpoints"
    process = processes.Process("-m", "sogclr_tf.run", *arguments, cwd=tmp_path)
    while len(list(folder.glob("*.index"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    # Asleep it is alive, and does not end before the second one has started.
    process.send_signal(signal.SIGSTOP)
    second = command("--mode=evaluate", *SMALL, cwd=tmp_path)
    assert second.returncode == 1
    assert f"error: runs/digits is in use by process {process.pid} on " in second.stderr
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "runs" / "digits" / "run.lock").exists()
    again = command(*arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    step = int(re.search(r"resumed at step (\d+)", again.stderr)[1])
    assert 4 <= step < 36
    rows = (tmp_path / "runs" / "digits" / "metrics.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1"]


@pytest.mark.slow(reason="a run is trained first")
def test_another_number_of_examples_is_refused(finished, tmp_path):
    """The data set of a name may have grown since the run began."""
    folder, _ = finished
    stored = tmp_path / "runs" / "digits" / "config.json"
    stored.parent.mkdir(parents=True)
    before = (folder.path / "config.json").read_text()
    stored.write_text(before.replace('"num_examples": 1198', '"num_examples": 1197'))
    process = command("--mode=train", *SMALL, cwd=tmp_path)
    assert process.returncode == 1
    assert "holds a run with num_examples=1197, but this one has 1198" in process.stderr


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


@pytest.mark.slow(reason="a run of the command, or several")
def test_mirrored_ends_as_one_device_does(finished, tmp_path):
    folder, _ = finished
    process = command(*SMALL, "--strategy=mirrored", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    result = RunFolder(tmp_path / "runs" / "digits").read_result()
    for key in ("steps", "untrained_knn20_top1", "untrained_linear_top1"):
        assert result[key] == folder.read_result()[key]
    for key in ("knn20_top1", "linear_top1"):
        assert abs(result[key] - folder.read_result()[key]) < 0.01


class TestOwnImages:
    """Digits written out as files, trained on by their path alone."""

    QUICK = [*SMALL, "--config.epochs=1", "--config.batch_size=32"]

    @pytest.fixture(scope="class")
    def pictures(self):
        train = digits("train").images_and_labels()
        test = digits("test").images_and_labels()
        return {
            split: ([image.numpy() for image in images.take(200)], labels[:200])
            for split, (images, labels) in (("train", train), ("test", test))
        }

    def result(self, *arguments, cwd):
        process = command(*self.QUICK, *arguments, cwd=cwd)
        assert process.returncode == 0, process.stderr
        return RunFolder(cwd / "runs" / "digits").read_result()

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_a_folder_with_splits(self, pictures, tmp_path):
        for split, (images, labels) in pictures.items():
            write_folder(tmp_path / "mine" / split, images, labels)
        result = self.result("--config.data.name=./mine", cwd=tmp_path)
        assert (result["num_examples"], result["steps"]) == (200, 6)
        # Six steps teach little, but chance is 10%.
        assert result["knn20_top1"] > 0.25

    @pytest.mark.slow(reason="runs of the command")
    def test_a_table_with_splits(self, pictures, tmp_path):
        """Trained on one split, evaluated on the other, exported."""
        columns = {"path": [], "label": [], "split": []}
        for split, (images, labels) in pictures.items():
            write_folder(tmp_path / split, images)
            columns["path"] += [f"{split}/{k:05}.png" for k in range(len(images))]
            columns["label"] += [f"digit {label}" for label in labels]
            columns["split"] += [split] * len(images)
        write_table(tmp_path / "labels.csv", **columns)
        name = "--config.data.name=./labels.csv"
        result = self.result(name, cwd=tmp_path)
        assert (result["num_examples"], result["steps"]) == (200, 6)
        assert result["knn20_top1"] > 0.25
        folder = RunFolder(tmp_path / "runs" / "digits")
        assert (folder.saved_model / "6" / "saved_model.pb").exists()
        assert folder.report.exists()
        for split, told in (("val", "no row of split 'val', only "), (".", "")):
            process = command(
                *self.QUICK,
                *(name, f"--config.data.test_split={split}", "--mode=evaluate"),
                cwd=tmp_path,
            )
            assert process.returncode == (1 if told else 0), process.stderr
            assert told in process.stderr
        (tmp_path / "train" / "00007.png").unlink()
        process = command(*self.QUICK, name, "--workdir=other", cwd=tmp_path)
        assert process.returncode == 1
        assert "error: line 9 of ./labels.csv names an image that cannot" in process.stderr

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_tfrecords_with_names_of_their_own(self, pictures, tmp_path):
        write_shards(tmp_path / "train", *pictures["train"], ids=range(200))
        names = ["--config.data.name=./{split}/part-*", "--config.data.features.index=id"]
        result = self.result("--mode=train", *names, cwd=tmp_path)
        assert (result["num_examples"], result["steps"]) == (200, 6)

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_images_without_labels(self, pictures, tmp_path):
        for split, (images, _) in pictures.items():
            write_folder(tmp_path / "mine" / split, images)
        result = self.result("--config.data.name=./mine", cwd=tmp_path)
        assert {"alignment", "uniformity"} <= set(result)
        assert not any("top1" in key for key in result)
        folder = RunFolder(tmp_path / "runs" / "digits")
        assert (folder.plots / "neighbors.png").exists()
        assert "Nearest neighbors" in folder.report.read_text()
        labeled = ["--mode=evaluate", "--config.evaluation.fine_tune=(100,)"]
        process = command(*self.QUICK, "--config.data.name=./mine", *labeled, cwd=tmp_path)
        assert process.returncode == 1
        assert "has no labels: give labeled images in evaluation.data" in process.stderr
        # Unlabeled images to learn from, labeled ones of another set to watch and to evaluate on.
        other = [f"--config.{part}.data.name=digits" for part in ("monitor", "evaluation")]
        process = command(
            *self.QUICK, "--config.data.name=./mine", *other, "--workdir=watched", cwd=tmp_path
        )
        assert process.returncode == 0, process.stderr
        folder = RunFolder(tmp_path / "watched")
        assert folder.read_result()["transfer"]["digits"]["linear_top1"] > 0.25
        assert {"probe_accuracy", "probe_top1", "knn_top1"} <= set(folder.history())

    @pytest.mark.slow(reason="a run of the command")
    def test_a_damaged_image_to_watch_with_is_named(self, pictures, tmp_path):
        for split, (images, labels) in pictures.items():
            write_folder(tmp_path / "mine" / split, images, labels)
        damaged = sorted((tmp_path / "mine" / "test").rglob("*.png"))[0]
        damaged.write_bytes(damaged.read_bytes()[:60])
        watched = ["--mode=train", "--config.monitor.every_epochs=1"]
        process = command(*self.QUICK, "--config.data.name=./mine", *watched, cwd=tmp_path)
        assert process.returncode == 1
        assert process.stderr.splitlines()[-1].startswith("error: ")
        assert f"{damaged.name} (index 0) cannot be decoded: its PNG data" in process.stderr

    def test_other_classes_to_test_with_are_refused(self, pictures, tmp_path):
        images, labels = pictures["train"]
        write_folder(tmp_path / "mine" / "train", images, labels)
        write_folder(tmp_path / "mine" / "test", images[:50], labels[:50] // 2)
        process = command(*self.QUICK, "--config.data.name=./mine", cwd=tmp_path)
        assert process.returncode == 1
        assert "have other classes, so their labels mean different things" in process.stderr
        assert not (tmp_path / "runs" / "digits" / "checkpoints").exists()


class TestEvaluate:
    """--mode=evaluate on what a run left."""

    def evaluated(self, finished, *arguments, cwd):
        folder, _ = finished
        path = folder.path.parents[1]
        return command("--mode=evaluate", *SMALL, *arguments, cwd=cwd or path)

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_any_encoder_scores_as_in_its_run(self, finished, tmp_path):
        """A SavedModel and a checkpoint, each alone in a folder of its own."""
        folder, _ = finished
        for name in ("saved_model", "checkpoints"):
            process = self.evaluated(
                finished, f"--encoder={folder.path / name}", f"--workdir={name}", cwd=tmp_path
            )
            assert process.returncode == 0, process.stderr
            result = RunFolder(tmp_path / name).read_result()
            for key, value in result.items():
                assert value == pytest.approx(folder.read_result()[key], abs=0.002), key
            assert (tmp_path / name / "report.html").exists()

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_transfer_and_fine_tuning_stand_beside_the_scores(self, finished, tmp_path):
        folder, _ = finished
        images, labels = digits("test").images_and_labels()
        pictures = [image.numpy() for image in images.take(120)]
        for split in ("train", "test"):
            write_folder(tmp_path / "other" / split, pictures, labels[:120] // 5)
        before = folder.read_result()
        process = self.evaluated(
            finished,
            f"--config.evaluation.data.name={tmp_path / 'other'}",
            "--config.evaluation.fine_tune=(50,)",
            "--config.evaluation.linear=sgd",
            "--config.evaluation.linear_epochs=5",
            cwd=None,
        )
        assert process.returncode == 0, process.stderr
        result = folder.read_result()
        (scores,) = result.pop("transfer").values()
        assert result == before
        assert {"knn20_top1", "linear_top1", "fine_tuned_50_top1"} <= set(scores)
        assert "fine-tuned on 50%, top-1" in process.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--config.encoder.widths=(8,12)"], "give the config it was made with"),
            (["--config.evaluation.fine_tune=(0.1,)"], "is none: take more than"),
            (["--config.evaluation.linear=svm"], "choose lbfgs, sgd or none"),
        ],
    )
    def test_one_clear_line(self, finished, arguments, message, tmp_path):
        folder, _ = finished
        process = self.evaluated(
            finished, f"--encoder={folder.checkpoints}", "--workdir=x", *arguments, cwd=tmp_path
        )
        assert process.returncode == 1
        assert message in process.stderr.replace("\n", " ")
        assert "Traceback" not in process.stderr

    def test_an_encoder_is_for_evaluation_or_export(self, tmp_path):
        process = command("--encoder=x", cwd=tmp_path)
        assert "--encoder goes with --mode=evaluate or export, not with" in process.stderr


class TestExport:
    """What a run exports, and --mode=export of an encoder from elsewhere."""

    def test_it_classifies_as_well_as_the_result_says(self, finished):
        folder, _ = finished
        served = tf.saved_model.load(str(folder.saved_model / "36"))
        images, labels = digits("test").images_and_labels()
        files = tf.stack([tf.io.encode_png(image) for image in images])
        answer = served.signatures["classify_bytes"](image_bytes=files)["probabilities"]
        top1 = np.mean(answer.numpy().argmax(1) == labels)
        assert top1 == pytest.approx(folder.read_result()["linear_top1"], abs=1e-4)
        names = pathlib.Path(served.class_names.asset_path.numpy().decode())
        assert names.read_text().split() == [str(digit) for digit in range(10)]
        assert "projections" in served.signatures

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_a_checkpoint_in_other_forms(self, finished, tmp_path):
        folder, _ = finished
        process = command(
            *("--mode=export", *SMALL, f"--encoder={folder.checkpoints / 'step-18'}"),
            *("--config.export.weights=bfloat16", "--config.export.tflite=True"),
            "--workdir=served",
            cwd=tmp_path,
        )
        assert process.returncode == 0, process.stderr
        served = RunFolder(tmp_path / "served")
        assert [entry.name for entry in served.saved_model.iterdir()] == ["1"]
        loaded = tf.saved_model.load(str(served.saved_model / "1"))
        assert set(loaded.signatures) == {"serving_default", "serving_bytes"}
        assert loaded.variables[0].dtype == tf.bfloat16
        images = np.random.default_rng(0).random((2, 16, 16, 3)).astype(np.float32)
        run_lite = tf.lite.Interpreter(str(served.tflite_file)).get_signature_runner()
        features = keras.models.load_model(served.keras_file)(images)
        for found in (loaded(images), run_lite(images=images)["features"]):
            np.testing.assert_allclose(found, features, atol=0.05 * np.abs(features).max())

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--encoder={}/saved_model"], "is exported already: serve it, or name a checkpoint"),
            (["--config.export.weights=int8"], "unknown export.weights 'int8': choose one of flo"),
            (["--config.export.keep=-1"], "export.keep is -1: give a number from 1, or 0 to keep"),
            (["--config.export.warmup=(0,)"], "export.warmup is (0,): give batch sizes from 1"),
        ],
    )
    def test_one_clear_line(self, finished, arguments, message, tmp_path):
        folder, _ = finished
        arguments = [argument.format(folder.path) for argument in arguments]
        process = command("--mode=export", *SMALL, *arguments, cwd=tmp_path)
        assert process.returncode == 1
        assert message in process.stderr.replace("\n", " ")
        assert "Traceback" not in process.stderr


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


class TestOtherExamples:
    """A run whose training images came, went or were renamed."""

    ARGUMENTS = (
        *(*SMALL, "--mode=train", "--config.data.name=./mine", "--config.data.image_size=16"),
        *("--config.batch_size=16", "--workdir=run"),
    )

    def run(self, cwd, *arguments):
        return command(*self.ARGUMENTS, *arguments, cwd=cwd)

    def rows(self, cwd, step):
        """{file: its row of the table}, by what the checkpoint holds and the folder has."""
        key = "model/contrastive_loss/_table/.ATTRIBUTES/VARIABLE_VALUE"
        table = tf.train.load_variable(str(cwd / "run" / "checkpoints" / f"step-{step}"), key)
        names = sorted(path.name for path in (cwd / "mine" / "train").iterdir())
        return dict(zip(names, table.tolist(), strict=True))

    @pytest.mark.slow(reason="a run of the command, or several")
    def test_are_refused_by_name_and_grow(self, tmp_path):
        images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 3), np.uint8)
        train = write_folder(tmp_path / "mine" / "train", images[:40])
        write_folder(tmp_path / "mine" / "test", images[:4])
        assert self.run(tmp_path).returncode == 0
        before = self.rows(tmp_path, 4)
        (train / "00003.png").rename(train / "later.png")
        config = (tmp_path / "run" / "config.json").read_bytes()
        process = self.run(tmp_path)
        assert process.returncode == 1
        said = process.stderr.splitlines()[-1]
        assert "example 3 was '00003.png' and is '00004.png' now (1 new, 1 gone, 36 at" in said
        assert "with --grow" in said
        assert (tmp_path / "run" / "config.json").read_bytes() == config

        process = self.run(tmp_path, "--grow")
        assert process.returncode == 0, process.stderr
        assert "1 of 40 examples are new, 1 are gone" in process.stderr
        after = self.rows(tmp_path, 4)
        assert after.pop("later.png") == -np.inf
        del before["00003.png"]
        assert after == before
        assert self.run(tmp_path).returncode == 0

        # As many more as make longer epochs: the run has its two behind it all the same.
        for place, name in enumerate(["-first.png", *(f"x{k}.png" for k in range(9))]):
            (train / name).write_bytes(tf.io.encode_png(images[40 + place]).numpy())
        process = self.run(tmp_path)
        assert process.returncode == 1
        assert "example 0 was '00000.png' and is '-first.png' now" in process.stderr
        process = self.run(tmp_path, "--grow")
        assert process.returncode == 0, process.stderr
        result = RunFolder(tmp_path / "run").read_result()
        assert (result["num_examples"], result["steps"]) == (50, 4)
        rows = self.rows(tmp_path, 4)
        assert {name: rows.pop(name) for name in after} == after
        assert len(rows) == 11
        assert set(rows.values()) == {-np.inf}


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
