"""WebDataset tar shards."""

import functools
import logging
import os
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import tensorflow as tf

from sogclr_tf.data.files import decoding, python_decoding
from sogclr_tf.data.sources import shard_pattern, shuffle_bound, tar_reading
from sogclr_tf.data.sources.base import order
from sogclr_tf.data.sources.captions import Captions
from sogclr_tf.data.sources.encoded import EncodedSource
from sogclr_tf.data.sources.strings import Strings
from sogclr_tf.data.sources.tar_contents import Content
from sogclr_tf.data.sources.tar_index import TarIndex, index_of
from sogclr_tf.data.sources.tar_shard import Wanted
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.example_names import ExampleNames
from sogclr_tf.printable import printable

_LOG = logging.getLogger("sogclr_tf")
# Remote shards that are read side by side, and examples of one that come before the next one's.
_SHARDS, _BLOCK = 16, 16


class TarSource(EncodedSource):
    """Images in tar shards, with captions and labels, as webdataset and img2dataset write them.

        sogclr_tf.TarSource("./cc3m/{00000..00331}.tar", text="txt")

    Members with one key belong together: the key is the path up to the first dot of the last name
    ("00000/000000012.jpg" and "00000/000000012.txt"), what follows is the suffix. They need not
    stand side by side. The index is the place of the image: in its shard, and of the shard among
    the sorted names. Keys without an image are passed over, with a warning.

    Nothing is unpacked: a pass over the headers finds where every image lies. What it finds is kept
    in a manifest (see `sogclr_tf.data.sources.file_cache`) until a shard changes in size or time.
    Of local shards any image can be read at any time, so that an epoch is shuffled as a whole and
    resumed at once. Remote ones (gs://...) are read from start to end, several side by side, and
    shuffled within a buffer.

    Examples that cannot be used are `faults`: no caption, or one that is empty or no UTF-8; a
    member that is there twice; a shard that is cut off. A stream refuses the first of them, or
    leaves them out with `on_error="skip"`.

    Args:
        shards: str or list of str: paths or patterns, with `{00000..00331}` or `{a,b}` in braces,
            `*`, `?` and `[...]`.
        image: the suffix of the images, such as "jpg" or "left.png"; None for any of an image file.
        text: where captions lie: the suffix of a member of text ("txt"), or of one of JSON with the
            key, "json/title"; "json" is "json/caption". A list in JSON holds several captions of
            the image. None to leave them out.
        label: where classes lie, whole numbers from 0, likewise; "cls" is taken where it is there.
            None to leave them out.
        class_names: list of str, or None.
        shuffle_buffer, buffer_bytes: of remote shards, as for `sogclr_tf.TFRecordSource`.
        channels, value_range: as for `sogclr_tf.FolderSource`.

    Raises:
        FileNotFoundError: a pattern has no file.
        ValueError: a shard is damaged before its first example, no shard has an image, or `text` or
            `label` is in none; a buffer is no whole number >= 1.

    Examples:
        >>> import io
        >>> import tarfile
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> png = tf.io.encode_png(tf.zeros([16, 16, 3], tf.uint8)).numpy()
        >>> with tarfile.open("00000.tar", "w") as shard:
        ...     for key in ("000", "001"):
        ...         for suffix, data in (("png", png), ("txt", b"a black square")):
        ...             member = tarfile.TarInfo(f"{key}.{suffix}")
        ...             member.size = len(data)
        ...             shard.addfile(member, io.BytesIO(data))
        >>> source = sogclr_tf.TarSource("*.tar", text="txt", label=None)
        >>> source.num_examples, source.has_text
        (2, True)
    """

    def __init__(
        self,
        shards: str | os.PathLike | Sequence[str | os.PathLike],
        *,
        image: str | None = None,
        text: str | None = None,
        label: str | None = "cls",
        class_names: list[str] | None = None,
        shuffle_buffer: int = 16_384,
        buffer_bytes: int = shuffle_bound.BUFFER_BYTES,
        channels: int | None = None,
        value_range: ValueRange | None = None,
    ) -> None:
        given = [shards] if isinstance(shards, (str, os.PathLike)) else shards
        patterns = [os.fspath(shard) for shard in given]
        name = printable(", ".join(patterns))
        names = shard_pattern.shards_of(patterns)
        wanted = Wanted(
            image.strip(".").lower() if image else None,
            Content.of(text, key="caption"),
            Content.of(label),
        )
        found = index_of(names, wanted, name)
        labeled = _check(found, wanted, name)
        super().__init__(
            name,
            len(found.offsets),
            labeled=labeled,
            has_text=text is not None,
            class_names=class_names,
            channels=channels,
            value_range=value_range,
        )
        self.faults = found.faults
        self._local = self.any_order = "://" not in names[0]
        self._names, self._state, self._counts = names, found.state, found.counts
        self._keys = Strings(found.keys.tobytes(), found.key_starts)
        if not self._local:
            self._shuffle_buffer = shuffle_bound.bounded(
                shuffle_buffer, buffer_bytes, found.state[:, 0], found.counts, name
            )
        self._captions = None
        if text is not None:
            counts = found.text_counts if len(found.text_counts) else None
            texts = Strings(found.texts.tobytes(), found.text_starts)
            self._captions = Captions(texts, counts)
            self.caption_offsets = self._captions.offsets(None, self.size)
        self._labels = tf.constant(found.labels) if labeled else None
        self._starts = tf.constant(np.concatenate([[0], np.cumsum(found.counts)]), tf.int32)
        self._lengths = tf.constant(found.state[:, 0])
        self._offsets, self._sizes = tf.constant(found.offsets), tf.constant(found.sizes)

    @property
    def in_python(self) -> bool:
        return self._local or super().in_python

    @property
    def _decoder(self) -> ModuleType:
        return python_decoding if super().in_python else decoding

    def fingerprint(self) -> str:
        return f"{super().fingerprint()} {self._names} {self._state.tolist()}"

    def example_names(self) -> ExampleNames:
        """The keys; behind the names of their shards where several have the same one."""
        return self._example_names

    @functools.cached_property
    def _example_names(self) -> ExampleNames:
        names = ExampleNames(self._keys.text.numpy(), self._keys.starts.numpy())
        keys = names.stems()
        if len(set(keys)) == len(keys):
            return names
        stems = [os.fsencode(os.path.basename(name)) for name in self._names]
        shards = np.repeat(np.arange(len(stems)), self._counts).tolist()
        return ExampleNames.of(
            stems[shard] + b"/" + key for shard, key in zip(shards, keys, strict=True)
        )

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        if self._local:
            rows = order(self.size, seed, first)
            return tf.data.Dataset.from_tensor_slices(rows).map(self.example_at)
        shards = tf.range(len(self._names))
        if seed is None:
            passing = tf.data.Dataset.from_tensor_slices(shards).flat_map(self._of_shard)
            return passing.skip(first)
        key = tf.stack([tf.cast(seed, tf.int64), 1])
        shards = tf.random.experimental.stateless_shuffle(shards, key, alg="philox")
        examples = tf.data.Dataset.from_tensor_slices(shards).interleave(
            self._of_shard,
            cycle_length=min(_SHARDS, len(self._names)),
            block_length=_BLOCK,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        examples = examples.shuffle(self._shuffle_buffer, seed=seed, reshuffle_each_iteration=False)
        return examples.skip(first)

    def example_at(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._example(row, row)

    def read(self, image: tf.Tensor) -> tf.Tensor:
        if not self._local:
            return image
        shard = tf.searchsorted(self._starts, image[tf.newaxis], side="right")[0] - 1
        name = tf.constant(self._names)[shard]
        return tar_reading.part_of_file(name, self._offsets[image], self._sizes[image])

    def locate(self, index: int) -> str:
        shard = int(np.searchsorted(np.cumsum(self._counts), index, side="right"))
        (key,) = self._keys.some(np.array([index]))
        return f"{printable(os.fsdecode(key))} in {printable(self._names[shard])}"

    def _of_shard(self, shard: tf.Tensor) -> tf.data.Dataset:
        begin, end = self._starts[shard], self._starts[shard + 1]
        pieces = tar_reading.pieces(
            tf.constant(self._names)[shard],
            self._lengths[shard],
            self._offsets[begin:end],
            self._sizes[begin:end],
        )
        return pieces.map(lambda number, data: self._example(data, begin + number))

    def _example(self, image: tf.Tensor, row: tf.Tensor) -> dict[str, tf.Tensor]:
        example = {"image": image, "index": row}
        if self._labels is not None:
            example["label"] = self._labels[row]
        if self._captions is not None:
            example["text"] = self._captions.of_row(row)
        return example


def _check(found: TarIndex, wanted: Wanted, name: str) -> bool:
    """Whether there are labels.

    Raises:
        ValueError: there is no image, or what was named is nowhere.
    """
    count, first = found.imageless
    if not len(found.offsets):
        image = f".{wanted.image}" if wanted.image else "an image file"
        raise ValueError(
            f"{name} has no member that is {image}: name the suffix of images (image=)"
        )
    if count:
        _LOG.warning(
            "%s: passed over %s keys that have no image, such as %s",
            *(name, f"{count:,}", printable(first)),
        )
    if wanted.text and not found.texts.size:
        why = found.faults[0]
        raise ValueError(f"{name} has no caption at all: {why}, nor has another key (text=)")
    labeled = bool(found.labels.max() >= 0)
    if wanted.label and wanted.label != Content("cls", None) and not labeled:
        raise ValueError(
            f"{name} has no label in .{wanted.label.suffix}: name where it is, or None (label=)"
        )
    return labeled
