"""Signals: the step is saved before the process ends."""

import os
import signal
import time

import pytest
from support.checkpointed import STEPS, AtStep, assert_same, train

from sogclr_tf.training.preemption import Stopped


def send(number):
    return lambda: os.kill(os.getpid(), number)


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
