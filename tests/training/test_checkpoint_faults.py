"""What can go wrong with the files of a checkpoint."""

import os
import shutil
import subprocess

import keras
import pytest
from support.checkpointed import (
    EPOCHS,
    STEPS,
    AtStep,
    N,
    assert_same,
    model,
    power_cut,
    train,
    views,
)

import sogclr_tf
from sogclr_tf import Checkpoints, SaveCheckpoints


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory):
    """The folder of a training that ended one step into the second epoch."""
    folder = tmp_path_factory.mktemp("cut_off")
    with pytest.raises(EOFError):
        train(folder, AtStep(STEPS + 1, power_cut))
    return folder


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


class TestFaults:
    @pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
    @pytest.mark.parametrize("spoil", [truncate, empty, flip, os.unlink])
    def test_a_broken_checkpoint_falls_back_to_the_one_before(
        self, tmp_path, whole, cut_off, caplog, suffix, spoil
    ):
        shutil.copytree(cut_off, tmp_path, dirs_exist_ok=True)
        spoil(tmp_path / f"step-{STEPS}{suffix}")
        built = model()
        assert Checkpoints(built, tmp_path).restore() == STEPS - 1
        # What lacks its index is no checkpoint: nothing is there to be restored.
        if not (suffix == ".index" and spoil is os.unlink):
            assert f"step-{STEPS} cannot be restored" in caplog.text
        assert_same(whole[0], train(tmp_path)[0])

    @pytest.mark.parametrize("spoil", [truncate, empty, os.unlink])
    def test_the_list_of_checkpoints_may_be_lost(self, tmp_path, one_epoch, spoil):
        shutil.copytree(one_epoch, tmp_path, dirs_exist_ok=True)
        spoil(tmp_path / "checkpoint")
        assert Checkpoints(model(), tmp_path).restore() == STEPS

    def test_old_ones_are_removed(self, tmp_path):
        train(tmp_path)
        steps = sorted(int(path.stem.split("-")[1]) for path in tmp_path.glob("*.index"))
        assert steps == [EPOCHS * STEPS - 2, EPOCHS * STEPS - 1, EPOCHS * STEPS]

    @pytest.mark.parametrize("listed", [1, 2, 3])
    def test_what_the_list_lacks_is_removed_in_its_turn(self, tmp_path, listed):
        """As a process leaves it that is killed before TensorFlow's list names a checkpoint."""
        built = model()
        checkpoints = Checkpoints(built, tmp_path)

        def save(checkpoints, *steps):
            for step in steps:
                built._trained_steps.assign(step)
                checkpoints.save()

        save(checkpoints, *range(1, 1 + listed))
        kept = (tmp_path / "checkpoint").read_text()
        save(checkpoints, 10)
        (tmp_path / "checkpoint").write_text(kept)
        again = Checkpoints(built, tmp_path)
        assert again.restore() == 10
        save(again, 11, 12, 13, 14)
        assert sorted(path.stem for path in tmp_path.glob("*.index")) == [
            *("step-12", "step-13", "step-14")
        ]
        assert Checkpoints(built, tmp_path).restore() == 14

    def test_an_old_one_that_was_forgotten_is_not_the_newest(self, tmp_path):
        built = model()
        checkpoints = Checkpoints(built, tmp_path)
        for step in (1, 2):
            built._trained_steps.assign(step)
            checkpoints.save()
        listed = (tmp_path / "checkpoint").read_text().splitlines()
        kept = [line for line in listed if "step-1" not in line]
        (tmp_path / "checkpoint").write_text("\n".join(kept))
        assert Checkpoints(built, tmp_path).restore() == 2

    def test_another_num_examples_is_refused(self, one_epoch):
        with pytest.raises(ValueError, match="num_examples=24, this model has num_examples=25"):
            Checkpoints(model(num_examples=N + 1), one_epoch).restore()

    def test_another_network_is_refused(self, one_epoch):
        with pytest.raises(ValueError, match="no checkpoint in .* fits this model .*shape"):
            Checkpoints(model(width=7), one_epoch).restore()

    def test_a_model_that_is_not_built(self, tmp_path):
        class Encoder(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = keras.layers.Dense(4)

            def call(self, images):
                return self.dense(keras.ops.reshape(images, (-1, 192)))

        unbuilt = sogclr_tf.SogCLR(Encoder(), sogclr_tf.NTXentLoss())
        unbuilt.compile(keras.optimizers.SGD(0.01))
        with pytest.raises(
            ValueError, match=r"'sogclr' is not built.* call model.build with .*\(None, h"
        ):
            Checkpoints(unbuilt, tmp_path)
        unbuilt.build((None, 8, 8, 3))
        assert Checkpoints(unbuilt, tmp_path).restore() == 0

    def test_keep_of_nothing(self, tmp_path):
        with pytest.raises(ValueError, match="keep is 0: at least 1 checkpoint must be kept"):
            Checkpoints(model(), tmp_path, keep=0)

    @pytest.mark.parametrize("options", [{"every_epochs": 0}, {"every_steps": 0}])
    def test_never_saving(self, tmp_path, options):
        with pytest.raises(ValueError, match="is 0: save every 1 or more"):
            SaveCheckpoints(Checkpoints(model(), tmp_path), **options)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one mebibyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_older_checkpoint_restores(small_disk):
    # A table of 160,000 examples takes 640 kB: one checkpoint has room, two have not.
    built = model(num_examples=160_000)
    checkpoints = Checkpoints(built, small_disk)
    save = SaveCheckpoints(checkpoints, every_steps=2)
    with pytest.raises(
        OSError, match=r"step 4 cannot be written to .*\(No space left on device\): make"
    ):
        built.fit(views(), callbacks=[save], verbose=0)
    assert not [path for path in small_disk.iterdir() if "step-4" in path.name]
    again = model(num_examples=160_000)
    assert Checkpoints(again, small_disk).restore() == 2
