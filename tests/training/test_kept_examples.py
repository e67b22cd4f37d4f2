"""Tables that go on with other examples: every row with its own, and nothing else moved."""

import logging
import os

import numpy as np
import pytest
import tensorflow as tf
from support import processes
from support.grown_sets import IMAGES, LOSSES, STEP, change, folder_of, model, trained, views_of
from support.paths import ROOT

import sogclr_tf
from sogclr_tf import Checkpoints
from sogclr_tf.models import examples_check
from sogclr_tf.training import checkpoint


def arrays(built):
    """All but what says whose the rows are, and the rows."""
    left_out = [built._examples, *(table for table, _ in built.contrastive_loss.tables)]
    variables = [*built.variables, *built.optimizer.variables]
    return [np.asarray(v) for v in variables if not any(v is other for other in left_out)]


def rows_by_name(built, source):
    """{name: [its row of every table]}."""
    tables = [np.asarray(table) for table, _ in built.contrastive_loss.tables]
    names = source.example_names()
    return {names[k]: [table[k] for table in tables] for k in range(len(names))}


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_go_with_their_files(tmp_path, loss):
    folder = folder_of(tmp_path)
    old = sogclr_tf.FolderSource(folder)
    before = trained(old, tmp_path / "checkpoints", loss, **LOSSES[loss])
    change(folder)
    new = sogclr_tf.FolderSource(folder)
    built = model(new.num_examples, loss, **LOSSES[loss])
    assert Checkpoints(built, tmp_path / "checkpoints").restore(grow=new) == STEP
    were, are = rows_by_name(before, old), rows_by_name(built, new)
    assert set(are) - set(were) == {"-first.png", "00003b.png", "last.png"}
    assert set(were) - set(are) == {"00002.png", "00005.png"}
    initial = [value for _, value in before.contrastive_loss.tables]
    for name, row in are.items():
        assert row == were.get(name, np.float32(initial).tolist()), name
    assert built.examples_fingerprint == new.example_names().fingerprint
    for kept, found in zip(arrays(before), arrays(built), strict=True):
        np.testing.assert_array_equal(found, kept)


class Captioned(sogclr_tf.FolderSource):
    """Files with several captions each, as if they had been read with them."""

    def __init__(self, folder, counts):
        super().__init__(folder)
        self.caption_offsets = np.concatenate([[0], np.cumsum(counts)])


def caption_rows(built, source):
    """{name: [of each of its captions the rows of all tables of captions]}."""
    tables = [np.asarray(table) for table in built.contrastive_loss.caption_tables]
    names, offsets = source.example_names(), source.caption_offsets
    return {
        names[i]: [[table[c] for table in tables] for c in range(offsets[i], offsets[i + 1])]
        for i in range(len(names))
    }


def test_rows_of_captions_go_with_their_image_and_number(tmp_path):
    folder = folder_of(tmp_path)
    options = {**LOSSES["two_way"], "gamma_rule": "visits", "gamma": 0.1}
    old = Captioned(folder, [1, 2, 3, 2, 1, 2, 3, 1])
    several = {"num_captions": old.num_captions, **options}
    before = trained(old, tmp_path / "checkpoints", "two_way", **several)
    again = model(old.num_examples, "two_way", **several)
    assert Checkpoints(again, tmp_path / "checkpoints").restore() == STEP
    for (kept, _), (found, _) in zip(
        before.contrastive_loss.tables, again.contrastive_loss.tables, strict=True
    ):
        np.testing.assert_array_equal(found, kept)
    change(folder)
    # 00001.png has one more.
    counts = {"00001.png": 3, "00003.png": 2, "00006.png": 3}
    names = sogclr_tf.FolderSource(folder).example_names()
    new = Captioned(folder, [counts.get(names[i], 1) for i in range(len(names))])
    several["num_captions"] = new.num_captions
    built = model(new.num_examples, "two_way", **several)
    assert Checkpoints(built, tmp_path / "checkpoints").restore(grow=new) == STEP
    were, are = caption_rows(before, old), caption_rows(built, new)
    of_captions = {id(table) for table in before.contrastive_loss.caption_tables}
    tables = before.contrastive_loss.tables
    initial = np.float32([value for table, value in tables if id(table) in of_captions]).tolist()
    assert are["00001.png"] == [*were["00001.png"], initial]
    for name in ("00000.png", "00003.png", "00004.png", "00006.png", "00007.png"):
        assert are[name] == were[name]
    for name in ("-first.png", "00003b.png", "last.png"):
        assert are[name] == [initial]
    images = [np.asarray(x.contrastive_loss._visits) for x in (before, built)]
    assert (names[2], images[1][2]) == ("00001.png", images[0][1])
    counts["00006.png"] = 2
    fewer = Captioned(folder, [counts.get(names[i], 1) for i in range(len(names))])
    with pytest.raises(ValueError, match="'00006.png' has 2 captions and had 3 .*: which are gone"):
        Checkpoints(built, tmp_path / "checkpoints").restore(grow=fewer)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 2, 3, 2, 1, 2, 3, 2], "example 7, '00007.png', had 1 captions and has 2 now"),
        (None, "example 1, '00001.png', had 2 captions and has 1 now"),
    ],
)
def test_other_numbers_of_captions_are_refused(tmp_path, counts, message):
    folder = folder_of(tmp_path)
    old = Captioned(folder, [1, 2, 3, 2, 1, 2, 3, 1])
    new = Captioned(folder, counts) if counts else sogclr_tf.FolderSource(folder)
    options = {"num_captions": 15, **LOSSES["two_way"]}
    built = trained(old, tmp_path / "checkpoints", "two_way", **options)
    with pytest.raises(ValueError, match=message):
        examples_check.check(built, new)
    with pytest.raises(ValueError, match=message):
        checkpoint.check_examples(tmp_path / "checkpoints", new)
    if counts is not None:
        more = model(8, "two_way", **{**options, "num_captions": 16})
        message = "it has num_captions=15, this model has num_captions=16; restore.grow=views"
        with pytest.raises(ValueError, match=message):
            Checkpoints(more, tmp_path / "checkpoints").restore()
    if counts is None:
        other = model(8, "two_way", **LOSSES["two_way"])
        with pytest.raises(ValueError, match="images had one text each and have several captions"):
            Checkpoints(other, tmp_path / "checkpoints").restore(grow=new)


def test_a_loss_begins_its_new_rows_as_never_seen():
    begins = {
        "sogclr": [-np.inf],
        "isogclr": [-np.inf, 0.3, 0.0],
        "two_way": [-np.inf, -np.inf, 0.3, 0.3, *(6 * [0.0])],
    }
    for name, options in LOSSES.items():
        loss = sogclr_tf.build_loss(name, 8, temperature=0.3, **options)
        assert [initial for _, initial in loss.tables] == begins[name]
        for table, initial in loss.tables:
            np.testing.assert_array_equal(table, np.full(8, initial, np.float32))
        assert len([w for w in loss.weights if w.shape == (8,)]) == len(loss.tables)


def test_the_same_examples_are_restored_as_they_are(tmp_path):
    source = sogclr_tf.FolderSource(folder_of(tmp_path))
    before = trained(source, tmp_path / "checkpoints")
    built = model(8)
    Checkpoints(built, tmp_path / "checkpoints").restore(grow=source)
    for was, now in zip(before.get_weights(), built.get_weights(), strict=True):
        np.testing.assert_array_equal(now, was)


def test_restored_and_not_grown_is_refused_by_fit(tmp_path):
    folder = folder_of(tmp_path)
    trained(sogclr_tf.FolderSource(folder), tmp_path / "checkpoints")
    (folder / "00007.png").rename(folder / "0.png")
    built = model(8)
    Checkpoints(built, tmp_path / "checkpoints").restore()
    with pytest.raises(ValueError, match="example 0 was '00000.png' and is '0.png' now"):
        built.fit(views_of(folder), verbose=0)


class TestErrors:
    def test_too_few_rows(self, tmp_path):
        source = sogclr_tf.ArraySource(IMAGES)
        trained(source, tmp_path)
        more = sogclr_tf.ArraySource(np.concatenate([IMAGES, 255 - IMAGES]))
        with pytest.raises(
            ValueError, match="has 16 examples, but the loss a table for 8: give it"
        ):
            Checkpoints(model(8), tmp_path).restore(grow=more)

    @pytest.mark.parametrize("spoil", [os.unlink, lambda path: path.write_bytes(b"")])
    def test_names_that_are_lost(self, tmp_path, spoil):
        trained(sogclr_tf.ArraySource(IMAGES), tmp_path)
        (names,) = tmp_path.glob("examples-*")
        spoil(names)
        assert Checkpoints(model(8), tmp_path).restore() == STEP
        other = sogclr_tf.ArraySource(255 - IMAGES)
        with pytest.raises(ValueError, match="carried over by name: .*npz is missing or broken"):
            Checkpoints(model(8), tmp_path).restore(grow=other)
        with pytest.raises(ValueError, match="which ones, its weights alone do not say"):
            checkpoint.check_examples(tmp_path, other)

    def test_another_number_says_how_to_go_on(self, tmp_path):
        trained(sogclr_tf.ArraySource(IMAGES), tmp_path)
        with pytest.raises(ValueError, match=r"num_examples=9; restore\(grow=views"):
            Checkpoints(model(9), tmp_path).restore()


def test_a_loss_without_a_table_grows_by_being_restored(tmp_path):
    trained(sogclr_tf.ArraySource(IMAGES), tmp_path, "simclr")
    other = sogclr_tf.ArraySource(255 - IMAGES)
    checkpoint.check_examples(tmp_path, other)
    assert Checkpoints(model(8, "simclr"), tmp_path).restore(grow=other) == STEP


def test_a_checkpoint_of_version_0_2(tmp_path, caplog):
    """It has no fingerprint, so that the first training says whose its rows are taken for."""
    source = sogclr_tf.ArraySource(IMAGES)
    before = trained(source, tmp_path, save=False)
    means = [tf.Variable(tf.zeros(m.shape, m.dtype)) for m in before.metrics_variables]
    parts = tf.train.TrackableView(before).children(before)
    del parts["_examples"], parts["_stream_position"]
    saved = tf.train.Checkpoint(model=tf.train.Checkpoint(**parts), means=means)
    manager = tf.train.CheckpointManager(saved, str(tmp_path), 1, checkpoint_name="step")
    manager.save(checkpoint_number=STEP)
    built = model(8)
    caplog.set_level(logging.WARNING)
    assert Checkpoints(built, tmp_path).restore() == STEP
    assert built.examples_fingerprint == 0
    np.testing.assert_array_equal(built.contrastive_loss.log_u, before.contrastive_loss.log_u)
    examples_check.check(built, source)
    assert "does not say whose the rows of its table are" in caplog.text
    with pytest.raises(ValueError, match="by name: it does not say whose they are"):
        Checkpoints(model(8), tmp_path).restore(grow=source)


REPLICAS = """
import sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.append(TESTS)
from support import grown_sets as tests
import sogclr_tf
from sogclr_tf.models import examples_check

one = sogclr_tf.ArraySource(tests.IMAGES)
other = sogclr_tf.ArraySource(np.concatenate([255 - tests.IMAGES[:2], tests.IMAGES[1:]]))
tests.trained(one, "checkpoints")
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    built = tests.model(9)
    saved = sogclr_tf.Checkpoints(built, "checkpoints")
saved.restore(grow=other)
examples_check.check(built, other)
for copy in map(np.asarray, built.contrastive_loss.log_u.values):
    assert np.isneginf(copy[:2]).all() and (copy[2:] > 0).all(), copy
saved.save()
again = tests.model(9)
assert sogclr_tf.Checkpoints(again, "checkpoints").restore() == tests.STEP
np.testing.assert_array_equal(again.contrastive_loss.log_u, built.contrastive_loss.log_u)
"""


@pytest.mark.slow(reason="a process of its own, with two devices")
def test_every_replica_has_the_rows(tmp_path):
    program = REPLICAS.replace("TESTS", repr(str(ROOT / "tests")))
    process = processes.run("-c", program, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
