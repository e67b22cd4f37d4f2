"""Images that cannot be decoded: found, named and left out."""

import contextlib
import logging
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from sogclr_tf.data import refusal
from sogclr_tf.data.files.decode_errors import ERRORS, in_one_line
from sogclr_tf.data.reduced import RATIOS
from sogclr_tf.data.sources import file_cache
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.filtered import FilteredSource
from sogclr_tf.printable import printable
from sogclr_tf.terminal import has_bar

_LOG = logging.getLogger("sogclr_tf")
_BATCH = 256


def readable(source: Source) -> Source:
    """A source without its `faults` and those of its images that cannot be decoded.

    All images are decoded once. What was found is remembered (see
    `sogclr_tf.data.sources.file_cache`); the next start tries those alone that were left out, and
    all of them again if one of these was mended. The others keep their indices; `skipped` of the
    result is {index: why} of what is left out.

    Args:
        source: `Source`. One whose images are in memory is given back as it is.

    Raises:
        ValueError: none of the images can be decoded.
    """
    source = _without_faults(source)
    fingerprint = source.fingerprint()
    if fingerprint is None:
        return source
    skipped = _remembered(source)
    if skipped is None:
        _LOG.info("decoding all images of %s once, to find those that cannot be", source.name)
        try:
            found = unreadable(source, source.examples(), source.size, has_bar())
        except ERRORS:
            source.check_examples()
            raise
        skipped = _reasons(source, found)
        file_cache.save(
            "unreadable",
            fingerprint,
            index=np.array(sorted(skipped), np.int64),
        )
    if len(skipped) == source.size:
        index, why = next(iter(skipped.items()))
        raise ValueError(
            f"none of the {source.size} images of {source.name} can be decoded; "
            f"{printable(source.locate(index))}: {why}"
        )
    return FilteredSource(source, skipped=skipped) if skipped else source


def usable(source: Source, on_error: str = "raise") -> Source:
    """The source to train on, as `on_error` says: "skip" for `readable`, "raise" for all of it.

    Raises:
        FileNotFoundError: a file is not there, and none is to be left out.
        ValueError: an example is one of `faults`, and none is to be left out.
    """
    if on_error == "skip":
        return readable(source)
    check_faults(source)
    source.check_files()
    return source


def check_faults(source: Source) -> None:
    """Raises ValueError, with the place of the first, where a source has `faults`."""
    if source.faults:
        index, why = min(source.faults.items())
        raise ValueError(
            f"{printable(source.locate(index))} (index {index}) cannot be used: {why} "
            f"({len(source.faults)} such in all). Mend it, or leave such examples out with "
            "on_error='skip'"
        )


@contextlib.contextmanager
def clear_errors(
    source: Source, examples: Callable[[], tf.data.Dataset] | None = None
) -> Iterator[None]:
    """Raises what decoding ends with as a ValueError of one line that names file and index.

    So it does with what a check in the pipeline stopped with.

    Args:
        source: whose images are decoded inside.
        examples: function that gives those examples of `source` among which to look; by default
            all.
    """
    try:
        yield
    except ERRORS as error:
        line = refusal.line_of(error)
        if line is not None:
            raise ValueError(line) from None
        examples = source.examples() if examples is None else examples()
        try:
            found = _reasons(source, unreadable(source, examples))
        except ERRORS:
            found = {}
        if not found:
            source.check_examples()
            raise
        # It may have broken since all were decoded.
        fingerprint = source.fingerprint()
        if fingerprint is not None:
            file_cache.forget("unreadable", fingerprint)
        index, why = next(iter(found.items()))
        raise ValueError(
            f"{printable(source.locate(index))} (index {index}) cannot be decoded: {why}. Mend it, "
            "or leave such images out with on_error='skip'"
        ) from None


def unreadable(
    source: Source, examples: tf.data.Dataset, count: int | None = None, progress: bool = False
) -> np.ndarray:
    """The indices of those of `examples` that cannot be decoded: int array, sorted.

    Args:
        source: whose examples they are.
        examples: finite tf.data.Dataset of what `Source.examples` gives.
        count: how many there are, for a bar of progress.
        progress: whether to show one.
    """

    def decoded(example):
        # At the smallest scale, which reads as much of a file.
        pixels = source.reduced(source.read(example["image"]), None, RATIOS[-1]).pixels
        # A pixel goes along, so that no optimizer thinks that decoding is needless.
        return example["index"], pixels[0, 0]

    every = examples.map(lambda example: example["index"])
    good = examples.map(decoded, tf.data.AUTOTUNE, deterministic=False).ignore_errors()
    bar = keras.utils.Progbar(count, unit_name="batch of images") if progress else None
    found = []
    for index, _ in good.batch(_BATCH).as_numpy_iterator():
        found.append(index)
        if bar:
            bar.add(len(index))
    good = np.concatenate(found) if found else np.zeros(0, np.int32)
    every = list(every.batch(_BATCH).as_numpy_iterator())
    every = np.concatenate(every) if every else np.zeros(0, np.int32)
    return np.setdiff1d(every, good)


def _without_faults(source: Source) -> Source:
    if not source.faults:
        return source
    if len(source.faults) == source.size:
        index, why = min(source.faults.items())
        raise ValueError(
            f"none of the {source.size} examples of {source.name} can be used; "
            f"{printable(source.locate(index))}: {why}"
        )
    return FilteredSource(source, skipped=source.faults)


def _remembered(source):
    """What was found at an earlier start; None where nothing was, or something was mended."""
    stored = file_cache.load("unreadable", source.fingerprint())
    if stored is None:
        return None
    found = _reasons(source, stored["index"])
    return found if len(found) == len(stored["index"]) else None


def _reasons(source: Source, indices: np.ndarray) -> dict[int, str]:
    """{index: why} of those of `indices` that cannot be decoded."""
    if not len(indices):
        return {}
    wanted = tf.constant(indices, tf.int32)
    examples = source.examples().filter(lambda x: tf.reduce_any(x["index"] == wanted))
    found = {}
    for example in examples:
        try:
            source.decode(source.read(example["image"]))
        except ERRORS as error:
            found[int(example["index"])] = in_one_line(error)
    return dict(sorted(found.items()))
