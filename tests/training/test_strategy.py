"""Names of strategies, and what each needs."""

import pytest
import tensorflow as tf

from sogclr_tf import run
from sogclr_tf.training import strategy


def test_one_is_the_default():
    built = strategy.build_strategy("one")
    assert built.num_replicas_in_sync == 1
    assert strategy.jit_compile(built) == "auto"


def test_mirrored_takes_every_local_device():
    built = strategy.build_strategy("mirrored")
    assert built.num_replicas_in_sync == len(tf.config.list_logical_devices("CPU"))
    assert strategy.jit_compile(built) is False


def test_multiworker_without_its_configuration(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="needs TF_CONFIG"):
        strategy.build_strategy("multiworker")


@pytest.mark.parametrize("tpu", [None, "no-such-tpu"])
def test_tpu_where_there_is_none(tpu):
    with pytest.raises(RuntimeError, match="no TPU was found: name it with --tpu=NAME"):
        strategy.build_strategy("tpu", tpu=tpu)


def test_unknown_name_lists_the_valid_ones():
    with pytest.raises(ValueError, match="one, mirrored, multiworker, tpu"):
        strategy.build_strategy("horovod")


def test_the_flag_offers_what_there_is():
    assert list(run.STRATEGIES) == strategy.strategy_names()
