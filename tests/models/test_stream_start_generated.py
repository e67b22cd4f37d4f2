"""What `fit` takes of its data in generated histories of calls, restarts and restored states.

A rehearsal of each history in a few lines of arithmetic says what every step must see.
"""

import dataclasses
import pathlib
import tempfile

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.exhaustive import exhaustive
from support.recorder import IMAGES, N, Recorder, crash_at, expected, folder_stream, stream

from sogclr_tf import Checkpoints, SaveCheckpoints

pytestmark = pytest.mark.slow(reason="many histories of training")

# Of 26 examples they leave 2, 2, 10 and none out of an epoch.
BATCHES = (4, 8, 16, 13)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Arguments of a call of `fit`.

    Attributes:
        start: none, or what is passed: ("initial_epoch", e), ("initial_step", s), or
            ("initial_step", None) for the steps that the model was trained for.
    """

    batch_size: int
    epochs: int
    steps_per_epoch: int | None
    start: tuple | None


@dataclasses.dataclass
class Rehearsal:
    """What a model has behind it: epochs, examples of a part epoch, steps."""

    epoch: int = 0
    behind: int = 0
    trained: int = 0
    known: bool = False

    def own_step(self, steps, batch_size):
        """The step at which it goes on, by itself."""
        whole_batches = (self.behind + batch_size - 1) // batch_size
        return self.epoch * steps + min(whole_batches, steps)

    def plan(self, fit):
        """(first step, steps that follow) of the stream."""
        steps = N // fit.batch_size
        of_fit = fit.steps_per_epoch or steps
        first, taken, epoch = self.own_step(steps, fit.batch_size), None, 0
        if fit.start:
            kind, value = fit.start
            if kind == "initial_epoch":
                first = value * of_fit
            elif value is not None and not (self.known and value == self.trained):
                first = value
            elif not self.known:
                first = self.trained
            epoch, taken = divmod(first, of_fit)
        elif of_fit == steps:
            taken = first % steps
        return first, max(0, (fit.epochs - epoch) * of_fit - (taken or 0))

    def take(self, batch_size, first, count):
        """After `count` steps from step `first` on."""
        steps = N // batch_size
        self.epoch, taken = divmod(first + count, steps)
        self.behind = taken * batch_size
        self.trained += count
        self.known = True


class History:
    """A model and its rehearsal, side by side."""

    def __init__(self, make_stream, folder):
        self.make_stream, self.folder = make_stream, folder
        self.model, self.rehearsal, self.count = Recorder(), Rehearsal(), 0

    def run(self, fit, *callbacks, epochs=None):
        arguments = {"steps_per_epoch": fit.steps_per_epoch} if fit.steps_per_epoch else {}
        if fit.start:
            kind, value = fit.start
            arguments[kind] = self.model.trained_steps if value is None else value
        self.model.fit(
            self.make_stream(fit.batch_size),
            epochs=epochs or fit.epochs,
            callbacks=list(callbacks),
            verbose=0,
            **arguments,
        )

    def check(self, fit, first, count):
        """The last `count` steps were those of the stream from `first` on."""
        assert len(self.model.seen) == count
        steps = range(first, first + count)
        assert self.model.seen == expected(self.make_stream(fit.batch_size), steps)
        self.model.seen.clear()

    def plain(self, fit):
        first, count = self.rehearsal.plan(fit)
        self.run(fit)
        self.check(fit, first, count)
        self.rehearsal.take(fit.batch_size, first, count)

    def own_data(self, fit):
        """Batches of the caller's own: they count as steps, and move no stream."""
        self.model.fit(self.make_stream(fit.batch_size).epoch(0), verbose=0)
        self.check(fit, 0, N // fit.batch_size)
        self.rehearsal.trained += N // fit.batch_size

    def arrays(self, _fit):
        """Arrays of the caller's own, in an order that Keras draws."""
        data = {"view_a": IMAGES, "view_b": IMAGES, "index": np.arange(N)}
        self.model.fit(data, batch_size=N // 2, verbose=0)
        seen = [example[0] for step in self.model.seen for example in step]
        assert sorted(seen) == list(range(N))
        self.model.seen.clear()
        self.rehearsal.trained += 2

    def best_weights(self, fit, best):
        """The epoch number `best` of the call is the best, and two later it stops."""
        first, count = self.rehearsal.plan(fit)
        if not count:
            return
        of_fit = fit.steps_per_epoch or N // fit.batch_size
        part = count % of_fit or of_fit
        ran = min(best + 2, (count - part) // of_fit)
        scores = iter([abs(best - number) for number in range(ran + 1)])
        watch = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(score=next(scores))  # noqa: ARG005
        )
        stop = keras.callbacks.EarlyStopping(
            "score", mode="min", patience=2, restore_best_weights=True
        )
        self.run(fit, watch, stop)
        self.check(fit, first, part + ran * of_fit)
        self.rehearsal.take(fit.batch_size, first, part + min(best, ran) * of_fit)

    def crash_and_restore(self, fit, after, every_steps, told):
        """A crash, and another process that restores the newest checkpoint."""
        first, count = self.rehearsal.plan(fit)
        before = dataclasses.replace(self.rehearsal)
        folder = self.folder / f"checkpoints-{self.count}"
        self.count += 1
        checkpoints = Checkpoints(self.model, folder)
        checkpoints.save()
        crash = crash_at(self.model.trained_steps + after)
        try:
            self.run(fit, SaveCheckpoints(checkpoints, every_steps=every_steps), crash)
        except EOFError:
            count = min(after, count)
        self.check(fit, first, count)
        self.model = Recorder()
        step = Checkpoints(self.model, folder).restore()
        assert 0 <= before.trained + count - step <= every_steps
        self.rehearsal = before
        if step > before.trained:
            self.rehearsal.take(fit.batch_size, first, step - before.trained)
        if told:
            self.plain(dataclasses.replace(fit, start=("initial_step", None)))

    def crash_and_back_up(self, fit, after, save_freq):
        """A crash, and the same program again, with Keras's own callback."""
        first, count = self.rehearsal.plan(fit)
        start = self.model.trained_steps
        if fit.start == ("initial_step", None):
            fit = dataclasses.replace(fit, start=("initial_step", start))
        folder = self.folder / f"backup-{self.count}"
        self.count += 1

        def backup():
            return keras.callbacks.BackupAndRestore(folder, save_freq=save_freq)

        try:
            self.run(fit, backup(), crash_at(start + after))
        except EOFError:
            pass
        else:
            self.check(fit, first, count)
            self.rehearsal.take(fit.batch_size, first, count)
            return
        self.check(fit, first, min(after, count))
        saved = (folder / "latest.weights.h5").exists()
        self.model = Recorder()
        if not saved:
            self.rehearsal = Rehearsal()
            self.plain(fit)
            return
        self.run(fit, backup())
        left = len(self.model.seen)
        # All of them where it was saved in steps that were passed over.
        assert count - after <= left <= count
        self.check(fit, first + count - left, left)
        self.rehearsal.take(fit.batch_size, first, count)


fits = st.builds(
    Fit,
    batch_size=st.sampled_from(BATCHES),
    epochs=st.integers(1, 3),
    steps_per_epoch=st.sampled_from([None, None, 2, 5]),
    start=st.one_of(
        st.none(),
        st.tuples(st.just("initial_epoch"), st.integers(0, 2)),
        st.tuples(st.just("initial_step"), st.sampled_from([None, 0, 3, 7])),
    ),
)
events = st.one_of(
    st.tuples(st.just("plain"), fits),
    st.tuples(st.sampled_from(["own_data", "arrays"]), fits),
    st.tuples(st.just("best_weights"), fits, st.integers(0, 2)),
    st.tuples(
        *(st.just("crash_and_restore"), fits, st.integers(1, 9)),
        *(st.integers(1, 4), st.booleans()),
    ),
    st.tuples(
        st.just("crash_and_back_up"), fits, st.integers(1, 9), st.sampled_from(["epoch", 1, 2, 3])
    ),
)


def generated(count):
    """`count` histories, the same ones each time."""

    def decorate(test):
        test = given(history=st.lists(events, min_size=1, max_size=5))(test)
        quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
        return settings(max_examples=count, derandomize=True, **quiet)(test)

    return decorate


def run(make_stream, history):
    with tempfile.TemporaryDirectory() as folder:
        running = History(make_stream, pathlib.Path(folder))
        for name, *arguments in history:
            getattr(running, name)(*arguments)


@generated(exhaustive(10, 75))
def test_every_step_of_arrays_sees_what_is_promised(history):
    run(stream, history)


@generated(exhaustive(4, 25))
def test_every_step_of_a_folder_sees_what_is_promised(history):
    run(folder_stream, history)
