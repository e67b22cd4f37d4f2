"""Images with a stable example index, wherever they come from."""

import difflib
import pathlib

import numpy as np
import tensorflow as tf


class Source:
    """A finite collection of images, each with an index that never changes.

    Attributes:
        name: what to call it in messages.
        size: how many examples a pass over it gives.
        num_examples: indices lie in [0, num_examples): the size of a table over this source. It
            equals `size`, but for a slice of a larger set, whose examples keep their indices.
        image_size: (height, width) in pixels where all images agree, else None.
        labelled: whether examples carry a label.
        has_text: whether examples carry a text.
        class_names: list of str, or None.
    """

    def __init__(
        self,
        name,
        size,
        *,
        num_examples=None,
        image_size=None,
        labelled=False,
        has_text=False,
        class_names=None,
    ):
        if size < 1:
            raise ValueError(f"{name} is empty: give at least one batch of images")
        self.name = name
        self.size = int(size)
        self.num_examples = self.size if num_examples is None else int(num_examples)
        known = image_size is not None and None not in image_size
        self.image_size = tuple(image_size) if known else None
        self.labelled = labelled
        self.has_text = has_text
        self.class_names = class_names

    def examples(self, seed=None):
        """One pass: a tf.data.Dataset of {"image", "index"}, "label" and "text" where it has them.

        "image" is what `decode` takes; "index" and "label" are int32 scalars, "text" a string.

        Args:
            seed: int64 scalar (or tensor), from which the order derives; None gives a fixed order.
        """
        raise NotImplementedError

    def decode(self, image):
        """An example's "image" as uint8, or float32 in 0..1, [H, W, 3]."""
        return as_rgb(image)

    def images_and_labels(self):
        """(tf.data.Dataset of decoded images, int32 [size] or None), in the same fixed order."""
        labels = None
        if self.labelled:
            passing = self.examples().map(lambda example: example["label"]).batch(4096)
            labels = np.concatenate(list(passing.as_numpy_iterator()))
        images = self.examples().map(
            lambda example: self.decode(example["image"]),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return images.apply(tf.data.experimental.assert_cardinality(self.size)), labels

    def texts(self):
        """The texts in the order of `images_and_labels`: list of str.

        Raises:
            ValueError: the source has none.
        """
        if not self.has_text:
            raise ValueError(f"{self.name} has no texts")
        passing = self.examples().map(lambda example: example["text"])
        return [text.decode() for text in passing.as_numpy_iterator()]


def as_rgb(image):
    """An image with 3 channels: grey is repeated, an alpha channel dropped.

    Args:
        image: [H, W], or [H, W, C] with C in 1, 3, 4.
    """
    if image.shape.rank == 2:
        image = image[..., tf.newaxis]
    if image.shape[-1] == 1:
        return tf.repeat(image, 3, axis=-1)
    return image[..., :3]


class ArraySource(Source):
    """Images in memory; the index is the row.

    Args:
        images: uint8, or float in 0..1: [N, H, W, C] with C in 1, 3, 4, or [N, H, W].
        labels: int [N], or None.
        texts: N strings, or None.

    Raises:
        ValueError: shape, dtype, range, labels or texts are not as above, or there are no images.
    """

    def __init__(self, images, labels=None, *, texts=None, name="the array", class_names=None):
        images = _checked_images(np.asarray(images), name)
        super().__init__(
            name,
            len(images),
            image_size=images.shape[1:3],
            labelled=labels is not None,
            has_text=texts is not None,
            class_names=class_names,
        )
        self._columns = {"image": tf.constant(images)}
        if labels is not None:
            self._columns["label"] = tf.constant(_checked_labels(labels, self.size, name))
        if texts is not None:
            self._columns["text"] = tf.constant(_checked_texts(texts, self.size, name))

    def examples(self, seed=None):
        rows = tf.range(self.size)
        if seed is not None:
            # Not index_shuffle: it reads half of the seed, and favours some orders.
            key = tf.stack([tf.cast(seed, tf.int64), 0])
            rows = tf.random.experimental.stateless_shuffle(rows, key, alg="philox")
        return tf.data.Dataset.from_tensor_slices(rows).map(
            lambda row: {
                "index": row,
                **{name: tf.gather(column, row) for name, column in self._columns.items()},
            }
        )


class DatasetSource(Source):
    """The images of a tf.data.Dataset; the index is the position.

    Args:
        dataset: finite, of images, (image, label) pairs or dictionaries with "image" and, where
            there are, "label" and "text" (a string), one example each (not batched). It must yield
            the same order every time it is iterated: leave the shuffling to the training stream.
        shuffle_buffer: how many examples the order of an epoch is drawn from at a time.

    Raises:
        ValueError: the data set is endless, empty, or its elements are no single images.
    """

    def __init__(self, dataset, *, shuffle_buffer=10_000, name="the data set"):
        parts = _image_and_label(dataset.element_spec, name)
        _check_specs(parts, name)
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(f"{name} is endless: an example index needs a finite set, so take(n)")
        super().__init__(
            name,
            _length(dataset),
            image_size=parts["image"].shape[:2],
            labelled="label" in parts,
            has_text="text" in parts,
        )
        if parts["image"].dtype.is_floating:
            first = next(iter(dataset))
            _check_range(
                _image_and_label(first, name)["image"].numpy(), f"the first image of {name}"
            )
        self._dataset = dataset
        self._shuffle_buffer = min(shuffle_buffer, self.size)

    def examples(self, seed=None):
        examples = self._dataset.enumerate().map(self._example)
        if seed is None:
            return examples
        return examples.shuffle(self._shuffle_buffer, seed=seed, reshuffle_each_iteration=False)

    def _example(self, position, element):
        parts = _image_and_label(element, self.name)
        return {**_as_int32(parts), "index": tf.cast(position, tf.int32)}


class TfdsSource(Source):
    """A data set of tensorflow_datasets with an "image" feature.

    The index is the example's place in the files of its split: the same whatever the order, the
    slice (`train[:10%]`) and the run.

    Args:
        name: a TFDS name, such as "cifar10" or "imagenet2012:5.1.0".
        split: any split expression, such as "train", "train[:10%]" or "train+test".
        data_dir: where the data set is prepared; None for TFDS's own folder.
        shuffle_buffer: how many examples the order of an epoch is drawn from at a time, after the
            files themselves are shuffled.
        text: the name of the feature that holds each image's text; None to leave texts out.

    Raises:
        ValueError: the name or the split is unknown, or there is no image or no such text.
        FileNotFoundError: `data_dir` does not exist.
    """

    def __init__(self, name, split="train", data_dir=None, *, shuffle_buffer=16_384, text=None):
        builder = _tfds_builder(name, data_dir)
        if "image" not in builder.info.features:
            raise ValueError(
                f"data set '{name}' has no feature 'image', only {', '.join(builder.info.features)}"
            )
        _check_text_feature(builder, text)
        instructions = _split_info(builder, split)
        _check_no_overlap(instructions, split)
        first_index, num_examples = _first_indices(builder, instructions)
        labelled = "label" in builder.info.features
        super().__init__(
            f"{name}[{split}]",
            instructions.num_examples,
            num_examples=num_examples,
            image_size=builder.info.features["image"].shape[:2],
            labelled=labelled,
            has_text=text is not None,
            class_names=getattr(builder.info.features["label"], "names", None)
            if labelled
            else None,
        )
        self._builder, self._split, self._text = builder, split, text
        self._shuffle_buffer = min(shuffle_buffer, self.size)
        self._first_index = _lookup_table(first_index)

    def examples(self, seed=None):
        import tensorflow_datasets as tfds

        examples = self._builder.as_dataset(
            self._split,
            shuffle_files=seed is not None,
            decoders={"image": tfds.decode.SkipDecoding()},
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
        if seed is None:
            return examples
        return examples.shuffle(self._shuffle_buffer, seed=seed, reshuffle_each_iteration=False)

    def decode(self, image):
        feature = self._builder.info.features["image"]
        return as_rgb(feature.decode_example(image))

    def _example(self, example):
        file_and_offset = tf.strings.split(example["tfds_id"], "__")
        offset = tf.strings.to_number(file_and_offset[-1], tf.int32)
        parts = {"image": example["image"]}
        if self.labelled:
            parts["label"] = example["label"]
        if self.has_text:
            parts["text"] = example[self._text]
        return {**_as_int32(parts), "index": self._first_index[file_and_offset[0]] + offset}


def digits(split):
    """scikit-learn's 1,797 handwritten digits, 8x8 grey, with labels: no download.

    Args:
        split: "train" (two thirds of each class) or "test" (the rest).
    """
    from sklearn import datasets, model_selection

    bunch = datasets.load_digits()
    rows = model_selection.train_test_split(
        np.arange(len(bunch.target)), test_size=1 / 3, random_state=0, stratify=bunch.target
    )
    splits = dict(zip(("train", "test"), rows, strict=True))
    if split not in splits:
        raise ValueError(f"unknown split '{split}' of digits: choose one of train, test")
    chosen = np.sort(splits[split])
    images = np.round(bunch.images[chosen] * (255 / 16)).astype(np.uint8)
    return ArraySource(
        images,
        bunch.target[chosen],
        name=f"digits[{split}]",
        class_names=[str(name) for name in bunch.target_names],
    )


def from_name(name, split="train", data_dir=None):
    """The source of a config: "digits" or any TFDS name."""
    return digits(split) if name == "digits" else TfdsSource(name, split, data_dir)


def as_source(images, labels=None):
    """A source of whatever holds images: a `Source`, an array or a tf.data.Dataset."""
    if not isinstance(images, (Source, tf.data.Dataset)):
        return ArraySource(images, labels)
    if labels is not None:
        raise ValueError("labels belong inside the source or data set: zip (image, label) pairs")
    return images if isinstance(images, Source) else DatasetSource(images)


def _checked_images(images, name):
    shape = images.shape
    if images.ndim not in (3, 4) or (images.ndim == 4 and shape[-1] not in (1, 3, 4)):
        raise ValueError(
            f"{name} has shape {shape}: expected [N, H, W, C] with C in 1, 3, 4, or [N, H, W]"
        )
    if 0 in shape:
        raise ValueError(f"{name} is empty: its shape is {shape}")
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"{name} has dtype {images.dtype}: expected uint8, or float in 0..1")
    _check_range(images, name)
    return images.astype(np.float32)


def _check_range(images, name):
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} is float from {low:g} to {high:g}: expected 0..1, or uint8")


def _checked_labels(labels, size, name):
    labels = np.asarray(labels)
    if labels.shape != (size,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels of {name} are {labels.dtype} {labels.shape}: expected whole numbers [{size}]"
        )
    if labels.min() < 0:
        raise ValueError(f"labels of {name} include {labels.min()}: expected 0 and up")
    return labels.astype(np.int32)


def _checked_texts(texts, size, name):
    texts = np.asarray(texts)
    if texts.shape != (size,) or texts.dtype.kind not in "USO":
        raise ValueError(
            f"texts of {name} are {texts.dtype} {texts.shape}: expected {size} strings"
        )
    return [text if isinstance(text, bytes) else str(text).encode() for text in texts]


def _image_and_label(element, name):
    if isinstance(element, dict):
        if "image" not in element:
            raise ValueError(f"elements of {name} have keys {sorted(element)}: expected 'image'")
        return {key: element[key] for key in ("image", "label", "text") if key in element}
    if isinstance(element, tuple):
        return dict(zip(("image", "label"), element, strict=False))
    return {"image": element}


def _check_specs(parts, name):
    spec = parts["image"]
    good_rank = spec.shape.rank == 2 or (spec.shape.rank == 3 and spec.shape[-1] in (1, 3, 4))
    if not good_rank or not (spec.dtype == tf.uint8 or spec.dtype.is_floating):
        raise ValueError(
            f"elements of {name} are {spec.dtype.name} {spec.shape}: expected one image, uint8 or "
            "float in 0..1, [H, W, C] with C in 1, 3, 4 (use unbatch() on batches)"
        )
    label = parts.get("label")
    if label is not None and (label.shape.rank != 0 or not label.dtype.is_integer):
        raise ValueError(
            f"labels of {name} are {label.dtype.name} {label.shape}: expected one whole number each"
        )
    text = parts.get("text")
    if text is not None and (text.shape.rank != 0 or text.dtype != tf.string):
        raise ValueError(
            f"texts of {name} are {text.dtype.name} {text.shape}: expected one string each"
        )


def _as_int32(parts):
    if "label" in parts:
        parts["label"] = tf.cast(parts["label"], tf.int32)
    return parts


def _length(dataset):
    known = int(dataset.cardinality())
    return known if known >= 0 else int(dataset.reduce(np.int64(0), lambda n, _: n + 1))


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


def _known_names(name, data_dir):
    import tensorflow_datasets as tfds

    prepared = sorted(tf.io.gfile.listdir(data_dir)) if data_dir else []
    folders = [entry.rstrip("/") for entry in prepared if not pathlib.Path(entry).suffix]
    near = difflib.get_close_matches(name, tfds.list_builders(), n=5)
    choices = ["digits", *folders, *(found for found in near if found not in folders)]
    return f"choose {', '.join(choices)} or another name of the TFDS catalogue"


def _check_text_feature(builder, text):
    features = builder.info.features
    if text is None:
        return
    if text not in features or features[text].dtype != tf.string or features[text].shape != ():
        found = [key for key in features if features[key].np_dtype is object or key == "caption"]
        raise ValueError(
            f"data set '{builder.name}' has no text '{text}': choose one of {', '.join(found)}"
        )


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


def _lookup_table(mapping):
    pairs = tf.lookup.KeyValueTensorInitializer(
        list(mapping), list(mapping.values()), tf.string, tf.int32
    )
    return tf.lookup.StaticHashTable(pairs, default_value=-1)
