"""A run whose examples have changed since it began."""

import numpy as np
import pytest
import tensorflow as tf
from support.command import SMALL, command
from support.files import write_folder

from sogclr_tf.experiment.folder import RunFolder


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
