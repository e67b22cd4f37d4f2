"""The data sets of tensorflow_datasets."""

import difflib
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from sogclr_tf.data.sources import first_files, label_range, shuffle_bound, text_pass
from sogclr_tf.data.sources.files_or_arrays import FilesOrArraysSource
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.example_names import ExampleNames


class TfdsSource(FilesOrArraysSource):
    """A data set of tensorflow_datasets with a feature of images, or of arrays [H, W, C].

    The index is the example's place in the files of its split: the same whatever the order, the
    slice (`train[:10%]`) and the run.

    Args:
        name: a TFDS name, such as "cifar10" or "imagenet2012:5.1.0".
        split: any split expression, such as "train", "train[:10%]" or "train+test".
        data_dir: where the data set is prepared; None for TFDS's own folder.
        shuffle_buffer: how many examples the order of an epoch is drawn from at a time, after the
            files themselves are shuffled.
        buffer_bytes: how many bytes these may take, by the size of the prepared split; where fewer
            examples fit, the order is drawn from fewer at a time.
        text: the name of the feature that holds each image's text, or a sequence of several, as
            "captions/text" of "coco_captions"; None to leave texts out. Of sequences a pass over
            the split counts the texts, and is remembered.
        image: the name of the feature that holds the images, such as "sentinel2" of "eurosat/all".
        channels, value_range: as for `sogclr_tf.FolderSource`, and of arrays as for
            `sogclr_tf.ArraySource`.

    Raises:
        ValueError: the name or the split is unknown, there is no such image or text, or a buffer is
            no whole number >= 1.
        FileNotFoundError: `data_dir` does not exist.

    Examples:
        >>> import tensorflow_datasets as tfds
        >>> import sogclr_tf
        >>> tfds.testing.DummyMnist(data_dir="tfds").download_and_prepare()  # others by tfds.load
        Downloading and preparing dataset ...
        >>> source = sogclr_tf.TfdsSource("dummy_mnist", "train[80%:]", data_dir="tfds")
        >>> source.num_examples, [int(example["index"]) for example in source.examples()]
        (20, [16, 17, 18, 19])
    """

    def __init__(
        self,
        name: str,
        split: str = "train",
        data_dir: str | None = None,
        *,
        shuffle_buffer: int = 16_384,
        buffer_bytes: int = shuffle_bound.BUFFER_BYTES,
        text: str | None = None,
        image: str = "image",
        channels: int | None = None,
        value_range: ValueRange | None = None,
    ) -> None:
        builder = _tfds_builder(name, data_dir)
        feature, encoded = _image_feature(builder, image)
        several = text is not None and _text_shape(builder, text) != ()
        instructions = _split_info(builder, split)
        _check_no_overlap(instructions, split)
        first_index, num_examples = _first_indices(builder, instructions)
        labeled = "label" in builder.info.features
        super().__init__(
            f"{name}[{split}]",
            instructions.num_examples,
            num_examples=num_examples,
            image_size=feature.shape[:2],
            channels=channels,
            value_range=value_range,
            labeled=labeled,
            has_text=text is not None,
            class_names=getattr(builder.info.features["label"], "names", None) if labeled else None,
        )
        self._builder, self._split, self._text, self._image = builder, split, text, image
        self._several = several
        if not encoded:
            self._hold_arrays(tf.as_dtype(feature.dtype), (*feature.shape, 1)[2])
        elif channels is not None:
            first_files.check_channels(channels, self.name)
        mean = _largest_mean(builder, instructions)
        self._shuffle_buffer = shuffle_bound.bounded(
            shuffle_buffer, buffer_bytes, [mean * self.size], [self.size], self.name
        )
        # No lookup table: a data service could not send it to its workers.
        self._files = tf.constant(list(first_index))
        self._first_indices = tf.constant(list(first_index.values()), tf.int32)
        if several:
            self._find_texts()

    def examples(
        self, seed: int | tf.Tensor | None = None, first: int | tf.Tensor = 0
    ) -> tf.data.Dataset:
        import tensorflow_datasets as tfds

        examples = self._builder.as_dataset(
            self._split,
            shuffle_files=seed is not None,
            decoders={self._image: tfds.decode.SkipDecoding()} if self._dtype is None else None,
            read_config=tfds.ReadConfig(
                add_tfds_id=True,
                shuffle_seed=seed,
                skip_prefetch=True,
                try_autocache=False,
                # A set may ask to be read in the order of its files, even where training shuffles.
                enable_ordering_guard=False,
            ),
        )
        examples = examples.map(self._example, num_parallel_calls=tf.data.AUTOTUNE)
        if seed is not None:
            examples = examples.shuffle(
                self._shuffle_buffer, seed=seed, reshuffle_each_iteration=False
            )
        return examples.skip(first)

    def _first_files(self) -> Iterator[bytes]:
        # TFDS says what they are.
        dtype = tf.as_dtype(self._builder.info.features[self._image].dtype)
        return super()._first_files() if dtype == tf.uint16 else iter(())

    def example_names(self) -> ExampleNames:
        """The ids that TFDS gives, with the set's name, config and version."""
        version = self._builder.info.full_name
        stems = [f"{version}/{file.decode()}__" for file in self._files.numpy()]
        ends = [*self._first_indices.numpy()[1:], self.num_examples]
        return ExampleNames.numbered(stems, np.subtract(ends, self._first_indices.numpy()))

    def locate(self, index: int) -> str:
        file = np.searchsorted(self._first_indices, index, side="right") - 1
        name = self._files[file].numpy().decode()
        return f"example {index - int(self._first_indices[file])} of {name}"

    def _find_texts(self):
        """What a pass over the texts tells."""
        info = self._builder.info
        place = f"{self._builder.data_path} {info.full_name} {self._split} {self._text}"
        state = np.array([split.num_bytes for split in info.splits.values()], np.int64)
        passing = self.examples().map(lambda example: (example["index"], example["text"]))
        called = f"'{self._text}'"
        found = text_pass.find(
            place, state, passing, self.num_examples, several=True, called=called
        )
        self.caption_offsets, self.faults = found

    def _example(self, example):
        file_and_offset = tf.strings.split(example["tfds_id"], "__")
        offset = tf.strings.to_number(file_and_offset[-1], tf.int32)
        parts = {"image": example[self._image]}
        if self.labeled:
            parts["label"] = example["label"]
        if self.has_text:
            texts = _below(example, self._text)
            parts["text"] = text_pass.as_example(texts, several=True) if self._several else texts
        file = tf.argmax(self._files == file_and_offset[0])
        return {**label_range.as_int32(parts), "index": self._first_indices[file] + offset}


def _tfds_builder(name, data_dir):
    import tensorflow_datasets as tfds

    if data_dir is not None and not tf.io.gfile.isdir(data_dir):
        raise FileNotFoundError(f"data_dir '{data_dir}' does not exist: give the folder of TFDS")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError:
        raise ValueError(f"unknown data set '{name}': {_known_names(name, data_dir)}") from None
    if not tf.io.gfile.exists(str(builder.data_path)):
        builder.download_and_prepare()
    return builder


def _image_feature(builder, name):
    """(the feature of that name, whether it holds encoded images rather than arrays)."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    if name not in features:
        raise ValueError(
            f"data set '{builder.name}' has no feature '{name}', only {', '.join(features)}: "
            "name the one that holds images (image=)"
        )
    feature = features[name]
    encoded = isinstance(feature, tfds.features.Image)
    if encoded and tf.as_dtype(feature.dtype) not in (tf.uint8, tf.uint16):
        raise ValueError(
            f"images of '{builder.name}' are {feature.dtype}: expected uint8 or uint16"
        )
    if not encoded and (len(feature.shape or ()) not in (2, 3) or feature.shape[2:] == (None,)):
        raise ValueError(
            f"feature '{name}' of '{builder.name}' is {feature}: expected images, or arrays "
            "[H, W, C] with a known C"
        )
    return feature, encoded


def _known_names(name, data_dir):
    import tensorflow_datasets as tfds

    prepared = sorted(tf.io.gfile.listdir(data_dir)) if data_dir else []
    folders = [entry.rstrip("/") for entry in prepared if not pathlib.Path(entry).suffix]
    near = difflib.get_close_matches(name, tfds.list_builders(), n=5)
    if tf.io.gfile.isdir(name):
        return f"for the folder of that name write ./{name}"
    choices = ["digits", *folders, *(found for found in near if found not in folders)]
    return f"choose {', '.join(choices)} or another name of the TFDS catalog"


def _text_shape(builder, text):
    """The shape of a feature of texts: () for one, (None,) for several."""
    features = builder.info.features
    if not _is_text(features, text):
        found = [name for name in _names(features.np_dtype) if _is_text(features, name)]
        raise ValueError(
            f"data set '{builder.name}' has no text '{text}': choose one of {', '.join(found)}"
        )
    return _below(features.shape, text)


def _is_text(features, name):
    try:
        dtype, shape = _below(features.np_dtype, name), _below(features.shape, name)
    except (KeyError, TypeError):
        return False
    is_leaf = not isinstance(dtype, dict)
    return is_leaf and np.dtype(dtype) == object and shape in ((), (None,))


def _names(nested, before=""):
    """The names of the leaves of nested features, with / between their parts."""
    for key, value in nested.items():
        yield from _names(value, f"{before}{key}/") if isinstance(value, dict) else [before + key]


def _below(nested, name):
    """What stands under a name with / between its parts."""
    for part in name.split("/"):
        nested = nested[part]
    return nested


def _split_info(builder, split):
    try:
        return builder.info.splits[split]
    except (KeyError, ValueError):
        valid = ", ".join(sorted(builder.info.splits))
        raise ValueError(
            f"unknown split '{split}' of '{builder.name}': choose {valid}, a slice or a sum"
        ) from None


def _check_no_overlap(instructions, split):
    end = {}
    for part in sorted(instructions.file_instructions, key=lambda part: (part.filename, part.skip)):
        if part.skip < end.get(part.filename, 0):
            raise ValueError(
                f"split '{split}' holds examples more than once: give parts that do not overlap"
            )
        end[part.filename] = part.skip + part.take


def _largest_mean(builder, instructions):
    """Bytes of an example: the mean of the split in use where that is the largest."""
    used = {pathlib.Path(i.filename).name for i in instructions.file_instructions}
    infos = [builder.info.splits[split] for split in builder.info.splits]
    return max(
        info.num_bytes / info.num_examples
        for info in infos
        if info.num_examples and not used.isdisjoint(info.filenames)
    )


def _first_indices(builder, instructions):
    """({shard file: index of its first example}, number of indices) over the splits in use."""
    used = {pathlib.Path(i.filename).name for i in instructions.file_instructions}
    first_index, total = {}, 0
    for split in sorted(builder.info.splits):
        info = builder.info.splits[split]
        if used.isdisjoint(info.filenames):
            continue
        for filename, length in zip(sorted(info.filenames), info.shard_lengths, strict=True):
            first_index[filename] = total
            total += length
    return first_index, total
