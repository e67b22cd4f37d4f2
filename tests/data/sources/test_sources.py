"""Sources: every example once per pass, under one index for good."""

import re

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder, write_shards, write_table

from sogclr_tf import (
    ArraySource,
    DatasetSource,
    FolderSource,
    ManifestSource,
    TfdsSource,
    TFRecordSource,
)
from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.data.sources.open import as_source, from_name
from sogclr_tf.data.sources.readable import clear_errors

N = 30


def images(count=N, channels=3):
    shape = (count, 6, 5, channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def labels(count=N):
    return np.arange(count) % 7


def indices(source, seed=None, first=0):
    batches = source.examples(seed, first).map(lambda example: example["index"]).batch(256)
    return [int(index) for batch in batches for index in batch.numpy()]


def dataset(*columns):
    return tf.data.Dataset.from_tensor_slices(columns if len(columns) > 1 else columns[0])


def uncounted(data):
    """The same elements, without a known cardinality."""
    return data.filter(lambda *_: True)


def tfrecords(folder, ids=None, compression="", **options):
    files = write_shards(folder, images(), labels(), ids, compression=compression)
    return TFRecordSource(files, label="image/class/label", **options)


def manifest(folder, ids=range(N), **options):
    write_folder(folder, images())
    paths = [f"{k:05}.png" for k in range(N)]
    return ManifestSource(
        write_table(folder / "t.csv", path=paths, label=labels(), id=ids), **options
    )


IDS = np.random.default_rng(1).permutation(N)
# Each from a folder of its own to write into.
MAKE = {
    "array": lambda _: ArraySource(images(), labels()),
    "dataset": lambda _: DatasetSource(dataset(images(), labels())),
    "digits": lambda _: digits("test"),
    "folder": lambda folder: FolderSource(write_folder(folder / "pets", images(), labels())),
    "manifest": manifest,
    "manifest with ids": lambda folder: manifest(folder, IDS * 3, index="id"),
    "tfrecords": tfrecords,
    "tfrecords with ids": lambda folder: tfrecords(folder, IDS, index="id"),
    "compressed tfrecords": lambda folder: tfrecords(folder, compression="GZIP"),
    "tfds": None,
}


SLOW = {
    "tfds": pytest.mark.slow(reason="files of TFDS, read for every test"),
    "manifest": pytest.mark.slow(reason="the same code as with ids and as a folder"),
}


@pytest.fixture(params=[pytest.param(name, marks=SLOW.get(name, ())) for name in MAKE])
def source(request, tmp_path):
    if request.param == "tfds":
        return TfdsSource("cifar10", "test[:2%]", request.getfixturevalue("data_dir"))
    return MAKE[request.param](tmp_path)


class TestEverySource:
    def test_each_index_once_under_any_seed(self, source):
        passes = [indices(source, seed) for seed in (None, 0, 1, 1 << 32, (1 << 32) + 1)]
        for order in passes:
            assert len(order) == source.size
            assert len(set(order)) == source.size
            assert min(order) >= 0
            assert max(order) < source.num_examples
            assert set(order) == set(passes[0])
        assert len({tuple(order) for order in passes}) == len(passes)

    def test_same_seed_same_order(self, source):
        assert indices(source, 3) == indices(source, 3)
        assert indices(source, tf.constant(3, tf.int64)) == indices(source, 3)

    def test_an_index_means_one_image_and_label(self, source):
        def by_index(seed):
            return {
                int(e["index"]): (
                    source.decode(source.read(e["image"])).numpy().tobytes(),
                    int(e["label"]),
                )
                for e in source.examples(seed)
            }

        fixed = by_index(None)
        assert by_index(5) == fixed
        pictures, true_labels = source.images_and_labels()
        assert true_labels.dtype == np.int32
        assert int(pictures.cardinality()) == source.size
        order = indices(source)
        for index, picture, label in zip(order, pictures, true_labels, strict=True):
            assert (picture.numpy().tobytes(), label) == fixed[index]

    def test_elements(self, source):
        spec = source.examples(0).element_spec
        assert spec["index"] == tf.TensorSpec([], tf.int32)
        assert spec["label"] == tf.TensorSpec([], tf.int32)
        example = next(iter(source.examples()))
        assert source.labeled
        picture = source.decode(source.read(example["image"]))
        assert picture.shape == (*(source.image_size or (6, 5)), 3)

    def test_a_pass_may_start_anywhere(self, source):
        for seed in (None, 4):
            order = indices(source, seed)
            for first in (1, source.size - 1, tf.constant(7, tf.int64)):
                assert indices(source, seed, first) == order[int(first) :]

    def test_crops_are_parts_of_the_whole(self, source):
        for example in source.examples().take(3):
            image = source.read(example["image"])
            whole = source.decode(image)
            np.testing.assert_array_equal(source.shape(image), whole.shape[:2])
            np.testing.assert_array_equal(source.crop(image, [1, 2, 4, 3]), whole[1:5, 2:5])

    def test_places_have_names(self, source):
        assert source.locate(0) != source.locate(source.num_examples - 1)

    def test_the_order_is_a_fair_shuffle(self, source):
        """Neighbors of a pass are not neighbors of the collection."""
        order = np.array(indices(source, 2))
        assert np.abs(np.diff(order)).mean() > source.size / 6


class TestArraySource:
    @pytest.mark.parametrize(
        ("stored", "stated", "channels"),
        [(1, None, 3), (1, 1, 1), (1, 3, 3), (2, None, 2), (3, 3, 3), (4, None, 4), (13, 13, 13)],
    )
    def test_channels(self, stored, stated, channels):
        """As they are stored, a fourth one too; but gray is repeated unless 1 was stated."""
        pictures = images(channels=stored)
        source = ArraySource(pictures, channels=stated)
        got = list(source.images_and_labels()[0].as_numpy_iterator())
        assert source.pixel_format.channels == channels
        np.testing.assert_array_equal(got, np.broadcast_to(pictures, (N, 6, 5, channels)))

    @pytest.mark.parametrize(("stored", "stated"), [(4, 3), (2, 3), (3, 1), (1, 2), (13, 12)])
    def test_other_channels_than_stated(self, stored, stated):
        with pytest.raises(
            ValueError, match=f"the array have {stored} channels: expected {stated};"
        ):
            ArraySource(images(channels=stored), channels=stated)

    @pytest.mark.parametrize("channels", [0, -1, 2.5, "3", True])
    def test_channels_that_are_none(self, channels):
        with pytest.raises(ValueError, match=r"channels is .*: expected a whole number >= 1"):
            ArraySource(images(), channels=channels)

    def test_gray_without_a_channel_axis(self):
        pictures = images()[..., 0]
        source = ArraySource(pictures)
        assert source.image_size == (6, 5)
        got = np.stack(list(source.images_and_labels()[0].as_numpy_iterator()))
        np.testing.assert_array_equal(got, np.stack([pictures] * 3, axis=-1))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_floats_become_float32(self, dtype):
        pictures = (images() / 255).astype(dtype)
        got = next(iter(ArraySource(pictures).images_and_labels()[0]))
        assert got.dtype == tf.float32
        np.testing.assert_array_equal(got, pictures[0].astype(np.float32))

    def test_without_labels(self):
        source = ArraySource(images())
        assert not source.labeled
        assert source.images_and_labels()[1] is None
        assert sorted(source.examples().element_spec) == ["image", "index"]

    def test_one_image(self):
        assert indices(ArraySource(images(1)), seed=4) == [0]

    def test_every_order_of_few(self):
        """All 6 orders of 3, each about as often: 600 passes over three seeds."""
        source = ArraySource(images(3))
        pictures = tf.data.Dataset.range(600).map(lambda k: (k % 3) * 2**32 + k)
        orders = pictures.flat_map(lambda k: source.examples(k).batch(3).map(lambda e: e["index"]))
        _, counts = np.unique(list(orders.as_numpy_iterator()), axis=0, return_counts=True)
        assert len(counts) == 6
        assert (np.abs(counts - 100) < 5 * np.sqrt(100)).all()

    @pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 5, 5, 3, 1)])
    def test_shape(self, shape):
        with pytest.raises(
            ValueError, match=r"the array has shape .* \[N, H, W, C\] or \[N, H, W\]"
        ):
            ArraySource(np.zeros(shape, np.uint8))

    @pytest.mark.parametrize("shape", [(0, 5, 5, 3), (4, 0, 5, 3)])
    def test_empty(self, shape):
        with pytest.raises(ValueError, match="the array is empty: its shape is"):
            ArraySource(np.zeros(shape, np.uint8))

    @pytest.mark.parametrize("dtype", [np.int32, np.uint32, bool, object])
    def test_dtype(self, dtype):
        with pytest.raises(
            ValueError, match="of the array are .* expected uint8, uint16, int16 or"
        ):
            ArraySource(np.zeros((4, 5, 5, 3), dtype))

    @pytest.mark.parametrize("value", [-0.1, 255.0, float("nan")])
    def test_range(self, value):
        pictures = np.zeros((4, 5, 5, 3), np.float32)
        pictures[2, 1] = value
        with pytest.raises(ValueError, match=rf"example 2 of the array has the value {value:g}, "):
            ArraySource(pictures)

    @pytest.mark.parametrize("wrong", [np.zeros(N - 1, int), np.zeros((N, 7), int), np.zeros(N)])
    def test_labels(self, wrong):
        with pytest.raises(ValueError, match=rf"labels of the array are .* numbers \[{N}\]"):
            ArraySource(images(), wrong)

    def test_negative_labels(self):
        with pytest.raises(ValueError, match="labels of the array include -1: expected 0 and up"):
            ArraySource(images(), labels() - 1)

    def test_labels_that_are_too_large(self):
        with pytest.raises(ValueError, match="array include 4294967297: expected at most 21474836"):
            ArraySource(images(2), [0, 2**32 + 1])

    def test_masked_values(self):
        pictures = np.ma.masked_less(images(), 1)
        with pytest.raises(ValueError, match=r"the array has \d+ masked values: fill them"):
            ArraySource(pictures)
        assert ArraySource(pictures.filled(0)).size == N


class TestDatasetSource:
    @pytest.mark.parametrize("count", [lambda data: data, uncounted])
    @pytest.mark.parametrize(
        ("data", "labeled"),
        [
            (dataset(images()), False),
            (dataset(images(), labels()), True),
            (dataset({"image": images()}), False),
            (dataset({"image": images(), "label": labels(), "id": labels()}), True),
        ],
        ids=["image", "pair", "dictionary", "labeled dictionary"],
    )
    def test_element_forms(self, data, labeled, count):
        source = DatasetSource(count(data))
        assert (source.size, source.num_examples, source.labeled) == (N, N, labeled)
        pictures, true_labels = source.images_and_labels()
        np.testing.assert_array_equal(list(pictures.as_numpy_iterator()), images())
        if labeled:
            np.testing.assert_array_equal(true_labels, labels())
        assert indices(source) == list(range(N))

    def test_images_of_differing_sizes(self):
        spec = tf.TensorSpec([None, None, 3], tf.uint8)
        pictures = [images()[0, : k + 1] for k in range(4)]
        data = tf.data.Dataset.from_generator(lambda: iter(pictures), output_signature=spec)
        source = DatasetSource(data)
        assert source.size == 4
        assert source.image_size is None
        for got, want in zip(source.images_and_labels()[0], pictures, strict=True):
            np.testing.assert_array_equal(got, want)

    def test_gray(self):
        source = DatasetSource(dataset(images()[..., 0]))
        assert next(iter(source.images_and_labels()[0])).shape == (6, 5, 3)

    def test_a_small_buffer_still_gives_each_once(self):
        order = indices(DatasetSource(dataset(images()), shuffle_buffer=4), seed=0)
        assert sorted(order) == list(range(N))
        assert order != sorted(order)

    def test_endless(self):
        with pytest.raises(ValueError, match=r"endless: .* take\(n\)"):
            DatasetSource(dataset(images()).repeat())

    def test_empty(self):
        with pytest.raises(ValueError, match="the data set is empty"):
            DatasetSource(uncounted(dataset(images())).take(0))

    @pytest.mark.parametrize("data", [dataset(images()).batch(4), dataset(labels())])
    def test_no_single_images(self, data):
        with pytest.raises(ValueError, match=r"elements of the data set are .*use unbatch\(\)"):
            DatasetSource(data)

    def test_dictionary_without_images(self):
        with pytest.raises(ValueError, match=r"keys \['picture'\]: expected 'image'"):
            DatasetSource(dataset({"picture": images()}))

    @pytest.mark.parametrize("wrong", [np.eye(N, dtype=int), np.linspace(0, 1, N)])
    def test_labels(self, wrong):
        with pytest.raises(ValueError, match="labels of the data set are .* whole number each"):
            DatasetSource(dataset(images(), wrong))

    def test_range_of_floats(self):
        pictures = images(100).astype(np.float32) / 255
        pictures[70, 1] = 255
        # Beyond those that are looked at beforehand.
        source = DatasetSource(dataset(pictures))
        with (
            pytest.raises(
                ValueError, match=r"^example 70 .* value 255, .*: divide by 255, or give uint8, or"
            ),
            clear_errors(source),
        ):
            list(source.images_and_labels()[0])
        with pytest.raises(ValueError, match=r"^example 10 of the data set has the value 255, "):
            DatasetSource(dataset(pictures).skip(60))


class TestLabelsOutOfRange:
    def test_below_zero(self):
        source = DatasetSource(dataset(images(), labels() - 1))
        with pytest.raises(ValueError, match=r"example 0 of the data set has label -1 \(5 such"):
            source.images_and_labels()

    def test_too_large_for_int32(self, tmp_path):
        """No other class, as the lower bits would be."""
        large = labels() + 2**32
        records = write_shards(tmp_path, images(), large)
        for source in (
            DatasetSource(dataset(images(), large)),
            TFRecordSource(records, label="image/class/label"),
        ):
            with pytest.raises(ValueError, match=r"has label 2147483647 \(\d+ such in all\)"):
                source.images_and_labels()

    def test_more_than_there_are_classes(self, tmp_path):
        source = tfrecords(tmp_path, class_names=["cat", "dog", "emu", "fox", "gnu"])
        with pytest.raises(ValueError, match=r"record 5 of .*part-0.* has label 5 .*in \[0, 5\)"):
            source.images_and_labels()


class TestDigits:
    def test_splits_part_the_collection(self):
        train, test = digits("train"), digits("test")
        assert (train.size, test.size) == (1198, 599)
        assert train.image_size == (8, 8)
        assert train.class_names == [str(digit) for digit in range(10)]
        pictures, true_labels = train.images_and_labels()
        first = next(iter(pictures))
        assert first.dtype == tf.uint8
        assert max(picture.numpy().max() for picture in pictures) == 255
        assert np.bincount(true_labels).min() > 110

    def test_unknown_split(self):
        with pytest.raises(ValueError, match="'valid' of digits: choose one of train, test"):
            digits("valid")


class TestTfds:
    def test_indices_are_dense(self, data_dir):
        source = TfdsSource("cifar10", "test", data_dir)
        assert (source.name, source.size, source.num_examples) == ("cifar10[test]", 10_000, 10_000)
        assert source.image_size == (32, 32)
        assert source.class_names[:2] == ["airplane", "automobile"]
        assert sorted(indices(source, 0)) == list(range(10_000))

    def test_index_is_the_place_in_the_files(self, data_dir):
        """By label, read file after file with tensorflow_datasets alone."""
        import tensorflow_datasets as tfds

        config = tfds.ReadConfig(interleave_cycle_length=1)
        plain = tfds.load(
            "cifar10",
            split="test[:20%]",
            data_dir=data_dir,
            read_config=config,
            decoders={"image": tfds.decode.SkipDecoding()},
        )
        in_order = [int(e["label"]) for e in plain]
        source = TfdsSource("cifar10", "test[:20%]", data_dir)
        got = {int(e["index"]): int(e["label"]) for e in source.examples(7)}
        assert [got[index] for index in range(2000)] == in_order

    def test_a_slice_keeps_the_indices_of_the_whole(self, data_dir):
        half = TfdsSource("cifar10", "test[50%:]", data_dir)
        assert (half.size, half.num_examples) == (5000, 10_000)
        assert sorted(indices(half, 1)) == list(range(5000, 10_000))

    def test_a_sum_of_splits(self, data_dir):
        both = TfdsSource("cifar10", "train[:1%]+test[:1%]", data_dir)
        assert (both.size, both.num_examples) == (600, 60_000)
        assert len(set(indices(both))) == 600

    @pytest.mark.parametrize("split", ["test+test", "test[:2%]+test[1%:3%]"])
    def test_overlapping_splits_are_refused(self, data_dir, split):
        with pytest.raises(ValueError, match=f"'{re.escape(split)}' .* more than once"):
            TfdsSource("cifar10", split, data_dir)

    def test_unknown_name_lists_choices(self, data_dir):
        with pytest.raises(ValueError, match="unknown data set 'cifar11': choose digits, cifar10"):
            TfdsSource("cifar11", data_dir=data_dir)

    def test_unknown_split_lists_choices(self, data_dir):
        with pytest.raises(ValueError, match="unknown split 'valid' of 'cifar10': choose test, tr"):
            TfdsSource("cifar10", "valid", data_dir)

    def test_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="data_dir '.*nowhere' does not exist"):
            TfdsSource("cifar10", data_dir=tmp_path / "nowhere")


class TestByName:
    def test_from_name(self, data_dir):
        assert from_name("digits", "test").name == "digits[test]"
        assert from_name("cifar10", "test[:1%]", data_dir).size == 100

    def test_as_source(self):
        source = ArraySource(images())
        assert as_source(source) is source
        assert isinstance(as_source(images(), labels()), ArraySource)
        assert isinstance(as_source(dataset(images())), DatasetSource)

    @pytest.mark.parametrize("holder", [dataset(images()), ArraySource(images())])
    def test_labels_beside_a_collection_are_refused(self, holder):
        with pytest.raises(ValueError, match="labels belong inside"):
            as_source(holder, labels())
