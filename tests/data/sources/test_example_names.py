"""What each kind of source calls its examples: the same wherever they lie, another for others."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder, write_shards

from sogclr_tf import ArraySource, DatasetSource, FolderSource, Source, TfdsSource, TFRecordSource
from sogclr_tf.data.sources.filtered import FilteredSource
from sogclr_tf.data.sources.subset import subset

N = 8
LABELS = np.arange(N) % 2


def images(count=N):
    return np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), np.uint8)


def listed(source):
    names = source.example_names()
    assert len(names) == source.num_examples
    return [names[k] for k in range(len(names))]


class TestFolder:
    def test_relative_paths_wherever_it_lies(self, tmp_path):
        folder = write_folder(tmp_path / "a", images(), LABELS)
        source = FolderSource(folder)
        assert listed(source)[:2] == ["class0/00000.png", "class0/00002.png"]
        shutil.copytree(folder, tmp_path / "b")
        moved = FolderSource(tmp_path / "b").example_names()
        assert moved.fingerprint == source.example_names().fingerprint

    def test_a_name_that_is_no_unicode(self, tmp_path):
        write_folder(tmp_path, images(2))
        (tmp_path / "00000.png").rename(str(tmp_path / "caf") + "\udce9.png")
        assert listed(FolderSource(tmp_path)) == ["00001.png", r"caf\xe9.png"]

    def test_filters_have_the_names_of_all(self, tmp_path):
        source = FolderSource(write_folder(tmp_path, images(), LABELS))
        names = listed(source)
        assert listed(subset(source, 50)) == names
        assert listed(FilteredSource(subset(source, 50), skipped={1: "broken"})) == names


class TestArray:
    def test_a_row_is_what_it_holds(self):
        changed = images()
        changed[3, 0, 0, 0] ^= 1
        one, other = listed(ArraySource(images())), listed(ArraySource(changed))
        assert len(set(one)) == N
        assert [k for k in range(N) if one[k] != other[k]] == [3]
        order = np.random.default_rng(1).permutation(N)
        assert listed(ArraySource(images()[order])) == [one[k] for k in order]

    def test_kind_and_text_count(self):
        texts = [f"text {k}" for k in range(N)]
        others = [*texts[:5], "another", *texts[6:]]
        one, other = (listed(ArraySource(images(), texts=text)) for text in (texts, others))
        assert [k for k in range(N) if one[k] != other[k]] == [5]
        turned = images().reshape(N, 5, 6, 3)
        found = [listed(ArraySource(x))[0] for x in (images(), turned, images() / 255)]
        assert len({one[0], *found}) == 4


class TestRecords:
    def test_a_record_is_what_it_holds(self, tmp_path):
        names = listed(TFRecordSource(write_shards(tmp_path / "a", images(), LABELS)))
        assert len(set(names)) == N
        for number, options in enumerate(({"shards": 1}, {"shards": 2, "compression": "GZIP"})):
            again = write_shards(tmp_path / str(number), images(), LABELS, **options)
            assert listed(TFRecordSource(again)) == names
        order = np.random.default_rng(1).permutation(N)
        other = write_shards(tmp_path / "b", images()[order], LABELS[order])
        assert listed(TFRecordSource(other)) == [names[k] for k in order]

    def test_remote_records_have_the_same_names(self, tmp_path):
        files = write_shards(tmp_path, images(), LABELS, shards=1)
        tf.io.gfile.copy(str(tmp_path / "part-0.tfrecord"), f"ram://{tmp_path.name}-names")
        remote = TFRecordSource(f"ram://{tmp_path.name}-names")
        assert listed(remote) == listed(TFRecordSource(files))

    def test_files_that_changed_have_other_names(self, tmp_path):
        before = listed(TFRecordSource(write_shards(tmp_path, images(), LABELS)))
        after = listed(TFRecordSource(write_shards(tmp_path, images()[::-1], LABELS)))
        assert before != after

    def test_an_index_that_they_carry_is_their_name(self, tmp_path):
        ids = np.random.default_rng(1).permutation(N)
        source = TFRecordSource(write_shards(tmp_path, images(), LABELS, ids), index="id")
        assert listed(source) == [f"id {k}" for k in range(N)]


def test_a_data_set_and_a_source_of_ones_own():
    data = tf.data.Dataset.from_tensor_slices(images())
    assert listed(DatasetSource(data, name="mine"))[2] == "mine 2"
    assert listed(Source("scans", 2, num_examples=4)) == [f"scans {k}" for k in range(4)]


@pytest.mark.slow(reason="files of TFDS")
def test_tfds_ids(data_dir):
    import tensorflow_datasets as tfds

    source = TfdsSource("cifar10", "train[:10%]", data_dir)
    config = tfds.ReadConfig(add_tfds_id=True)
    data = tfds.load("cifar10", split="train", data_dir=data_dir, read_config=config)
    ids = [example["tfds_id"].numpy().decode() for example in data.take(3)]
    assert listed(source)[:3] == [f"cifar10/3.0.2/{name}" for name in ids]
    assert len(listed(source)) == 50_000
    whole = TfdsSource("cifar10", "train", data_dir).example_names()
    assert whole.fingerprint == source.example_names().fingerprint
