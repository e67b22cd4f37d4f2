"""One core of a TPU as TensorFlow sees it, with exchanges that lower on a CPU."""

import types

import tensorflow as tf

# Seen in TensorFlow 2.21. `tf.distribute.TPUStrategy` exchanges by CrossReplicaSum, which XLA
# lowers to the same all-reduce, but which has a kernel for a TPU alone.
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_all_reduce, xla_replica_id

SUM, MEAN = tf.distribute.ReduceOp.SUM, tf.distribute.ReduceOp.MEAN


class CoreContext(tf.distribute.ReplicaContext):
    """One of so many replicas, alike on every core: what is traced in it is the step of each.

        with CoreContext(cores=8):
            logs = model.train_step(batch)

    The model is built under no strategy: its variables are this core's copies. Each exchange is
    an operation in a name scope "exchange_KIND": gradients, statistics, scalars or gather, with
    "_gradient" behind it on the way back.
    """

    def __init__(self, cores: int) -> None:
        super().__init__(tf.distribute.get_strategy(), 0)
        self._cores = cores
        self._tpu = tf.distribute.TPUStrategy(AbsentCores(cores))

    @property
    def strategy(self) -> tf.distribute.Strategy:
        # The base class asks for it while it is being made.
        return getattr(self, "_tpu", self._strategy)

    @property
    def num_replicas_in_sync(self) -> int:
        return self._cores

    @property
    def replica_id_in_sync_group(self) -> tf.Tensor:
        return xla_replica_id()

    def all_reduce(self, reduce_op, value, options=None):  # noqa: ARG002
        """As TensorFlow's: the sum or the mean over the cores, with its gradient."""
        reduce_op = tf.distribute.ReduceOp(str(getattr(reduce_op, "value", reduce_op)).upper())
        # Keras's optimizers pass all gradients at once; batch normalization one sum.
        kind = "gradients" if isinstance(value, (list, tuple)) else None
        return tf.nest.map_structure(
            lambda x: self._reduced(tf.convert_to_tensor(x), reduce_op, kind or _kind_of(x)), value
        )

    def all_gather(self, value, axis, options=None):  # noqa: ARG002
        """As TPUStrategy's: the sum of rows that each core puts in their place among zeros."""
        assert axis == 0
        own = tf.one_hot(self.replica_id_in_sync_group, self._cores, dtype=value.dtype)
        own = tf.reshape(own, [self._cores] + [1] * value.shape.rank)
        everyone = self._reduced(own * value[tf.newaxis], SUM, "gather")
        return tf.reshape(everyone, [self._cores * value.shape[0], *value.shape[1:]])

    def _reduced(self, value, reduce_op, kind):
        @tf.custom_gradient
        def reduced(x):
            with tf.name_scope(f"exchange_{kind}"):
                total = xla_all_reduce(x, [[*range(self._cores)]], reduce_op="Add", mode=_MODE)
                total = total / self._cores if reduce_op == MEAN else total
            return total, lambda upstream: self._reduced(upstream, reduce_op, f"{kind}_gradient")

        return reduced(value)


_MODE = "CrossReplica"


def _kind_of(value):
    return "statistics" if value.shape.rank else "scalars"


class AbsentCores:
    """A resolver of cores that do not exist: enough for TPUStrategy to trace, not to run."""

    def __init__(self, cores):
        self._cores = cores

    def get_tpu_system_metadata(self):
        place = "/job:localhost/replica:0/task:0/device:TPU:"
        devices = [types.SimpleNamespace(name=f"{place}{core}") for core in range(self._cores)]
        return tf.tpu.experimental.TPUSystemMetadata(self._cores, 1, self._cores, None, devices)
