"""Checkpoints: exact resume at any step, signals, and what can go wrong with files."""

import functools
import os
import shutil
import signal
import subprocess
import time

import keras
import numpy as np
import pytest
from support.streams import traced_once

import sogclr_tf
from sogclr_tf import Checkpoints, SaveCheckpoints
from sogclr_tf.training import strategy
from sogclr_tf.training.preemption import StopOnSignal, Stopped

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
N, BATCH, EPOCHS = 24, 4, 3
STEPS = N // BATCH
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), np.uint8)


@functools.cache
def views():
    policy = sogclr_tf.Policy(size=8, min_area=0.5)
    return traced_once(sogclr_tf.training_views(IMAGES, batch_size=BATCH, policy=policy))


def new_model(num_examples=N, width=6, accumulated=None, **compile_options):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(width, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    built = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(num_examples))
    sgd = keras.optimizers.SGD(0.01, momentum=0.9, gradient_accumulation_steps=accumulated)
    built.compile(optimizer=sgd, **compile_options)
    built.optimizer.build(built.trainable_variables)
    return built


@functools.cache
def traced_once_by(**options):
    """(a model, its values when it was new): its step is traced once for all tests."""
    built = new_model(**options)
    return built, values_of(built)


def model(**options):
    """The model of these options, as when it was new; it is the same object each time."""
    built, values = traced_once_by(**options)
    for variable, value in zip(variables_of(built), values, strict=True):
        variable.assign(value)
    return built


def variables_of(built):
    return [*built.variables, *built.optimizer.variables, *built.metrics_variables]


def values_of(built):
    return [np.asarray(variable) for variable in variables_of(built)]


class AtStep(keras.callbacks.Callback):
    """Calls something after a step of training."""

    def __init__(self, step, action):
        super().__init__()
        self._step, self._action = step, action

    def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002
        if self.model.trained_steps == self._step:
            self._action()


def power_cut():
    raise EOFError


def send(number):
    return lambda: os.kill(os.getpid(), number)


def train(folder, *callbacks, initial_step=None, epochs=EPOCHS, every_steps=1, **options):
    """(values of all variables, history) of training from what `folder` holds."""
    built = model(**options)
    checkpoints = Checkpoints(built, folder)
    save = SaveCheckpoints(checkpoints, every_steps=every_steps)
    with StopOnSignal(checkpoints) as stop:
        history = built.fit(
            views(),
            epochs=epochs,
            initial_step=checkpoints.restore() if initial_step is None else initial_step,
            callbacks=[*callbacks, save, stop],
            verbose=0,
        ).history
    return values_of(built), history


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing interrupted."""
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory):
    """The folder of a training that ended one step into the second epoch."""
    folder = tmp_path_factory.mktemp("cut_off")
    with pytest.raises(EOFError):
        train(folder, AtStep(STEPS + 1, power_cut))
    return folder


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    """The folder of a training that ended after an epoch."""
    folder = tmp_path_factory.mktemp("one_epoch")
    train(folder, epochs=1)
    return folder


def assert_same(one, other):
    for want, got in zip(one, other, strict=True):
        np.testing.assert_array_equal(got, want)


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


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("step", [2, STEPS])
    def test_the_step_is_saved(self, tmp_path, whole, number, step):
        with pytest.raises(Stopped, match=f"stopped by {number.name} at step {step}") as stopped:
            train(tmp_path, AtStep(step, send(number)), every_steps=None)
        assert (stopped.value.signal, stopped.value.step) == (number, step)
        assert (tmp_path / f"step-{step}.index").exists()
        built, history = train(tmp_path)
        assert_same(whole[0], built)
        assert history["loss"] == whole[1]["loss"][step // STEPS :]

    def test_a_second_signal_ends_it_at_once(self, tmp_path, request):
        # Ignored where a shell started the tests in the background.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

        def twice():
            send(signal.SIGINT)()
            # Two of a kind that arrive together count as one.
            time.sleep(0.3)
            send(signal.SIGINT)()

        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, AtStep(2, twice), every_steps=None)
        assert not list(tmp_path.iterdir())

    def test_handlers_are_as_before(self, tmp_path):
        before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
        with pytest.raises(Stopped):
            train(tmp_path, AtStep(1, send(signal.SIGTERM)))
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


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
