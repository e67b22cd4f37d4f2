"""Pre-training that starts from the weights of an encoder."""

import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
from support.command import SMALL, command
from support.files import write_folder, write_table
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import load_encoder
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.experiment import build
from sogclr_tf.experiment.config import check_config, config_of_file, recipe_path
from sogclr_tf.experiment.encoder_file import read_start
from sogclr_tf.experiment.folder import RunFolder, write_json
from sogclr_tf.experiment.image_task import ImageTask

of_a_run = pytest.mark.slow(reason="a run of the command, or several")
of_resnets = pytest.mark.slow(reason="several ResNets are built")
ONE = tf.distribute.get_strategy()


def config_of(weights="", **settings):
    """The recipe of the digits, with a small network."""
    config = config_of_file(recipe_path("digits.py"))
    config.encoder.widths, config.encoder.weights = (4, 6), str(weights)
    config.update_from_flattened_dict(settings)
    return config


def values(encoder):
    return [weight.numpy() for weight in encoder.weights]


def assert_same_weights(encoder, other):
    for mine, theirs in zip(values(encoder), values(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def knn(encoder):
    """(features of the test digits, their top-1 by 20 neighbors among the training digits)."""
    sets = [evaluation_set(digits(split), 16) for split in ("train", "test")]
    features = [sogclr_tf.extract_features(encoder, images) for images, _ in sets]
    labels = [labels for _, labels in sets]
    guessed = sogclr_tf.knn_predict(features[0], labels[0], features[1], k=20, num_classes=10)
    return features[1], float(np.mean(guessed == labels[1]))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """(path of a `.keras` file of an encoder that config_of's fits, that encoder)."""
    encoder = build.encoder(config_of(seed=5))
    return sogclr_tf.export_keras(
        encoder, tmp_path_factory.mktemp("other") / "other.keras"
    ), encoder


class TestStart:
    def test_on_other_data_with_a_new_table(self, other, tmp_path):
        path, encoder = other
        images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), np.uint8)
        write_folder(tmp_path / "mine" / "train", images)
        config = config_of(path, **{"data.name": str(tmp_path / "mine")})
        start = read_start(config, RunFolder(tmp_path / "run"), ONE)
        task = ImageTask(config, "train")
        model = task.compiled_model(ONE)
        start.assign(task.image_encoder(model))
        assert_same_weights(model.encoder, encoder)
        assert np.asarray(model.contrastive_loss.log_u).tolist() == [-np.inf] * 70

    def test_of_images_with_texts(self, other):
        path, encoder = other
        config = config_of(path, **{"data.text": "caption", "loss.name": "two_way"})
        start = read_start(config, RunFolder(path.parent / "run"), ONE)
        pairs = types.SimpleNamespace(num_examples=8, steps_per_epoch=1)
        model = build.image_text_model(config, pairs, ["", "[UNK]", "cat"])
        start.assign(model.image_encoder)
        assert_same_weights(model.image_encoder, encoder)

    def test_where_there_is_none(self, tmp_path):
        assert read_start(config_of(), RunFolder(tmp_path), ONE) is None
        config = config_of()
        # As recipes do that put a dictionary of their own in its place.
        del config.encoder.weights
        check_config(config)
        assert read_start(config, RunFolder(tmp_path), ONE) is None

    def test_a_checkpoint_comes_first(self, tmp_path):
        folder = RunFolder(tmp_path)
        folder.checkpoints.mkdir()
        (folder.checkpoints / "step-0.index").touch()
        assert read_start(config_of("nowhere"), folder, ONE) is None

    def test_a_folder_from_before_there_was_the_key(self, tmp_path):
        config, default = config_of().to_dict(), config_of().to_dict()
        RunFolder(tmp_path).claim(config, defaults=default)
        del config["encoder"]["weights"]
        write_json(tmp_path / "config.json", config)
        for weights in ("", None):
            now = config_of(weights).to_dict()
            if weights is None:
                del now["encoder"]["weights"]
            RunFolder(tmp_path).claim(now, defaults=default)
        with pytest.raises(ValueError, match=r"run with encoder\.weights=, but this one has x"):
            RunFolder(tmp_path).claim(config_of("x").to_dict(), defaults=default)


class TestMisfits:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"encoder.widths": (4, 7)}, r"15 of another shape: .*: give the --config"),
            ({"encoder.widths": (4,)}, r"15 left over: .*: give the --config.encoder.name"),
            ({"data.channels": 1}, "takes images of 3 channels.* give --config.data.channels=3"),
            ({"data.image_size": 32}, "of 16 x 16,.*image_size=16,16, or the path of a run's fol"),
        ],
    )
    def test_of_a_keras_file(self, other, settings, message):
        path, _ = other
        config = config_of(path, **settings)
        with pytest.raises(ValueError, match=message) as caught:
            read_start(config, RunFolder(path.parent / "run"), ONE)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_files_without_an_encoder(self, tmp_path):
        text = tmp_path / "notes.txt"
        text.write_text("no weights")
        (tmp_path / "notes.keras").write_text("no weights")
        for name, message in (
            ("notes.txt", "notes.txt holds no encoder: expected a run folder"),
            ("notes.keras", "notes.keras cannot be read .*: save the model again"),
            ("nothing", "nothing does not exist: expected a run folder"),
        ):
            with pytest.raises(ValueError, match=message) as caught:
                read_start(config_of(tmp_path / name), RunFolder(tmp_path / "run"), ONE)
            assert "\n" not in str(caught.value)

    @of_resnets
    @pytest.mark.parametrize("kind", ["checkpoints", "encoder.keras"])
    def test_the_same_arrays_of_another_padding(self, tmp_path, kind):
        """Of a run's folder the config beside the checkpoints says what differs."""
        resnet = {"encoder.name": "resnet18", "encoder.stem": "cifar"}
        theirs = config_of(**resnet)
        del theirs.encoder["widths"], theirs.encoder["blocks_per_stage"]
        del theirs.encoder["stem_stride"]
        mine = theirs.copy_and_resolve_references()
        theirs.encoder.padding = "symmetric"
        encoder = build.encoder(theirs)
        for weight in encoder.weights:
            # At 0, as before training, no residual would count, and with it no padding.
            if weight.name == "gamma":
                weight.assign(tf.ones_like(weight))
        if kind == "encoder.keras":
            sogclr_tf.export_keras(encoder, tmp_path / kind)
        else:
            write_json(tmp_path / "config.json", theirs.to_dict())
            model = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
            model.compile(optimizer="sgd")
            sogclr_tf.Checkpoints(model, tmp_path / kind).save()
        mine.encoder.weights = str(tmp_path / kind)
        with pytest.raises(ValueError, match="but is another network") as caught:
            read_start(mine, RunFolder(tmp_path / "run"), ONE)
        way = "the options that it was made with, such as --config.encoder.padding"
        if kind == "checkpoints":
            way = "made with encoder.padding=symmetric, but this config has encoder.padding=its def"
        assert way in str(caught.value)
        assert "\n" not in str(caught.value)
        mine.encoder.padding = "symmetric"
        if kind == "checkpoints":
            mine.data.image_size = 24  # which a file of one size would not fit
        start = read_start(mine, RunFolder(tmp_path / "run"), ONE)
        assert len(start.values) == len(encoder.weights)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a small run on the digits, start to end."""
    cwd = tmp_path_factory.mktemp("run")
    process = command(*SMALL, "--workdir=first", cwd=cwd)
    assert process.returncode == 0, process.stderr
    return cwd / "first"


@of_a_run
class TestRuns:
    @pytest.mark.parametrize("name", ["", "checkpoints", "encoder.keras", "saved_model"])
    def test_before_the_first_step_it_is_that_encoder(self, finished, name, tmp_path):
        settings = {"encoder.widths": (8, 16)}
        source = load_encoder(finished / name, build.encoder(config_of(**settings)))
        config = config_of(finished / name, **settings)
        start = read_start(config, RunFolder(tmp_path), ONE)
        task = ImageTask(config, "train")
        model = task.compiled_model(ONE)
        _, untrained = knn(model.encoder)
        start.assign(task.image_encoder(model))
        features, top1 = knn(model.encoder)
        expected, wanted = knn(source)
        assert_close(features, expected)
        assert top1 == wanted != untrained
        assert round(top1, 4) == RunFolder(finished).read_result()["knn20_top1"]

    def test_another_run(self, finished, tmp_path):
        """It says where it started, and needs the file no more once it has a checkpoint."""
        shutil.copytree(finished / "saved_model", tmp_path / "old")
        arguments = [*SMALL, "--mode=train", "--workdir=second"]
        process = command(*arguments, "--config.encoder.weights=gone", cwd=tmp_path)
        assert process.returncode == 1
        assert process.stderr.splitlines()[-1].startswith("error: gone does not exist: expected")
        arguments.append("--config.encoder.weights=old")
        # The line above took no folder.
        process = command(*arguments, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert "encoder starts from old (30 arrays)" in process.stderr
        assert "started    from the weights of old" in process.stdout
        folder = RunFolder(tmp_path / "second")
        assert folder.read_result()["started_from"] == "old"
        assert folder.stored_config()["encoder"]["weights"] == "old"
        shutil.rmtree(tmp_path / "old")
        process = command(*arguments, cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert "resumed at step 36" in process.stderr
        assert "starts from" not in process.stderr
        process = command(*arguments, "--config.encoder.weights=other", cwd=tmp_path)
        assert "holds a run with encoder.weights=old, but this one has other" in process.stderr

    def test_on_two_devices(self, finished, tmp_path):
        process = command(
            *(*SMALL, "--mode=train", "--strategy=mirrored", "--virtual_devices=2"),
            *(f"--config.encoder.weights={finished}", "--workdir=second"),
            cwd=tmp_path,
        )
        assert process.returncode == 0, process.stderr
        assert "encoder starts from" in process.stderr

    def test_of_pairs(self, finished, tmp_path):
        images = np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), np.uint8)
        folder = write_folder(tmp_path / "images", images)
        paths = [f"images/{path.name}" for path in sorted(folder.iterdir())]
        captions = [f"a {kind}" for kind in ["dog", "house"] * 35]
        write_table(tmp_path / "pairs.csv", path=paths, caption=captions, split=["train"] * 70)
        process = command(
            *("--config=configs/emoji_text.py", "--config.epochs=1", "--mode=train"),
            *("--config.data.name=./pairs.csv", "--config.data.text=caption"),
            *("--config.encoder.widths=(8,16)", "--config.encoder.stem_stride=1"),
            *("--config.data.image_size=16", f"--config.encoder.weights={finished}"),
            *("--config.optimizer.warmup_epochs=0.5", "--workdir=pairs"),
            cwd=tmp_path,
        )
        assert process.returncode == 0, process.stderr
        assert f"encoder starts from {finished} (30 arrays)" in process.stderr


@of_a_run
def test_going_on_with_more_images(finished, tmp_path):
    """A started run keeps its rows where images came, and trains the new ones."""
    images = np.random.default_rng(0).integers(0, 256, (48, 16, 16, 3), np.uint8)
    train = write_folder(tmp_path / "mine" / "train", images[:40])
    arguments = [
        *(*SMALL, "--config.epochs=4", "--config.checkpoint.keep=9", "--mode=train"),
        *("--config.data.name=./mine", "--config.batch_size=8", "--workdir=run"),
        f"--config.encoder.weights={finished}",
    ]
    process = command(*arguments, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    checkpoints = tmp_path / "run" / "checkpoints"
    # Of a run that was stopped after two of its four epochs.
    for step in (15, 20):
        for file in checkpoints.glob(f"step-{step}.*"):
            file.unlink()
    (checkpoints / "checkpoint").unlink()
    for place in range(40, 48):
        file = train / f"later{place}.png"
        file.write_bytes(tf.io.encode_png(images[place]).numpy())
    process = command(*arguments, "--grow", cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "8 of 48 examples are new" in process.stderr
    assert "resumed at step 10, epoch 2" in process.stderr
    assert "starts from" not in process.stderr
    result = RunFolder(tmp_path / "run").read_result()
    assert (result["num_examples"], result["steps"]) == (48, 10 + 2 * 6)
    key = "model/contrastive_loss/_table/.ATTRIBUTES/VARIABLE_VALUE"
    table = tf.train.load_variable(str(checkpoints / "step-22"), key)
    assert table.shape == (48,)
    assert np.isfinite(table).all()
