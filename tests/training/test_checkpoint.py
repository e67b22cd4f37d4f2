"""Checkpoints: exact resume at any step."""

import shutil

import keras
import numpy as np
import pytest
from support.checkpointed import (
    STEPS,
    AtStep,
    assert_same,
    model,
    new_model,
    power_cut,
    train,
    views,
)

import sogclr_tf
from sogclr_tf import Checkpoints, SaveCheckpoints
from sogclr_tf.training import strategy

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")


class TestResume:
    @pytest.mark.parametrize(
        "step",
        [
            STEPS,
            2 * STEPS + 3,
            pytest.param(1, marks=AGAIN),
            pytest.param(STEPS - 1, marks=AGAIN),
            pytest.param(STEPS + 1, marks=AGAIN),
        ],
    )
    def test_a_run_that_was_cut_off_ends_as_if_it_had_not_been(self, tmp_path, whole, step):
        with pytest.raises(EOFError):
            train(tmp_path, AtStep(step + 1, power_cut))
        built, history = train(tmp_path)
        assert_same(whole[0], built)
        # The means of the epoch that was cut off are those of all its steps.
        for name, values in history.items():
            assert values == whole[1][name][step // STEPS :]

    def test_every_so_many_steps(self, tmp_path, whole):
        with pytest.raises(EOFError):
            train(tmp_path, AtStep(STEPS + 3, power_cut), every_steps=4)
        assert {path.name for path in tmp_path.glob("*.index")} == {
            "step-4.index",
            f"step-{STEPS}.index",
            "step-8.index",
        }
        assert_same(whole[0], train(tmp_path)[0])

    def test_several_steps_in_one_execution(self, tmp_path, whole):
        with pytest.raises(EOFError):
            train(tmp_path, AtStep(STEPS + 6, power_cut), steps_per_execution=3)
        assert Checkpoints(model(), tmp_path).restore() == STEPS + 3
        assert_same(whole[0], train(tmp_path, steps_per_execution=3)[0])
        with pytest.raises(ValueError, match="3 steps of the epoch are behind, and steps_per_exec"):
            train(tmp_path, initial_step=3, steps_per_execution=2)

    @pytest.mark.slow(reason="three models are traced")
    def test_between_two_updates_of_accumulated_gradients(self, tmp_path):
        """Neither the epochs nor the training are a multiple of the batches of an update."""
        whole, history = train(tmp_path / "whole", accumulated=4)
        cut = 2 * STEPS + 1
        with pytest.raises(EOFError):
            train(tmp_path / "cut", AtStep(cut + 1, power_cut), accumulated=4)
        assert Checkpoints(model(accumulated=4), tmp_path / "cut").restore() == cut
        values, again = train(tmp_path / "cut", accumulated=4)
        assert_same(whole, values)
        assert again["loss"] == history["loss"][2:]
        optimizer = model(accumulated=4).optimizer
        accumulators = [v.path for v in optimizer.variables if "gradient_accumulator" in v.path]
        assert len(accumulators) == len(optimizer._trainable_variables)

    @pytest.mark.slow(reason="a training that begins anew several times")
    def test_a_run_that_is_over_stays_as_it_is(self, tmp_path, whole):
        train(tmp_path)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        assert_same(whole[0], train(tmp_path)[0])
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before

    def test_a_tpu_leaves_reading_and_writing_to_this_machine(self, tmp_path, whole, monkeypatch):
        monkeypatch.setattr(strategy, "_is_tpu", lambda _: True)
        with pytest.raises(EOFError):
            train(tmp_path, AtStep(STEPS, power_cut))
        options = strategy.checkpoint_options(model().distribute_strategy)
        assert options.experimental_io_device == "/job:localhost"
        assert_same(whole[0], train(tmp_path)[0])

    def test_more_epochs_than_before(self, tmp_path, whole, one_epoch):
        shutil.copytree(one_epoch, tmp_path, dirs_exist_ok=True)
        assert_same(whole[0], train(tmp_path)[0])

    @pytest.mark.slow(reason="three models are traced in float16")
    def test_float16_steps_that_overflow_count_as_batches(self, tmp_path):
        """The optimizer passes over them, the data does not."""
        keras.mixed_precision.set_dtype_policy("mixed_float16")
        try:
            built = new_model()
            built.optimizer.build(built.trainable_variables)
            built.optimizer.dynamic_scale.assign(2.0**126)
            checkpoints = Checkpoints(built, tmp_path)
            built.fit(views(), callbacks=[SaveCheckpoints(checkpoints)], verbose=0)
        finally:
            keras.mixed_precision.set_dtype_policy("float32")
        assert int(built.optimizer.iterations) < STEPS
        assert built.trained_steps == STEPS
        assert (tmp_path / f"step-{STEPS}.index").exists()

    def test_initial_step_needs_a_stream_that_knows_its_steps(self):
        with pytest.raises(ValueError, match="initial_step=3 is for sogclr_tf's own streams"):
            model().fit(views().epoch(0), initial_step=3)

    @pytest.mark.parametrize("wrong", [-1, 0.5])
    def test_initial_step_out_of_range(self, wrong):
        with pytest.raises(ValueError, match=f"initial_step is {wrong}: expected a whole number"):
            model().fit(views(), initial_step=wrong)

    def test_initial_step_beside_initial_epoch(self):
        with pytest.raises(ValueError, match="were both given: pass one of them"):
            model().fit(views(), initial_step=3, initial_epoch=1)


def random_model(rates=(0.2, 0.4)):
    """A model of which two layers draw random numbers."""
    keras.utils.set_random_seed(0)
    drop = [keras.layers.Dropout(rate) for rate in rates]
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), *drop])
    built = sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())
    built.compile(keras.optimizers.SGD(0.01))
    return built, [layer.seed_generator for layer in drop]


class TestRandomNumbers:
    """That a training with them ends alike is held in `networks/test_encoder_promises.py`."""

    def draw(self, generators):
        return [np.asarray(generator.next()).tolist() for generator in generators]

    def test_go_on_where_they_were_saved(self, tmp_path):
        built, generators = random_model()
        self.draw(generators)
        checkpoints = Checkpoints(built, tmp_path)
        checkpoints.save()
        want = self.draw(generators)
        assert self.draw(generators) != want
        assert checkpoints.restore() == 0
        assert self.draw(generators) == want

    def test_stay_where_nothing_is_restored(self, tmp_path):
        built, generators = random_model()
        other, same = random_model()
        self.draw(generators + same)
        assert Checkpoints(built, tmp_path).restore() == 0
        assert self.draw(generators) == self.draw(same)

    @pytest.mark.parametrize("rates", [(), (0.2,)])
    def test_of_a_checkpoint_that_says_less_of_them(self, tmp_path, caplog, rates):
        older, _ = random_model(rates)
        older._trained_steps.assign(7)
        older.projector.weights[0].assign_add(older.projector.weights[0])
        Checkpoints(older, tmp_path).save()
        built, generators = random_model()
        _, same = random_model()
        assert Checkpoints(built, tmp_path).restore() == 7
        assert caplog.text.count("does not say where the random numbers of the model's layers") == 1
        assert self.draw(generators) == self.draw(same)
        assert_same([older.projector.weights[0]], [built.projector.weights[0]])
