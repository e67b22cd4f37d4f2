"""The names of a training's examples, beside its checkpoints."""

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder
from support.grown_sets import IMAGES, STEP, change, folder_of, model, trained, views_of

import sogclr_tf
from sogclr_tf import Checkpoints
from sogclr_tf.training import checkpoint


@pytest.fixture
def grown(tmp_path):
    """(folder of checkpoints, source, the model that was grown, its `Checkpoints`)."""
    folder, checkpoints = folder_of(tmp_path), tmp_path / "checkpoints"
    trained(sogclr_tf.FolderSource(folder), checkpoints)
    change(folder)
    source = sogclr_tf.FolderSource(folder)
    built = model(source.num_examples)
    saved = Checkpoints(built, checkpoints)
    saved.restore(grow=source)
    return checkpoints, source, built, saved


def names_in(folder):
    return {path.name for path in folder.glob("examples-*")}


@pytest.mark.slow(reason="trains a model")
def test_training_goes_on_and_the_next_save_keeps_it(grown):
    folder, source, built, saved = grown
    before = names_in(folder)
    views = views_of(source)
    built.fit(views, epochs=4, initial_step=STEP, verbose=0)
    assert built.trained_steps == 4 * views.steps_per_epoch
    assert np.isfinite(built.contrastive_loss.log_u).sum() > 6
    saved.save()
    assert names_in(folder) > before
    again = model(source.num_examples)
    assert Checkpoints(again, folder).restore() == built.trained_steps
    np.testing.assert_array_equal(again.contrastive_loss.log_u, built.contrastive_loss.log_u)
    checkpoint.check_examples(folder, source)


def test_growing_changes_no_file(tmp_path, grown):
    folder, source, built, _ = grown
    again = model(source.num_examples)
    Checkpoints(again, folder).restore(grow=source)
    np.testing.assert_array_equal(again.contrastive_loss.log_u, built.contrastive_loss.log_u)
    other = sogclr_tf.FolderSource(write_folder(tmp_path / "before", IMAGES))
    checkpoint.check_examples(folder, other)
    assert Checkpoints(model(8), folder).restore() == STEP


def test_a_grown_model_is_saved_without_a_step_too(grown):
    folder, source, built, saved = grown
    saved.save()
    again = model(source.num_examples)
    assert Checkpoints(again, folder).restore() == STEP
    np.testing.assert_array_equal(again.contrastive_loss.log_u, built.contrastive_loss.log_u)
    # The one checkpoint there is has its names, the others are gone.
    assert names_in(folder) == {f"examples-{built.examples_fingerprint:016x}.npz"}


def test_names_stay_as_long_as_a_checkpoint_needs_them(grown):
    folder, _, built, saved = grown
    for step in range(STEP + 1, STEP + 4):
        assert len(names_in(folder)) == (1 if step == STEP + 1 else 2)
        built._trained_steps.assign(step)
        saved.save()
    assert len(names_in(folder)) == 1


def test_beside_a_broken_checkpoint_names_stay(grown):
    folder, _, built, saved = grown
    (folder / f"step-{STEP}.index").write_bytes(b"")
    built._trained_steps.assign(STEP + 1)
    saved.save()
    assert len(names_in(folder)) == 2


def test_a_save_that_was_cut_off_after_the_names(grown, monkeypatch):
    folder, source, _, saved = grown

    def power_cut(*_, **__):
        raise EOFError

    monkeypatch.setattr(tf.train.CheckpointManager, "save", power_cut)
    with pytest.raises(EOFError):
        saved.save()
    again = model(source.num_examples)
    assert Checkpoints(again, folder).restore(grow=source) == STEP
    with pytest.raises(ValueError, match="example 0 was '00000.png' and is '-first.png' now"):
        checkpoint.check_examples(folder, source)
