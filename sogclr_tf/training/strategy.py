"""From a name to a tf.distribute strategy."""

import contextlib
import functools
import os

import tensorflow as tf

from sogclr_tf.error_line import first_line


def strategy_names() -> list[str]:
    """The names that `build_strategy` knows."""
    return ["one", "mirrored", "multiworker", "tpu"]


def build_strategy(
    name: str,
    *,
    tpu: str | None = None,
    tpu_zone: str | None = None,
    tpu_project: str | None = None,
) -> tf.distribute.Strategy:
    """The strategy called `name`.

    Args:
        name: "one": one device; "mirrored": all GPUs of this machine (all CPU devices where it has
            none), one object for all calls; "multiworker": the machines of `TF_CONFIG`; "tpu": a
            TPU, found by `tpu` (its name or address, "local" on a TPU VM, None to look in the
            environment), `tpu_zone` and `tpu_project`.
        tpu, tpu_zone, tpu_project: name or address of the TPU, "local" on a TPU VM; its Cloud
            zone and project. For "tpu" alone.

    Returns:
        The tf.distribute.Strategy.

    Raises:
        ValueError: the name is unknown, or `TF_CONFIG` is missing for "multiworker".
        RuntimeError: there is no TPU.

    Examples:
        >>> import sogclr_tf
        >>> strategy = sogclr_tf.build_strategy("one")
        >>> strategy.num_replicas_in_sync
        1
        >>> with strategy.scope():
        ...     encoder = sogclr_tf.small_resnet(widths=(8,), input_shape=(16, 16, 3))
    """
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
        return _mirrored(*(device.name for device in tf.config.list_logical_devices(kind)))
    if name == "multiworker":
        if "TF_CONFIG" not in os.environ:
            raise ValueError(
                "strategy 'multiworker' needs TF_CONFIG, which names the machines and this one's "
                "place among them: set it on every worker"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "tpu":
        return _tpu_strategy(tpu, tpu_zone, tpu_project)
    raise ValueError(f"unknown strategy '{name}': choose one of {', '.join(strategy_names())}")


# One for all models of a process: TensorFlow mixes up the exchanges of two.
@functools.cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(list(devices))


def jit_compile(strategy: tf.distribute.Strategy) -> str | bool:
    """What Keras's `compile` is to be told: XLA where one device gains by it.

    Under several replicas Keras's jit_compile=True fails, and a TPU compiles by itself.
    """
    return "auto" if strategy.num_replicas_in_sync == 1 and not _is_tpu(strategy) else False


def has_accelerator() -> bool:
    """Whether there is a GPU or a TPU, which then trains under every strategy."""
    return any(tf.config.list_logical_devices(kind) for kind in ("GPU", "TPU"))


def may_loop() -> bool:
    """Whether the step at hand may hold a loop with updates of variables and exchanges in it.

    Not where TensorFlow traces replicas in threads, which meet at each of these: a graph that is
    traced inside the step, such as the body of a loop, is none that they could meet in.
    """
    single = (tf.distribute.OneDeviceStrategy, tf.distribute.TPUStrategy)
    return not tf.distribute.has_strategy() or isinstance(tf.distribute.get_strategy(), single)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes files: the first of several workers."""
    if not spans_workers(strategy):
        return True
    resolver = strategy.cluster_resolver
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_id == 0


def spans_workers(strategy: tf.distribute.Strategy) -> bool:
    """Whether several processes train together, each with this program."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def from_all_workers(strategy: tf.distribute.Strategy, number: int) -> list[int]:
    """[number of every worker] as ints; each worker must call it, and waits for the others."""
    if not spans_workers(strategy):
        return [number]
    return strategy.gather(tf.constant([number], tf.int64), axis=0).numpy().tolist()


def part_from_workers(strategy: tf.distribute.Strategy) -> None:
    """Waits until every worker has read what was gathered last.

    For a worker that is about to end: its closed connection would break into the gathering of
    those that are still at it, and they would tell of the connection instead.
    """
    with contextlib.suppress(tf.errors.OpError):
        from_all_workers(strategy, 0)


def checkpoint_options(strategy: tf.distribute.Strategy) -> tf.train.CheckpointOptions:
    """tf.train.CheckpointOptions: on a TPU this machine does the reading and the writing.

    Otherwise each of a pod's machines would look for the folder on its own disk.
    """
    device = "/job:localhost" if _is_tpu(strategy) else None
    return tf.train.CheckpointOptions(experimental_io_device=device)


def _is_tpu(strategy: tf.distribute.Strategy) -> bool:
    return isinstance(strategy, tf.distribute.TPUStrategy)


def _tpu_strategy(tpu: str | None, zone: str | None, project: str | None) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu, zone, project)
        if tpu != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, OSError, RuntimeError, tf.errors.OpError) as error:
        raise RuntimeError(
            "no TPU was found: name it with --tpu=NAME, or --tpu=local on a TPU VM with "
            f"sogclr_tf[tpu] installed ({first_line(error)})"
        ) from error
