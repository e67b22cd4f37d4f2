"""The error of the table while a model trains: the callback, and its figures."""

import keras
import numpy as np
import pytest
from support.numerics import close
from support.small_model import model, views

from sogclr_tf import NormalizerError, normalizer_error
from sogclr_tf.evaluation.measured_normalizer import MeasuredNormalizer


class TestCallback:
    @pytest.mark.slow(reason="a training is measured as it goes")
    def test_every_so_many_epochs_and_at_the_end(self):
        built, monitor, measured = model(), NormalizerError(every_epochs=2), []
        logs = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda _, logs: measured.append("normalizer_rms" in logs)
        )
        history = built.fit(views(), epochs=3, callbacks=[monitor, logs], verbose=0).history
        assert measured == [False, True, True]
        found = normalizer_error(built, views())
        for name in ("bias", "rms", "correlation"):
            want = getattr(found, name)
            assert history[f"normalizer_{name}"][-1] == close(want, at_least=2)
        np.testing.assert_array_equal(np.sort(monitor.last.age), np.sort(found.age))
        assert built.training_stream is None

    def test_data_of_ones_own_must_be_given(self):
        batch = {key: value.numpy() for key, value in next(iter(views().epoch(0))).items()}
        with pytest.raises(ValueError, match="trained on no stream of sogclr_tf: give"):
            model().fit(batch, batch_size=8, callbacks=[NormalizerError()], verbose=0)

    def test_refuses(self):
        with pytest.raises(ValueError, match="every_epochs is 0: measure every 1 or more"):
            NormalizerError(every_epochs=0)


class TestFigures:
    found = MeasuredNormalizer(
        log_u=np.float32([1, 2, 3, 5, 5]),
        log_g=np.float32([0, 2, 4, 4, 4]),
        index=np.arange(5),
        age=np.array([0, 1, 2, 3, 4]),
        never_visited=3,
        step=9,
    )

    def test_can_be_checked_by_hand(self):
        found = self.found
        assert found.error.tolist() == [1, 0, -1, 1, 1]
        assert found.bias == pytest.approx(0.4)
        assert found.rms == pytest.approx(0.8**0.5)
        assert found.deviation == pytest.approx((0.8 - 0.16) ** 0.5)
        assert [tuple(group) for group in found.by_age()] == [
            (0, 0, 1, 1.0, 1.0),
            (1, 1, 1, 0.0, 0.0),
            (2, 3, 2, 0.0, 1.0),
            (4, 7, 1, 1.0, 1.0),
        ]
        assert found._replace(age=None).by_age() == []

    def test_no_correlation_of_what_is_all_the_same(self):
        assert np.isnan(self.found._replace(log_u=np.ones(5, np.float32)).correlation)

    @pytest.mark.parametrize("age", [found.age, None])
    def test_a_file_keeps_all(self, age, tmp_path):
        written = self.found._replace(age=age)
        (tmp_path / "normalizer.npz").write_bytes(written.to_bytes())
        read = MeasuredNormalizer.from_file(tmp_path / "normalizer.npz")
        for ours, theirs in zip(read, written, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert read.figures() == written.figures()
