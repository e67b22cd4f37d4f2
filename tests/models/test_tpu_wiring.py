"""How `build_strategy` asks TensorFlow for a TPU, on recorders in place of one."""

import inspect
import types

import pytest
import tensorflow as tf

from sogclr_tf.training import strategy


class TestWiring:
    """The calls of `build_strategy`, on recorders in place of what needs a TPU."""

    @pytest.fixture
    def calls(self, monkeypatch):
        """What is called, with which arguments, and what `fail` makes of it."""
        calls, real = types.SimpleNamespace(made=[], fail={}), tf.distribute.cluster_resolver
        places = {
            "resolver": (real, "TPUClusterResolver"),
            "connect": (tf.config, "experimental_connect_to_cluster"),
            "initialize": (tf.tpu.experimental, "initialize_tpu_system"),
            "strategy": (tf.distribute, "TPUStrategy"),
        }
        for stage, (module, name) in places.items():
            signature = inspect.signature(getattr(module, name))

            def stand_in(*args, stage=stage, signature=signature, **kwargs):
                calls.made.append((stage, signature.bind(*args, **kwargs).arguments))
                if stage in calls.fail:
                    raise calls.fail[stage]
                return f"the {stage}"

            monkeypatch.setattr(module, name, stand_in)
        return calls

    @pytest.mark.parametrize("tpu", ["my-tpu", "grpc://10.0.0.2:8470", None])
    def test_a_tpu_over_the_network(self, calls, tpu):
        built = strategy.build_strategy("tpu", tpu=tpu, tpu_zone="z", tpu_project="p")
        assert built == "the strategy"
        assert calls.made == [
            ("resolver", {"tpu": tpu, "zone": "z", "project": "p"}),
            ("connect", {"cluster_spec_or_resolver": "the resolver"}),
            ("initialize", {"cluster_resolver": "the resolver"}),
            ("strategy", {"tpu_cluster_resolver": "the resolver"}),
        ]

    def test_a_tpu_vm_has_no_cluster_to_connect_to(self, calls):
        """`cluster_spec()` of a local resolver is empty."""
        strategy.build_strategy("tpu", tpu="local")
        stages = [stage for stage, _ in calls.made]
        assert stages == ["resolver", "initialize", "strategy"]
        assert calls.made[0][1]["tpu"] == "local"

    def test_the_real_local_resolver_has_an_empty_cluster(self):
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver("local")
        assert resolver.cluster_spec().jobs == []
        assert resolver.master() == ""

    @pytest.mark.parametrize("stage", ["resolver", "connect", "initialize", "strategy"])
    @pytest.mark.parametrize(
        "error",
        [
            ValueError("why\nand where"),
            RuntimeError(),
            OSError("why"),
            tf.errors.NotFoundError(None, None, "why"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_failure_is_one_line_with_its_reason(self, calls, stage, error):
        calls.fail[stage] = error
        reason = "why" if str(error) else type(error).__name__
        line = rf"no TPU was found: name it with --tpu=NAME, .*\({reason}\)$"
        with pytest.raises(RuntimeError, match=line) as found:
            strategy.build_strategy("tpu", tpu="my-tpu")
        assert "\n" not in str(found.value)

    def test_keras_is_told_to_leave_compiling_to_the_tpu(self, tpu, one_core):
        assert strategy.jit_compile(tpu) is False
        assert strategy.jit_compile(one_core) is False
