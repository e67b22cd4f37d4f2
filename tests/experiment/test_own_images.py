"""The command on images of one's own."""

import pytest
from support.command import SMALL, command
from support.files import write_folder, write_shards, write_table

from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.experiment.folder import RunFolder


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
