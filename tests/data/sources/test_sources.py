"""Sources: every example once per pass, under one index for good."""

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder, write_shards, write_table
from support.thirty_images import N, dataset, images, indices, labels, tfrecords

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
