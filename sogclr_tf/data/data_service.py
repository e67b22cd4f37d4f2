"""Views made by the workers of a tf.data service, on machines other than the one that trains."""

import socket
import urllib.parse
from collections.abc import Callable

import tensorflow as tf

from sogclr_tf.data.sources.base import Source

# Elements that travel together.
_PARCEL = 16
_PATIENCE = 10


def check_address(address: str) -> None:
    """Raises ValueError unless a dispatcher answers at `address`, "grpc://host:port"."""
    parts = urllib.parse.urlsplit(address)
    try:
        known = parts.scheme == "grpc" and parts.hostname and parts.port
    except ValueError:
        known = False
    if not known:
        raise ValueError(
            f"service is '{address}': expected the dispatcher's address, grpc://HOST:PORT"
        )
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()
    except OSError as error:
        raise ValueError(
            f"no dispatcher of a tf.data service answers at {address} ({error}): start one, or "
            "leave service out"
        ) from None


def check_source(source: Source) -> None:
    """Raises ValueError where the workers could not decode the images of a source."""
    if source.in_python:
        raise ValueError(
            f"{source.name} is a local tar, or holds TIFF, .npy, AVIF or HEIC files, which the "
            "workers of a tf.data service cannot read: leave service out, or convert it to PNG or "
            "TFRecords"
        )


def served(examples: tf.data.Dataset, function: Callable, address: str) -> tf.data.Dataset:
    """`function` of every one of `examples`, each done once by whichever worker is free.

    The order is that in which they arrive, another each time.

    Args:
        examples: finite tf.data.Dataset.
        function: of an element, of TensorFlow's operations; the workers run it.
        address: of the dispatcher, "grpc://host:port".
    """
    made = examples.map(function, tf.data.AUTOTUNE).batch(_PARCEL)
    made = made.apply(
        tf.data.experimental.service.distribute(
            tf.data.experimental.service.ShardingPolicy.DYNAMIC, address
        )
    )
    return made.unbatch()
