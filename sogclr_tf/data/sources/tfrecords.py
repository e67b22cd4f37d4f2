"""TFRecord files of encoded images, or of raw pixels."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources import label_range, shuffle_bound, text_pass, tfrecord_count
from sogclr_tf.data.sources.files_or_arrays import FilesOrArraysSource
from sogclr_tf.data.sources.raw_records import raw_pixels
from sogclr_tf.data.sources.shard_pattern import matching
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.example_names import ExampleNames
from sogclr_tf.printable import printable

# Files that are read side by side, and records of one that come before the next one's.
_FILES, _BLOCK = 16, 16
# Records of compressed files whose length is taken for that of all.
_MEASURED = 64
_AS_BYTES = "; write pixels as bytes (array.tobytes()), and state their dtype and shape"
_KINDS = {"bytes_list": "bytes", "int64_list": "int64", "float_list": "float"}


class TFRecordSource(FilesOrArraysSource):
    """Records of tf.train.Example, each with one image, encoded or raw.

    The index is the record's place in the sorted files, or an integer that the records carry. How
    many records a file holds is kept in a manifest (`sogclr_tf.data.sources.file_cache`).

    Args:
        files: str or list of str: paths, or patterns such as "gs://bucket/train-*.tfrecord".
        image: name of the feature that holds the bytes of a JPEG, PNG, WebP, BMP or GIF file, or
            those of raw pixels where `dtype` and `shape` say what they are.
        label: name of the feature with the class, an integer >= 0; None for unlabeled images.
        index: name of the feature with the index, an integer; over all records they must be
            0, 1, 2 ... in any order. None to take the place in the sorted files.
        text: name of the feature with the text of the image, or with several; None to leave texts
            out. A pass over all records finds those that have none that can be used, which are
            `faults`, and is remembered.
        class_names: list of str, or None.
        shuffle_buffer: how many examples the order of an epoch is drawn from at a time, after the
            files themselves are shuffled. So many images are held in memory, as their bytes.
        buffer_bytes: how many bytes these may take, by the sizes of the files; where fewer examples
            fit, the order is drawn from fewer at a time. A record of a compressed file counts as
            many bytes as the first ones have on average, if that is more.
        channels, value_range: as for `sogclr_tf.FolderSource`, and of raw pixels as for
            `sogclr_tf.ArraySource`.
        dtype: of raw pixels, which are the bytes of `array.tobytes()`: uint8, uint16, int16,
            float16, bfloat16, float32 or float64; ">u2" and the like where the highest byte comes
            first. None for encoded images.
        shape: of raw pixels, (height, width, channels), each a number or the name of the integer
            feature that holds it; (height, width) for one channel. All images have the channels
            of the first.

    Raises:
        FileNotFoundError: no file matches.
        ValueError: a file is no whole TFRecord file; the first record lacks a feature, or has
            several labels; the indices, `dtype` or `shape` are not as above; a buffer is no whole
            number >= 1; raw int16 without a range. (Raw uint16 of which the first records use a
            small part, without one, are refused where `pixel_format` is first asked for.)

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> png = tf.io.encode_png(tf.zeros([16, 16, 3], tf.uint8)).numpy()
        >>> feature = {"image/encoded": {"bytes_list": {"value": [png]}}}
        >>> record = tf.train.Example(features={"feature": feature}).SerializeToString()
        >>> with tf.io.TFRecordWriter("train-0.tfrecord") as writer:
        ...     writer.write(record)
        >>> sogclr_tf.TFRecordSource("train-*.tfrecord").num_examples
        1
    """

    def __init__(
        self,
        files: str | os.PathLike | Sequence[str],
        image: str = "image/encoded",
        label: str | None = None,
        index: str | None = None,
        *,
        text: str | None = None,
        class_names: list[str] | None = None,
        shuffle_buffer: int = 16_384,
        buffer_bytes: int = shuffle_bound.BUFFER_BYTES,
        channels: int | None = None,
        value_range: ValueRange | None = None,
        dtype: Any = None,
        shape: Sequence[int | str] | None = None,
    ) -> None:
        self._raw = raw_pixels(image, dtype, shape)
        patterns = [os.fspath(files)] if isinstance(files, (str, os.PathLike)) else [*files]
        self._name = printable(", ".join(patterns))
        names = matching(patterns)
        # The working directory may change before the files are read.
        names = sorted(name if "://" in name else os.path.abspath(name) for name in names)
        if not names:
            raise FileNotFoundError(
                f"no folder and no file is called '{self._name}': give a folder of images, or the "
                "pattern of TFRecord files"
            )
        counts, compression = tfrecord_count.count_records(names)
        super().__init__(
            self._name,
            counts.sum(),
            image_size=self._raw and self._raw.image_size,
            labeled=bool(label),
            has_text=bool(text),
            class_names=class_names,
            channels=channels,
            value_range=value_range,
        )
        self._features = {"image": image, "label": label, "index": index, "text": text}
        self._names, self._counts, self._compression = names, counts, compression
        first = self._check_features()
        self._shuffle_buffer = shuffle_bound.bounded(
            shuffle_buffer, buffer_bytes, self._bytes(), counts, self._name
        )
        if self._raw:
            channels = self._raw.channels_of(first, self._name)
            self._raw = self._raw.with_channels(channels)
            self._hold_arrays(self._raw.dtype, channels)
        if index:
            tfrecord_count.once_per_files(names, f"index {index}", self._check_indices)
        if text:
            self._find_texts(text)

    def _bytes(self):
        """What the records of each file take in memory, int64 [files]."""
        sizes = tfrecord_count.state(self._names)[:, 0]
        if not self._compression:
            return sizes
        records = tf.data.TFRecordDataset(self._names, self._compression).take(_MEASURED)
        lengths = [len(record) for record in records.as_numpy_iterator()]
        return np.maximum(sizes, np.ceil(np.mean(lengths) * self._counts).astype(np.int64))

    def fingerprint(self) -> str:
        state = tfrecord_count.state(self._names)
        return f"{super().fingerprint()} {self._names} {state.tolist()}"

    def _decoded_as(self) -> str:
        stated = super()._decoded_as()
        return f"{stated} {self._raw}" if self._raw else stated

    def example_names(self) -> ExampleNames:
        """The index that a record carries; else what it holds, in whatever file it lies."""
        if self._features["index"]:
            return ExampleNames.numbered([f"{self._features['index']} "], [self.size])
        ids = tfrecord_count.record_ids(self._names, self._compression)
        return ExampleNames.of_digests("record ", ids.astype(">u8").view(np.uint8).reshape(-1, 8))

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        begins = np.cumsum(self._counts) - self._counts
        files = np.arange(len(self._names))
        if seed is not None:
            key = tf.stack([tf.cast(seed, tf.int64), 1])
            files = tf.random.experimental.stateless_shuffle(files, key, alg="philox")
        names, begins = tf.gather(self._names, files), tf.gather(begins, files)
        files = tf.data.Dataset.from_tensor_slices((names, begins))
        if seed is None:
            return files.flat_map(self._of_file).skip(first)
        examples = files.interleave(
            self._of_file,
            cycle_length=min(_FILES, len(self._names)),
            block_length=_BLOCK,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        examples = examples.shuffle(self._shuffle_buffer, seed=seed, reshuffle_each_iteration=False)
        return examples.skip(first)

    def read(self, image: tf.Tensor) -> tf.Tensor:
        if self._raw:
            return self._raw.array(image)
        return self._parse(image, "image", tf.string, "")

    def locate(self, index: int) -> str:
        if self._features["index"]:
            return f"the record of {self._name} with {self._features['index']} {index}"
        return self._place(index)

    def check_examples(self) -> None:
        """Raises ValueError of the first record that has not one label or not one index."""
        records = tf.data.TFRecordDataset(self._names, self._compression)
        for number, record in enumerate(records.as_numpy_iterator()):
            self._check_single(tf.train.Example.FromString(record).features.feature, number)

    def _check_single(self, found, record):
        """Of the features of a record, the one at that place."""
        for part, plural in (("label", "labels"), ("index", "indices")):
            feature = self._features[part]
            if not feature or feature not in found:
                continue
            kind = found[feature].WhichOneof("kind")
            count = len(getattr(found[feature], kind).value) if kind else 1
            if count != 1:
                raise ValueError(
                    f"{self._place(record)} has {count} {plural} in '{feature}': expected one "
                    f"whole number; write one {part} for each image, or leave the name of the "
                    f"feature out ({part}=None, --config.data.features.{part}=)"
                )

    def _place(self, record: int) -> str:
        """Where the record of a place in the sorted files lies, as text."""
        ends = np.cumsum(self._counts)
        file = int(np.searchsorted(ends, record, side="right"))
        number = record - (ends[file] - self._counts[file])
        return f"record {number} of {printable(self._names[file])}"

    def _of_file(self, name, begin):
        """The examples of one file; an example's "image" is its whole record."""
        records = tf.data.TFRecordDataset(name, self._compression)
        return records.enumerate(begin).map(self._example)

    def _example(self, place, record):
        example = {"image": record}
        index = place
        if self._features["index"]:
            index = self._parse(record, "index", tf.int64, -1)
        if self.labeled:
            example["label"] = self._parse(record, "label", tf.int64, -1)
        if self.has_text:
            several = self.caption_offsets is not None
            example["text"] = text_pass.as_example(self._texts(record), several)
        return {**label_range.as_int32(example), "index": tf.cast(index, tf.int32)}

    def _find_texts(self, feature):
        """What a pass over the texts tells."""
        place = "\n".join([f"{feature} {self._features['index']}", *self._names])
        # As a text each, until it is known that there are lists.
        passing = self.examples().map(lambda e: (e["index"], self._texts(e["image"])))
        state = tfrecord_count.state(self._names)
        called = f"'{printable(feature)}'"
        found = text_pass.find(place, state, passing, self.size, called=called)
        self.caption_offsets, self.faults = found

    def _texts(self, record):
        feature = self._features["text"]
        wanted = {feature: tf.io.RaggedFeature(tf.string)}
        return tf.io.parse_single_example(record, wanted)[feature]

    def _parse(self, record, part, dtype, missing):
        feature = self._features[part]
        wanted = {feature: tf.io.FixedLenFeature([], dtype, missing)}
        return tf.io.parse_single_example(record, wanted)[feature]

    def _check_features(self):
        """The features of the first record."""
        record = next(iter(tf.data.TFRecordDataset(self._names, self._compression)))
        try:
            found = tf.train.Example.FromString(record.numpy()).features.feature
        except Exception:
            found = {}
        if not found:
            raise ValueError(f"the first record of {self._name} is no tf.train.Example")
        kinds = {"image": "bytes", "label": "int64", "index": "int64", "text": "bytes"}
        for part, kind in kinds.items():
            feature = self._features[part]
            if not feature:
                continue
            there = _KINDS.get(found[feature].WhichOneof("kind")) if feature in found else None
            if there != kind:
                listed = ", ".join(sorted(found))
                raise ValueError(
                    f"records of {self._name} have "
                    + (f"{there} in '{feature}'" if there else f"no feature '{feature}'")
                    + f": name the feature of the {part}, {kind}, among {listed}"
                    + (", or none" if part != "image" else _AS_BYTES)
                )
        self._check_single(found, 0)
        return found

    def _check_indices(self):
        """Raises ValueError unless the records carry 0, 1, 2 ..., each once."""
        feature = self._features["index"]
        records = tf.data.TFRecordDataset(self._names, self._compression)
        found = records.map(lambda record: self._parse(record, "index", tf.int64, -1))
        try:
            indices = np.concatenate(list(found.batch(65_536).as_numpy_iterator()))
        except tf.errors.InvalidArgumentError:
            self.check_examples()
            raise
        outside = np.flatnonzero((indices < 0) | (indices >= self.size))
        if len(outside):
            raise ValueError(
                f"{self._place(outside[0])} has '{feature}' {indices[outside[0]]} or none: "
                f"expected [0, {self.size}); without the name of a feature, records are numbered "
                "by their place"
            )
        order = np.argsort(indices, kind="stable")
        twice = np.flatnonzero(np.diff(indices[order]) == 0)
        if len(twice):
            one, other = order[twice[0]], order[twice[0] + 1]
            raise ValueError(
                f"'{feature}' {indices[one]} occurs twice, in {self._place(one)} and in "
                f"{self._place(other)} ({len(twice)} such in all): each record needs its own"
            )
