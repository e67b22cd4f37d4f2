"""What a run says in a terminal before it begins."""

import os
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf
from ml_collections import ConfigDict

from sogclr_tf.data.sources.base import Source
from sogclr_tf.experiment import config as configs
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.losses.registry import loss_options
from sogclr_tf.printable import printable

# Columns, as the closing table has them; the first holds what a row is about.
_FIRST, _ALL = 11, 100
# Of a loss, what is shown where it takes it; more of it is among what differs from the defaults.
_OF_LOSS = ("temperature", "gamma", "bias")
# A space that no line is broken at.
_FIRM = "\N{NO-BREAK SPACE}"


def opening_block(
    config: ConfigDict,
    folder: RunFolder,
    sources: Iterable[Source],
    encoders: Mapping[str, Any],
    training: Iterable[tuple[str, str]],
    device: str,
) -> str:
    """What is about to be done, as text for a terminal.

    Args:
        config: the run's.
        folder: where it writes.
        sources: the training images first, then those of tests where they are in use.
        encoders: {name: Keras model}, that of images first, then that of texts.
        training: rows about the training, such as `training_rows` gives.
        device: what computes, such as `device_name` gives.
    """
    rows = [
        *zip(("data", "test data"), map(_described, sources), strict=False),
        *zip(("encoder", "of texts"), map(_sized, encoders, encoders.values()), strict=False),
        *training,
        ("device", device),
        ("config", _differences(config)),
        ("writes to", str(folder.path)),
    ]
    return "".join(f"{what:{_FIRST}}{text}\n" for what, text in rows) + "\n"


def training_rows(
    config: ConfigDict, steps_per_epoch: int, step: int, replicas: int
) -> list[tuple[str, str]]:
    """Loss, batch and steps of a training.

    Args:
        config: the run's.
        steps_per_epoch: steps of an epoch.
        step: how many steps are behind.
        replicas: that share a batch.
    """
    name, batch, chunks = config.loss.name, config.batch_size, config.chunks
    known = [key for key in _OF_LOSS if key in loss_options(name)]
    shares = [f"{batch:,}"]
    if replicas > 1:
        shares.append(f"{batch // replicas:,} on each of {replicas} replicas")
    if chunks > 1:
        shares.append(f"in {chunks} chunks of {batch // replicas // chunks:,}")
    accumulated = config.optimizer.gradient_accumulation_steps
    if accumulated > 1:
        shares.append(f"{accumulated} batches an update")
    total = config.epochs * steps_per_epoch
    steps = f"{total:,} ({steps_per_epoch:,} per epoch x {config.epochs:,} epochs)"
    return [
        ("loss", ", ".join([name, *(f"{key} {config.loss[key]}" for key in known)])),
        ("batch", ", ".join(shares)),
        ("steps", f"{steps}, {step:,} are done" if step else steps),
    ]


def device_name(strategy: tf.distribute.Strategy, name: str) -> str:
    """What a strategy computes on.

    Args:
        strategy: the strategy.
        name: what --strategy calls it.
    """
    if isinstance(strategy, tf.distribute.TPUStrategy):
        kind = "TPU"
    else:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    replicas = strategy.num_replicas_in_sync
    if name == "one":
        return f"CPU, {os.cpu_count()} cores" if kind == "CPU" else kind
    return f"{replicas} x {kind}, strategy {name}"


def _described(source: Source) -> str:
    parts = [f"{printable(source.name)}: {source.size:,} images"]
    if source.has_text:
        parts.append(f"{source.num_captions or source.size:,} texts")
    if source.class_names:
        parts.append(f"{len(source.class_names):,} classes")
    return ", ".join(parts)


def _sized(name: str, encoder: Any) -> str:
    # What serves has no weights to count.
    known = hasattr(encoder, "count_params") and encoder.built
    count = f", {encoder.count_params():,} parameters" if known else ""
    return f"{printable(name)}{count}"


def _differences(config: ConfigDict) -> str:
    found = configs.differences(config).items()
    if not found:
        return "the defaults"
    shown = ", ".join(f"{key}={printable(value)}".replace(" ", _FIRM) for key, value in found)
    lines = textwrap.wrap(
        f"the defaults, but {shown}",
        _ALL - _FIRST,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"\n{' ' * _FIRST}".join(lines).replace(_FIRM, " ")
