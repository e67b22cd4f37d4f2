"""Sources of TFDS data sets, and the digits of scikit-learn."""

import re

import numpy as np
import pytest
import tensorflow as tf
from support.thirty_images import indices

from sogclr_tf import (
    TfdsSource,
)
from sogclr_tf.data.sources.arrays import digits


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
