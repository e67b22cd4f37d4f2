"""Tar shards: what their headers tell, what is refused, and what is left out."""

import json
import logging
import os
import pathlib
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from support.tars import write_shards, write_tar

from sogclr_tf import TarSource
from sogclr_tf.data.files.decode_errors import UnreadableImageError
from sogclr_tf.data.sources import tar_index
from sogclr_tf.data.sources.open import from_name, from_path
from sogclr_tf.data.sources.readable import usable
from sogclr_tf.data.sources.shard_pattern import expanded, is_shards, shards_of
from sogclr_tf.data.sources.tar_reading import pieces

PNG = tf.io.encode_png(tf.zeros([6, 5, 3], tf.uint8)).numpy()
WORD = "wort: Größe".encode()
LONG = "/".join(["folder" * 12] * 4)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOGCLR_TF_CACHE", str(tmp_path / "cache"))


def names(source):
    found = source.example_names()
    return [found[k] for k in range(len(found))]


def tar(tmp_path, *members, **options):
    return write_tar(tmp_path / "a.tar", members, **options)


class TestPatterns:
    def test_braces(self):
        assert [*expanded("{a,b}/{08..10}.tar")][:4] == [
            "a/08.tar",
            "a/09.tar",
            "a/10.tar",
            "b/08.tar",
        ]
        assert [*expanded("{9..10}")] == ["9", "10"]
        with pytest.raises(ValueError, match=r"the range \{5..3\} of 'x\{5..3\}' runs backwards"):
            [*expanded("x{5..3}")]

    def test_files(self, tmp_path):
        write_shards(tmp_path, [np.zeros([6, 5, 3], np.uint8)] * 3)
        every = [str(tmp_path / f"0{k}.tar") for k in range(3)]
        assert shards_of([f"{tmp_path}/*.tar", f"{tmp_path}/01.tar"]) == every
        with pytest.raises(FileNotFoundError, match=r"there is no shard '.*/03.tar': give the pat"):
            shards_of([f"{tmp_path}/{{00..03}}.tar"])

    def test_by_suffix(self):
        assert all(map(is_shards, ("a.tar", "gs://b/{0..9}.TAR", "./a.tar.gz", "a.tgz")))
        assert not any(map(is_shards, ("a.csv", "tar", "./star", "./a.tfrecord")))


class TestMembers:
    @pytest.mark.parametrize(
        "format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
    )
    def test_long_names_and_folders(self, tmp_path, format):
        """A prefix of ustar, a long name of GNU's, a header of pax."""
        last = "x" * (60 if format == tarfile.USTAR_FORMAT else 150)
        long = f"{LONG[: 140 if format == tarfile.USTAR_FORMAT else None]}/{last}"
        members = [(f"{long}.png", PNG), (f"{long}.txt", WORD), ("./b.c/d.png", PNG)]
        path = tar(tmp_path, *members, ("b.c/d.txt", b"d"), format=format)
        source = usable(TarSource(path, text="txt"))
        assert names(source) == [long, "b.c/d"]
        assert source.texts() == [WORD.decode(), "d"]
        for example in source.examples():
            assert source.read(example["image"]) == PNG

    def test_in_any_order_with_whatever_else(self, tmp_path, caplog):
        members = [("b.txt", b"b"), ("a.txt", b"a"), ("._a.png", b"?"), ("a.seg.png", b"?")]
        members += [("a.PNG", PNG), ("c.txt", b"c"), ("b.png", PNG), ("README", b"")]
        with caplog.at_level(logging.WARNING):
            source = TarSource(tar(tmp_path, *members), text="txt")
        assert (names(source), source.texts()) == (["a", "b"], ["a", "b"])
        assert "passed over 1 keys that have no image, such as c" in caplog.text
        assert names(TarSource(tar(tmp_path, *members), image="seg.png")) == ["a"]

    def test_one_key_in_two_shards(self, tmp_path):
        for name in "ab":
            write_tar(tmp_path / f"{name}.tar", [("0.png", PNG)])
        assert names(TarSource(f"{tmp_path}/*.tar")) == ["a.tar/0", "b.tar/0"]

    def test_labels(self, tmp_path):
        images = [np.full([6, 5, 3], k, np.uint8) for k in range(6)]
        pattern = write_shards(tmp_path, images, cls=[b"%d\n" % k for k in range(6)])
        source = TarSource(pattern)
        np.testing.assert_array_equal(source.images_and_labels()[1], np.arange(6))
        assert not TarSource(pattern, label=None).labeled
        assert from_path(pattern).labeled
        with pytest.raises(ValueError, match=r"has no label in .json: name where it is, or None"):
            TarSource(pattern, label="json/class")

    def test_captions_in_json(self, tmp_path):
        meta = {"caption": "a", "title": " b\n", "all": ["c", "d"]}
        path = tar(tmp_path, ("0.png", PNG), ("0.json", json.dumps(meta).encode()))
        assert TarSource(path, text="json").texts() == ["a"]
        assert TarSource(path, text="json/title").texts() == ["b"]
        several = TarSource(path, text="json/all")
        np.testing.assert_array_equal(several.caption_offsets, [0, 2])
        assert [*next(iter(several.examples()))["text"].numpy()] == [b"c", b"d"]
        with pytest.raises(ValueError, match="'txt/a' names a key of a member that is no .json"):
            TarSource(path, text="txt/a")


FAULTS = {
    "no caption": ([("1.png", PNG)], "it has no .txt"),
    "no UTF-8": ([("1.png", PNG), ("1.txt", b"caf\xe9")], "its .txt is no UTF-8 (byte 0xe9)"),
    "empty": ([("1.png", PNG), ("1.txt", b" \n")], "its .txt is empty"),
    "two captions": ([("1.png", PNG), *[("1.txt", b"a")] * 2], "it has two .txt"),
    "two images": ([*[("1.png", PNG)] * 2, ("1.txt", b"a")], "it has two images, the second .png"),
    "two kinds": (
        [("1.png", PNG), ("1.jpg", PNG), ("1.txt", b"a")],
        "it has two images, the second .jpg",
    ),
    "no label": ([("1.png", PNG), ("1.txt", b"a"), ("9.cls", b"1")], "it has no .cls"),
    "a name": ([("1.png", PNG), ("1.txt", b"a"), ("1.cls", b"cat")], "its .cls is 'cat': expected"),
}


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_found(self, fault, tmp_path):
        members, told = FAULTS[fault]
        members = [("0.png", PNG), ("0.txt", b"0"), *members, ("2.png", PNG), ("2.txt", b"2")]
        if any(name.endswith(".cls") for name, _ in members):
            members += [("2.cls", b"1"), ("0.cls", b"1")]
        (found,) = TarSource(tar(tmp_path, *members), text="txt").faults.items()
        assert found[0] == 1
        assert found[1].startswith(told)

    @pytest.mark.slow(reason="decodes all, which is traced")
    def test_refused_or_left_out(self, tmp_path):
        members = [("0.png", PNG), ("0.txt", b"0"), ("1.png", PNG), ("2.png", PNG), ("3.png", b"?")]
        path = tar(tmp_path, *members, ("2.txt", b"2"), ("3.txt", b"3"))
        source = TarSource(path, text="txt")
        with pytest.raises(
            ValueError, match=r"^1 in .*/a.tar \(index 1\) .*: it has no .txt \(1 such"
        ):
            usable(source)
        rest = usable(source, "skip")
        assert (rest.size, rest.num_examples, rest.texts()) == (2, 4, ["0", "2"])
        assert [*rest.skipped] == [1, 3]
        assert rest.faults == {}

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            (None, "'caption' in .json is nothing: expected text"),
            (3, "'caption' in .json is a number: expected text"),
            ([], "'caption' in .json is an empty list"),
            (["a", ""], "'caption' in .json is empty"),
            (["a", "a"], "'caption' in .json has a text twice"),
            ("\ud800", "'caption' in .json is no UTF-8"),
        ],
    )
    def test_json(self, value, told, tmp_path):
        good = json.dumps({"caption": ["x", "y"]}).encode()
        members = [("0.png", PNG), ("0.json", json.dumps({"caption": value}).encode())]
        source = TarSource(tar(tmp_path, *members, ("1.png", PNG), ("1.json", good)), text="json")
        assert source.faults == {0: f"its {told}"}
        np.testing.assert_array_equal(source.caption_offsets, [0, 1, 3])

    def test_all_of_them(self, tmp_path):
        source = TarSource(tar(tmp_path, ("0.png", PNG), ("0.cls", b"cat")))
        with pytest.raises(
            ValueError, match=r"none of the 1 .* 0 in .*: its .cls is 'cat': expected"
        ):
            usable(source, "skip")

    def test_nothing_there(self, tmp_path):
        path = tar(tmp_path, ("0.png", PNG), ("0.cls", b"1"))
        with pytest.raises(
            ValueError, match=r"has no caption at all: it has no .txt, nor has another key"
        ):
            TarSource(path, text="txt")
        with pytest.raises(ValueError, match=r"has no member that is .jpg: name the suffix of ima"):
            TarSource(path, image="jpg")


class TestDamage:
    def cut(self, tmp_path, end):
        path = tar(tmp_path, *[(f"{k}.{x}", PNG) for k in range(3) for x in ("png", "bin")])
        if end is not None:
            os.truncate(path, end)
        return path

    @pytest.mark.parametrize(
        ("end", "told"),
        [
            (4 * 1024 + 600, "cut off or damaged"),  # in the image
            (4 * 1024 + 300, "ends at byte 4,396, without the zeros"),  # in a header
            (6 * 1024, "ends at byte 6,144, without the zeros"),  # behind the last member
        ],
    )
    def test_cut_off(self, end, told, tmp_path):
        source = TarSource(self.cut(tmp_path, end))
        with pytest.raises(ValueError, match=rf"in .*a.tar .*: its shard is .*{told}") as raised:
            usable(source)
        assert "\n" not in str(raised.value)
        assert [*source.faults] == [source.size - 1]

    def test_before_the_first_example(self, tmp_path):
        with pytest.raises(ValueError, match=r"a.tar is .* No example in it is whole: write or co"):
            TarSource(self.cut(tmp_path, 100))

    def test_other_damage(self, tmp_path):
        path = self.cut(tmp_path, None)
        whole = pathlib.Path(path).read_bytes()
        for changed, told in (
            (whole[:2048] + b"x" * 512 + whole[2560:], "what stands at byte 2,048 is no header"),
            (whole * 2, "goes on behind its end at byte 6,144"),
        ):
            with open(path, "wb") as file:
                file.write(changed)
            assert told in next(iter(TarSource(path).faults.values()))

    def test_compressed(self, tmp_path):
        path = str(tmp_path / "a.tar.gz")
        with tarfile.open(path, "w:gz") as file:
            file.add(__file__)
        with pytest.raises(ValueError, match=r"a.tar.gz is compressed, so that no member can"):
            from_path(path)

    def test_changed_while_in_use(self, tmp_path):
        path = self.cut(tmp_path, None)
        source = TarSource(path)
        os.truncate(path, 100)
        with pytest.raises(UnreadableImageError, match="its tar .*a.tar ends before it"):
            source.read(tf.constant(0))


class TestManifest:
    def test_until_a_shard_changes(self, tmp_path, monkeypatch):
        path = tar(tmp_path, ("0.png", PNG), ("0.txt", WORD), ("1.png", PNG))
        os.utime(path, (1e9, 1e9))
        first = TarSource(path, text="txt")
        monkeypatch.setattr(tar_index, "read_shard", None)
        second = TarSource(path, text="txt")
        assert second.faults == first.faults == {1: "it has no .txt"}
        assert names(second) == ["0", "1"]
        assert next(iter(second.examples()))["text"] == WORD
        os.utime(path, (2e9, 2e9))
        with pytest.raises(TypeError):
            TarSource(path, text="txt")


class TestPieces:
    @pytest.mark.parametrize("length", [10, 64, 70, 200])
    def test_across_blocks(self, length, tmp_path, monkeypatch):
        """Parts that lie in one block, in several, and that leave gaps."""
        monkeypatch.setattr("sogclr_tf.data.sources.tar_reading._PIECE", 32)
        data = np.random.default_rng(0).bytes(length)
        (tmp_path / "file").write_bytes(data)
        bounds = np.arange(0, length + 1, 5)
        kept = np.random.default_rng(1).random(len(bounds) - 1) < 0.6
        starts, ends = bounds[:-1][kept], bounds[1:][kept]
        if length == 200:
            starts, ends = np.append(starts[starts < 60], 60), np.append(ends[ends <= 60], 190)
        got = pieces(
            tf.constant(str(tmp_path / "file")),
            tf.constant(length, tf.int64),
            tf.constant(starts),
            tf.constant(ends - starts),
        )
        want = [(k, data[a:b]) for k, (a, b) in enumerate(zip(starts, ends, strict=True))]
        assert [*got.as_numpy_iterator()] == want


def test_for_the_command(tmp_path):
    images = [np.zeros([6, 5, 3], np.uint8)] * 6
    write_shards(tmp_path / "train", images, txt=[b"%d" % k for k in range(6)])
    source = from_name(f"{tmp_path}/{{split}}/{{00..02}}.tar", "train", text="txt")
    assert source.texts() == [*"012345"]
    for pattern in (f"{tmp_path}/train/*.tar", f"{tmp_path}/train/{{00..02}}.tar"):
        assert from_name(pattern, ".").size == 6
        with pytest.raises(ValueError, match="does not say which files are of which split"):
            from_name(pattern, "train")
