"""Every source of image-text pairs keeps the same promises."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from support import tars
from support.exhaustive import exhaustive
from support.files import example, write_folder, write_records, write_table

from sogclr_tf import (
    ArraySource,
    DatasetSource,
    ManifestSource,
    Policy,
    TarSource,
    TfdsSource,
    TFRecordSource,
    training_pairs,
)
from sogclr_tf.data.sources.filtered import FilteredSource

N, BATCH = 12, 4
# An image is as bright as its number, and its texts say it.
IMAGES = np.repeat(np.arange(N, dtype=np.uint8), 6 * 5 * 3).reshape(N, 6, 5, 3) * 20
TEXTS = [f"number {k}" for k in range(N)]
MANY = [[f"number {k}", *(f"{word} {k}" for word in ("no.", "n°")[: k % 3])] for k in range(N)]
STILL = Policy(size=5, min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)
PATHS = [f"{k:05}.png" for k in range(N)]
ENCODED = [tf.io.encode_png(image).numpy() for image in IMAGES]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOGCLR_TF_CACHE", str(tmp_path / "cache"))


def tar(folder):
    pattern = tars.write_shards(folder, IMAGES, txt=[text.encode() for text in TEXTS])
    return TarSource(pattern, text="txt")


def remote_tar(folder):
    return tar(f"ram://{folder}")


def tar_of_lists(folder):
    objects = [json.dumps({"caption": texts}).encode() for texts in MANY]
    return TarSource(tars.write_shards(folder, IMAGES, json=objects), text="json")


def tar_with_a_fault(folder):
    """What is left of one pair more."""
    folder.mkdir(exist_ok=True)
    members = [("0.png", ENCODED[0])]
    for k in range(N):
        members += [(f"a{k}.png", ENCODED[k]), (f"a{k}.txt", TEXTS[k].encode())]
    source = TarSource(tars.write_tar(folder / "a.tar", members), text="txt")
    return FilteredSource(source, skipped=source.faults)


def table(folder, suffix, **columns):
    write_folder(folder, IMAGES)
    return ManifestSource(write_table(folder / f"t{suffix}", **{"path": PATHS, **columns}))


def table_of_rows(folder):
    rows = [(path, text) for path, texts in zip(PATHS, MANY, strict=True) for text in texts]
    return table(folder, ".csv", path=[row[0] for row in rows], caption=[row[1] for row in rows])


def parquet(folder):
    """As img2dataset leaves its format `files`, a download that failed among them."""
    import pyarrow
    from pyarrow import parquet

    keys = [f"{k:05}" for k in range(N)]
    for shard, begin in enumerate(range(0, N, 4)):
        write_folder(folder / f"{shard:05}", IMAGES[begin : begin + 4])
        for k in range(3, -1, -1):
            (folder / f"{shard:05}/{k:05}.png").rename(folder / f"{shard:05}/{keys[begin + k]}.png")
        columns = {
            "key": ["failed", *keys[begin : begin + 4]],
            "status": ["failed_to_download", *["success"] * 4],
            "caption": [None, *TEXTS[begin : begin + 4]],
        }
        parquet.write_table(pyarrow.table(columns), folder / f"{shard:05}.parquet")
    return ManifestSource(f"{folder}/*.parquet")


def records(folder, texts=TEXTS):
    """As img2dataset writes them; several texts are several values of the feature."""
    found = []
    for k in range(N):
        of_one = [texts[k]] if isinstance(texts[k], str) else texts[k]
        record = tf.train.Example.FromString(example(jpg=ENCODED[k], key=f"{k}".encode()))
        record.features.feature["txt"].bytes_list.value.extend(text.encode() for text in of_one)
        found.append(record.SerializeToString())
    folder.mkdir(exist_ok=True)
    for begin in range(0, N, 5):
        write_records(folder / f"{begin:05}.tfrecord", found[begin : begin + 5])
    return TFRecordSource(f"{folder}/*.tfrecord", image="jpg", text="txt")


@functools.cache
def tfds_builder():
    import tensorflow_datasets as tfds

    class ManyCaptions(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        # It has no files beside its code.
        url_infos, code_path, pkg_dir_path = {}, None, None  # noqa: RUF012

        def _info(self):
            text = {"id": np.int64, "text": tfds.features.Text()}
            features = {"image": tfds.features.Image(), "captions": tfds.features.Sequence(text)}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, _):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for k in range(N):
                captions = [{"id": number, "text": text} for number, text in enumerate(MANY[k])]
                yield k, {"image": IMAGES[k], "captions": captions}

    return ManyCaptions


def tfds(folder):
    tfds_builder()(data_dir=folder).download_and_prepare()
    with pytest.raises(ValueError, match="has no text 'captions': choose one of captions/text"):
        TfdsSource("many_captions", data_dir=str(folder), text="captions")
    return TfdsSource("many_captions", data_dir=str(folder), text="captions/text")


columns = {"image": IMAGES, "text": TEXTS}
# Each from a folder of its own to write into.
MAKE = {
    "array": lambda _: ArraySource(IMAGES, texts=TEXTS),
    "dataset": lambda _: DatasetSource(tf.data.Dataset.from_tensor_slices(columns)),
    "csv": lambda folder: table(folder, ".csv", caption=TEXTS),
    "csv of rows": table_of_rows,
    "json lines": lambda folder: table(folder, ".jsonl", captions=MANY),
    "img2dataset's parquet": parquet,
    "tar": tar,
    "tar of lists": tar_of_lists,
    "tar with a fault": tar_with_a_fault,
    "remote tar": remote_tar,
    "tfrecords": records,
    "tfrecords of lists": lambda folder: records(folder, MANY),
    "tfds": tfds,
}
SEVERAL = {"csv of rows", "json lines", "tar of lists", "tfrecords of lists", "tfds"}
# What is read in another way than the rest of these.
QUICK = {"csv of rows", "img2dataset's parquet", "tar", "tar of lists", "tfrecords of lists"}
slow = pytest.mark.slow(reason="all of them take a minute, and some are prepared by TFDS")


def texts_by_index(source, seed=None):
    """{index: (brightness of the image, its texts)} and the indices in order."""
    found, order = {}, []
    for one in source.examples(seed):
        texts = [text.decode() for text in np.atleast_1d(one["text"].numpy())]
        order.append(int(one["index"]))
        bright = source.decode(source.read(one["image"])).numpy()
        found[order[-1]] = (int(bright.mean()) // 20, texts)
    return found, order


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else slow) for name in MAKE]
)
def test_pairs_and_their_indices(name, tmp_path):
    """Each once a pass, text with image, the same when opened again, whatever the order."""
    source = MAKE[name](tmp_path / "a")
    found, order = texts_by_index(source)
    shuffled, other = texts_by_index(source, 5)
    assert source.has_text
    assert source.size == len(order) == len(set(order)) == N
    assert max(order) < source.num_examples
    assert order != other
    assert shuffled == found
    texts = MANY if name in SEVERAL else [[text] for text in TEXTS]
    assert sorted(found.values()) == [(k, texts[k]) for k in range(N)]
    again = MAKE[name](tmp_path / "a")
    assert texts_by_index(again, 5) == (shuffled, other)
    assert again.example_names().difference(source.example_names()) is None
    if name not in SEVERAL:
        assert source.caption_offsets is None
        return
    assert len(source.caption_offsets) == source.num_examples + 1
    counts = np.diff(source.caption_offsets)
    assert {index: counts[index] for index in order} == {i: len(t[1]) for i, t in found.items()}


@pytest.mark.slow(reason="four streams are traced for each")
@pytest.mark.parametrize("name", exhaustive(["array", "csv of rows", "tar of lists", "tfds"], MAKE))
def test_streams(name, tmp_path):
    """Resumed in the middle bit for bit; shared among two hosts, of which each has its rows."""
    source = MAKE[name](tmp_path / "a")
    pairs = training_pairs(source, batch_size=BATCH, policy=STILL, seed=3)
    whole = list(pairs.stream().take(5).as_numpy_iterator())
    later = list(pairs.stream(first_step=2).take(3).as_numpy_iterator())
    hosts = [
        list(pairs.stream(2, tf.distribute.InputContext(2, host, 2)).take(3).as_numpy_iterator())
        for host in range(2)
    ]
    shares = [
        {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
        for batches in zip(*hosts, strict=True)
    ]
    for one, want in zip([*later, *shares], [*whole[2:], *whole[2:]], strict=True):
        for key in want:
            np.testing.assert_array_equal(one[key], want[key])
    epoch = np.concatenate([batch["index"] for batch in whole[:3]])
    assert len(set(epoch.tolist())) == N
    for batch in whole:
        bright = batch["image"].astype(int).mean((1, 2, 3)) // 20
        said = [MANY[k] if name in SEVERAL else [TEXTS[k]] for k in bright.astype(int)]
        assert all(text.decode() in of for of, text in zip(said, batch["text"], strict=True))
        if name in SEVERAL:
            numbers = batch["caption_index"] - source.caption_offsets[batch["index"]]
            drawn = [of[number] for of, number in zip(said, numbers, strict=True)]
            assert drawn == [text.decode() for text in batch["text"]]
