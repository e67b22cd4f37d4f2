"""TFRecord files with names of one's own."""

import os
import re

import numpy as np
import pytest
import tensorflow as tf
from support.files import example, write_records, write_shards

from sogclr_tf import Policy, TFRecordSource, training_views
from sogclr_tf.data.evaluation_images import evaluation_sample
from sogclr_tf.data.sources import tfrecord_count
from sogclr_tf.data.sources.filtered import FilteredSource
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.data.sources.readable import readable
from sogclr_tf.data.sources.subset import subset

N = 20


def images(count=N):
    return np.random.default_rng(0).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)


def labels(count=N):
    return np.arange(count) % 7


def pictures(source, seed=None):
    """{index: image}."""
    return {
        int(e["index"]): source.decode(source.read(e["image"])).numpy()
        for e in source.examples(seed)
    }


class TestIndex:
    @pytest.mark.parametrize("compression", ["", "GZIP"])
    def test_is_the_place_in_the_sorted_files(self, tmp_path, compression):
        files = write_shards(tmp_path, images(), labels(), compression=compression)
        source = TFRecordSource(files)
        assert (source.size, source.labeled) == (N, False)
        for seed in (None, 5):
            found = pictures(source, seed)
            np.testing.assert_array_equal([found[i] for i in range(N)], images())
        assert source.locate(0).endswith("record 0 of " + str(tmp_path / "part-0.tfrecord"))
        assert source.locate(N - 1).endswith("record 6 of " + str(tmp_path / "part-2.tfrecord"))

    def test_is_the_users_own(self, tmp_path):
        ids = np.random.default_rng(2).permutation(N)
        source = TFRecordSource(write_shards(tmp_path, images(), labels(), ids), index="id")
        found = pictures(source, 1)
        np.testing.assert_array_equal([found[ids[k]] for k in range(N)], images())

    def test_a_list_of_files_in_any_order(self, tmp_path):
        write_shards(tmp_path, images(), labels())
        files = [str(tmp_path / f"part-{k}.tfrecord") for k in (2, 0, 1)]
        found = pictures(TFRecordSource(files))
        np.testing.assert_array_equal([found[i] for i in range(N)], images())

    def test_relative_files_hold_wherever_the_program_goes(self, tmp_path, monkeypatch):
        write_shards(tmp_path, images(), labels())
        monkeypatch.chdir(tmp_path)
        source = TFRecordSource("part-*")
        monkeypatch.chdir("/")
        assert len(pictures(source)) == N

    def test_remote_files(self, tmp_path):
        write_shards(tmp_path, images(), labels())
        folder = f"ram://{tmp_path.name}"
        tf.io.gfile.makedirs(folder)
        for k in range(3):
            tf.io.gfile.copy(str(tmp_path / f"part-{k}.tfrecord"), f"{folder}/part-{k}.tfrecord")
        assert TFRecordSource(f"{folder}/part-*").size == N

    def test_empty_files_count_nothing(self, tmp_path):
        files = write_shards(tmp_path, images(3), labels(3), shards=5)
        assert sorted(pictures(TFRecordSource(files))) == [0, 1, 2]

    def test_files_are_shuffled_too(self, tmp_path):
        """With a buffer of one record, all that mixes is the order of the files."""
        files = write_shards(tmp_path, images(), labels(), shards=5)
        source = TFRecordSource(files, shuffle_buffer=1)
        orders = {tuple(pictures(source, seed)) for seed in range(4)}
        assert len(orders) == 4


class TestCount:
    def test_is_remembered_until_a_file_changes(self, tmp_path, monkeypatch):
        files = write_shards(tmp_path, images(), labels())
        plain, counted = tfrecord_count._ids_local, []
        monkeypatch.setattr(
            tfrecord_count, "_ids_local", lambda name, _: counted.append(name) or plain(name, _)
        )
        assert [TFRecordSource(files).size for _ in range(2)] == [N, N]
        assert len(counted) == 3
        more = example(image__encoded=b"")
        write_records(tmp_path / "part-1.tfrecord", [more] * 9)
        assert TFRecordSource(files).size == N - 7 + 9
        assert len(counted) == 6

    def test_what_records_hold_is_remembered_too(self, tmp_path, monkeypatch):
        files = write_shards(tmp_path, images(), labels())
        for path in tmp_path.glob("part-*"):
            os.utime(path, (1e9, 1e9))
        names = TFRecordSource(files).example_names()
        monkeypatch.setattr(tfrecord_count, "_walk", None)
        assert TFRecordSource(files).example_names().fingerprint == names.fingerprint

    def test_the_users_indices_are_checked_once(self, tmp_path, monkeypatch):
        files = write_shards(tmp_path, images(), labels(), ids=range(N))
        plain, checked = TFRecordSource._check_indices, []
        monkeypatch.setattr(
            TFRecordSource, "_check_indices", lambda self: checked.append(1) or plain(self)
        )
        for _ in range(2):
            TFRecordSource(files, index="id")
        assert len(checked) == 1

    @pytest.mark.parametrize("remote", [False, True])
    @pytest.mark.parametrize("cut", [1, 30, 2000])
    def test_a_file_that_is_cut_off(self, tmp_path, cut, remote):
        files = write_shards(tmp_path, images(), labels(), shards=1)
        path = tmp_path / "part-0.tfrecord"
        path.write_bytes(path.read_bytes()[:-cut])
        if remote:
            files = f"ram://{tmp_path.name}-cut"
            tf.io.gfile.copy(str(path), files)
        with pytest.raises(ValueError, match="is no whole TFRecord file.*write or copy it again"):
            TFRecordSource(files)

    def test_another_kind_of_file(self, tmp_path):
        path = tmp_path / "cat.png"
        path.write_bytes(tf.io.encode_png(images()[0]).numpy())
        with pytest.raises(ValueError, match=r"cat\.png is no whole TFRecord file: record 0 would"):
            TFRecordSource(path)


class TestErrors:
    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no file is called '.*none-\*'"):
            TFRecordSource(str(tmp_path / "none-*"))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"image": "picture"}, "no feature 'picture': name the feature of the image, bytes"),
            ({"label": "class"}, "no feature 'class': name the feature of the label, int64"),
            ({"index": "key"}, "no feature 'key': name the feature of the index, int64"),
            ({"label": "image/encoded"}, "have bytes in 'image/encoded': name the feature of the"),
        ],
    )
    def test_a_feature_that_is_not_there(self, tmp_path, options, message):
        files = write_shards(tmp_path, images(), labels(), ids=range(N))
        listed = "among id, image/class/label, image/encoded"
        with pytest.raises(ValueError, match=f"{re.escape(message)}.*{listed}"):
            TFRecordSource(files, **options)

    def test_records_of_another_kind(self, tmp_path):
        path = write_records(tmp_path / "a.tfrecord", [b"no example at all"])
        with pytest.raises(ValueError, match="the first record of .* is no tf.train.Example"):
            TFRecordSource(path)

    def test_an_index_twice(self, tmp_path):
        ids = np.arange(N)
        ids[[4, 17]] = 9
        files = write_shards(tmp_path, images(), labels(), ids)
        with pytest.raises(
            ValueError, match="'id' 9 occurs twice, in record 4 of .*part-0"
        ) as told:
            TFRecordSource(files, index="id")
        assert "\n" not in str(told.value)

    @pytest.mark.parametrize("wrong", [-1, N, 2**32 + 4])
    def test_an_index_outside(self, tmp_path, wrong):
        ids = [*range(4), wrong, *range(5, N)]
        files = write_shards(tmp_path, images(), labels(), ids)
        with pytest.raises(ValueError, match=rf"record 4 of .* has 'id' {wrong} or none: expected"):
            TFRecordSource(files, index="id")

    def test_a_record_without_an_index(self, tmp_path):
        records = [example(image__encoded=b"x", id=0), example(image__encoded=b"x")]
        path = write_records(tmp_path / "a.tfrecord", records)
        with pytest.raises(ValueError, match=r"record 1 of .*a\.tfrecord has 'id' -1 or none"):
            TFRecordSource(path, index="id")


class TestSeveralLabels:
    def source(self, tmp_path, several, count=4, part="label"):
        """Records of which those of `several` have so many labels each."""
        records = [
            example(
                image__encoded=tf.io.encode_png(image).numpy(), label=[1] * several.get(place, 1)
            )
            for place, image in enumerate(images(count))
        ]
        path = write_records(tmp_path / "a.tfrecord", records)
        return TFRecordSource(str(path), **{part: "label"})

    def line(self, tmp_path, record, count):
        return re.escape(
            f"record {record} of {tmp_path}/a.tfrecord has {count} labels in 'label': expected one "
            "whole number; write one label for each image, or leave the name of the feature out "
            "(label=None, --config.data.features.label=)"
        )

    @pytest.mark.parametrize("count", [0, 3])
    def test_in_the_first_record(self, tmp_path, count):
        with pytest.raises(ValueError, match=f"^{self.line(tmp_path, 0, count)}$"):
            self.source(tmp_path, {0: count})

    @pytest.mark.parametrize(
        "use",
        [
            lambda source: source.images_and_labels(),
            lambda source: readable(source),
            lambda source: training_views(source, batch_size=2, policy=Policy(size=4)).samples(4),
            lambda source: evaluation_sample(source, 4, 4),
            lambda source: subset(FilteredSource(source, only=[0, 1, 2]), 50),
        ],
        ids=["labels", "skip", "views", "sample", "subset"],
    )
    def test_later_it_is_told_where_it_is_read(self, tmp_path, use):
        source = self.source(tmp_path, {2: 3})
        with pytest.raises(ValueError, match=f"^{self.line(tmp_path, 2, 3)}$"):
            use(source)

    def test_several_indices(self, tmp_path):
        with pytest.raises(ValueError, match="record 3 of .* has 2 indices in 'label'.*index=None"):
            self.source(tmp_path, {3: 2}, part="index")


class TestByName:
    def test_the_split_stands_in_the_pattern(self, tmp_path):
        for split, count in (("train", N), ("val", 7)):
            write_shards(tmp_path / split, images(count), labels(count))
        name = f"{tmp_path}/{{split}}/part-*"
        features = {"image": "image/encoded", "label": "image/class/label", "index": ""}
        train, val = (from_name(name, split, None, features) for split in ("train", "val"))
        assert (train.size, val.size, train.labeled) == (N, 7, True)
        with pytest.raises(ValueError, match=r"which files are of which split: put {split} in"):
            from_name(f"{tmp_path}/train/part-*", "train")
