import logging

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_shards

from sogclr_tf import DatasetSource, TFRecordSource
from sogclr_tf.data.sources import shuffle_bound

N = 40


def images():
    return np.random.default_rng(0).integers(0, 256, [N, 8, 8, 3], np.uint8)


def of_dataset(tmp_path, **options):
    del tmp_path
    return DatasetSource(tf.data.Dataset.from_tensor_slices(images()), **options)


def of_records(tmp_path, **options):
    return TFRecordSource(write_shards(tmp_path, images(), range(N)), **options)


def order(source):
    return [int(example["index"]) for example in source.examples(seed=3)]


@pytest.mark.parametrize("open_source", [of_dataset, of_records])
class TestBufferBytes:
    def test_what_fits_changes_nothing(self, open_source, tmp_path):
        plain = open_source(tmp_path, shuffle_buffer=16)
        bounded = open_source(tmp_path, shuffle_buffer=16, buffer_bytes=2**20)
        assert order(plain) == order(bounded)

    def test_is_as_small_a_buffer_of_examples(self, open_source, tmp_path, caplog):
        with caplog.at_level(logging.WARNING, "sogclr_tf"):
            bounded = open_source(tmp_path, buffer_bytes=8 * 8 * 3 * 5)
        assert "raise buffer_bytes" in caplog.text
        small = [open_source(tmp_path, shuffle_buffer=n) for n in range(2, 6)]
        assert order(bounded) in [order(source) for source in small]
        assert order(bounded) != order(open_source(tmp_path))

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "1"])
    def test_refuses_what_is_no_number_of_bytes(self, open_source, tmp_path, wrong):
        with pytest.raises(ValueError, match="buffer_bytes is "):
            open_source(tmp_path, buffer_bytes=wrong)


def test_the_files_of_large_examples_count_first():
    sizes, counts = [1_000, 100, 0], [10, 10, 0]
    assert shuffle_bound.examples_in(500, sizes, counts) == 5
    assert shuffle_bound.examples_in(1_050, sizes, counts) == 15
    assert shuffle_bound.examples_in(5_000, sizes, counts) == 20
