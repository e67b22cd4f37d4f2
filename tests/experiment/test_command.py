"""The command, as a user starts it: real processes, real files."""

import csv
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.command import SMALL, command, fresh_command
from support.files import write_folder

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
def test_mirrored_ends_as_one_device_does(finished, tmp_path):
    folder, _ = finished
    process = command(*SMALL, "--strategy=mirrored", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    result = RunFolder(tmp_path / "runs" / "digits").read_result()
    for key in ("steps", "untrained_knn20_top1", "untrained_linear_top1"):
        assert result[key] == folder.read_result()[key]
    for key in ("knn20_top1", "linear_top1"):
        assert abs(result[key] - folder.read_result()[key]) < 0.01


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
