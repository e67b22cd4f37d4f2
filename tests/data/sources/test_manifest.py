"""Tables that name images: CSV, TSV, JSON lines, frames, columns and lists of paths."""

import logging
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder, write_table

from sogclr_tf import ManifestSource, Policy, training_pairs, training_views
from sogclr_tf.data.labeled import labeled_views
from sogclr_tf.data.sources import missing_files
from sogclr_tf.data.sources.filtered import FilteredSource
from sogclr_tf.data.sources.open import as_source, from_name, from_path, is_path
from sogclr_tf.data.sources.readable import clear_errors, readable, usable

N = 6
PATHS = [f"{k:05}.png" for k in range(N)]
POLICY = Policy(size=6)


class Frame:
    """What is used of a frame, as of pandas."""

    def __init__(self, **columns):
        self.columns, self._values = [*columns], columns

    def __getitem__(self, column):
        return np.array(self._values[column], object)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images that differ, 00000.png and so on."""
    images = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
    return write_folder(tmp_path_factory.mktemp("images"), images)


@pytest.fixture
def table(folder, request):
    """Writes a table of these columns beside the images."""

    def write(suffix=".csv", **columns):
        return write_table(folder / f"{request.node.name[:40]}{suffix}", **columns)

    return write


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOGCLR_TF_CACHE", str(tmp_path / "cache"))


def indices(source):
    return sorted(int(example["index"]) for example in source.examples())


def names(source):
    found = source.example_names()
    return [found[k] for k in range(len(found))]


class TestForms:
    """One table in every form is one source."""

    COLUMNS = {
        "path": PATHS,
        "label": ["dog", "cat", "cat", "emu", "dog", "cat"],
        "caption": [f'a "small" picture, number {k}\u2028of\n{N}' for k in range(N)],
    }

    @pytest.mark.parametrize("form", [".csv", ".CSV", ".tsv", ".jsonl", "frame", "columns"])
    def test_paths_labels_and_captions(self, form, folder, table):
        if form in ("frame", "columns"):
            given = Frame(**self.COLUMNS) if form == "frame" else self.COLUMNS
            source = ManifestSource(given, root=folder)
        else:
            source = ManifestSource(table(form, **self.COLUMNS))
        assert (source.size, source.num_examples, source.labeled) == (N, N, True)
        assert source.class_names == ["cat", "dog", "emu"]
        assert source.texts() == self.COLUMNS["caption"]
        assert names(source) == PATHS
        for place, example in enumerate(source.examples()):
            assert source.read(example["image"]) == (folder / PATHS[place]).read_bytes()
            assert (example["index"], example["label"]) == (place, [1, 0, 0, 2, 1, 0][place])

    @pytest.mark.parametrize(
        "listed",
        [list, tuple, np.array, lambda paths: [*map(pathlib.Path, paths)], lambda p: {"path": p}],
    )
    def test_lists_of_paths(self, listed, folder, monkeypatch):
        monkeypatch.chdir(folder)
        source = as_source(listed(PATHS))
        assert (source.size, source.labeled) == (N, False)
        assert source.locate(1) == f"{folder}/{PATHS[1]} (row 1 of {source.name})"
        assert names(source) == PATHS

    def test_a_list_holds_wherever_the_program_goes(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        views = training_views(PATHS, batch_size=2, policy=POLICY)
        monkeypatch.chdir("/")
        views.source.check_files()

    def test_labels_beside_a_list(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        assert as_source(PATHS, ["a", "b"] * 3).class_names == ["a", "b"]
        with pytest.raises(ValueError, match="labels belong inside the source, the table or"):
            as_source({"path": PATHS}, [0] * N)

    def test_a_frame_of_pandas(self, folder, table):
        pandas = pytest.importorskip("pandas")
        path = table(**self.COLUMNS, split=["train", "test"] * 3)
        frame = pandas.read_csv(path)
        frame["number"] = [3.0, 1.0, 0.0, 2.0, 1.0, 0.0]
        frame = frame[frame.split == "test"]
        source = as_source(frame.path)
        assert names(source) == PATHS[1::2]
        source = ManifestSource(frame, root=folder, label="number")
        assert source.images_and_labels()[1].tolist() == [1, 2, 0]
        nothing = [None, float("nan"), pandas.NA]
        assert not ManifestSource(frame.assign(label=nothing), root=folder).labeled
        for value in nothing:
            with pytest.raises(ValueError, match="row 1 of the frame has nothing as its path"):
                ManifestSource(pandas.DataFrame({"path": ["a", value]}))

    def test_by_path(self, table, folder, monkeypatch):
        path = table(path=PATHS)
        assert is_path(path.name)
        assert from_path(path).size == N
        monkeypatch.chdir(folder)
        assert training_views(path.name, batch_size=2, policy=POLICY).source.size == N

    def test_written_by_a_spreadsheet(self, folder):
        """A mark of the byte order, line ends of Windows, blanks behind commas, an empty line."""
        path = folder / "spreadsheet.csv"
        text = f'path, label\r\n{PATHS[0]}, "cat, red"\r\n\r\n{PATHS[1]},dog \r\n'
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        source = ManifestSource(path)
        assert source.class_names == ["cat, red", "dog"]
        assert source.locate(1).endswith(f"(line 4 of {source.name})")


class TestPaths:
    def test_relative_ones_lie_beside_the_file(self, tmp_path):
        path = write_table(
            tmp_path / "a" / "t.csv", path=["1.png", "../2.png", "/x/3.png", "gs://b/4.png"]
        )
        source = ManifestSource(path)
        located = [source.locate(k).split(" (")[0] for k in range(4)]
        assert located == [f"{path.parent}/1.png", f"{path.parent}/../2.png", *located[2:]]
        assert located[2:] == ["/x/3.png", "gs://b/4.png"]
        assert names(source) == ["1.png", "../2.png", "/x/3.png", "gs://b/4.png"]

    def test_a_root_of_ones_own(self):
        for root, want in (("/y", "/y/1.png"), ("gs://b/c", "gs://b/c/1.png"), ("gs://b/", None)):
            source = ManifestSource(["1.png"], root=root)
            assert source.locate(0).startswith(want or "gs://b/1.png")

    def test_a_remote_path_is_never_touched(self, monkeypatch):
        read, asked = [], []
        monkeypatch.setattr(tf.io, "read_file", lambda path: read.append(path.numpy()) or path)
        monkeypatch.setattr(tf.io.gfile, "exists", lambda path: asked.append(path) or True)
        paths = ["gs://bucket/a//b/./1.png", "gs://bucket/../2.png", "gs://bucket/ü 3.png"]
        for source in (ManifestSource(paths), ManifestSource(paths, root="/x")):
            source.check_files()
            for example in source.examples():
                source.read(example["image"])
        assert read == [path.encode() for path in paths] * 2
        assert sorted(asked) == sorted(paths * 2)

    def test_a_remote_table(self, folder, request):
        """Its paths have no folder above that a file system would know."""
        place = f"ram://{request.node.name}"
        tf.io.gfile.makedirs(f"{place}/tables")
        for path in PATHS:
            tf.io.gfile.copy(str(folder / path), f"{place}/{path}")
        with tf.io.gfile.GFile(f"{place}/tables/t.csv", "w") as file:
            file.write("path\n" + "\n".join(f"../{path}" for path in PATHS))
        source = from_name(f"{place}/tables/t.csv", ".")
        assert source.locate(2).startswith(f"{place}/{PATHS[2]} (line 4 of ")
        image = next(iter(source.examples()))["image"]
        assert source.read(image) == (folder / PATHS[0]).read_bytes()
        source.check_files()
        tf.io.gfile.remove(f"{place}/{PATHS[3]}")
        with pytest.raises(
            FileNotFoundError, match=rf"line 5 of .*there is no file '{place}/00003"
        ):
            source.check_files()

    def test_what_pathlib_makes_of_a_remote_path(self):
        with pytest.raises(ValueError, match=r"'gs:/b/1.png', which pathlib makes .* give it as t"):
            ManifestSource([pathlib.PurePosixPath("gs://b/1.png")])

    def test_a_name_that_is_no_unicode(self, folder):
        name = "caf\udce9.png"
        (folder / name).write_bytes((folder / PATHS[0]).read_bytes())
        source = ManifestSource([PATHS[1], name], root=folder)
        assert source.locate(1).startswith(rf"{folder}/caf\xe9.png")
        assert len(list(source.images_and_labels()[0])) == 2


class TestSplits:
    COLUMNS = {"path": PATHS, "split": ["test", "train", "train", "val", "train", ""]}

    def test_an_index_is_the_place_in_the_split(self, table):
        path = table(**self.COLUMNS, label=["a", "b", "b", "", "c", ""])
        train, test, val = (from_name(path, split) for split in ("train", "test", "val"))
        assert train.name == f"{path}[train]"
        assert (train.size, train.num_examples) == (3, 3)
        assert names(train) == [PATHS[1], PATHS[2], PATHS[4]]
        assert train.locate(2).endswith(f"{PATHS[4]} (line 6 of {path})")
        # The classes are those of the whole table.
        assert train.class_names == test.class_names == ["a", "b", "c"]
        assert train.images_and_labels()[1].tolist() == [1, 1, 2]
        assert not val.labeled

    def test_all_rows(self, table, caplog):
        path = table(**self.COLUMNS)
        assert from_name(path, ".").size == N
        assert not caplog.records
        with caplog.at_level(logging.WARNING, logger="sogclr_tf"):
            assert ManifestSource(path).size == N
        assert "took the rows of all splits, train (3), test (1), val (1), emp" in caplog.text

    def test_no_such_split(self, table):
        path = table(**self.COLUMNS)
        for split in ("valid", "Train", "tra"):
            with pytest.raises(
                ValueError, match=rf"no row of split '{split}', only train \(3\), t"
            ):
                from_name(path, split)

    def test_no_column_of_splits(self, table, folder):
        path = table(path=PATHS)
        with pytest.raises(ValueError, match=r"no column 'split', .* put \{split\} .* \. for all"):
            from_name(path, "train")
        write_table(folder / "of-val.csv", path=PATHS[:2])
        assert from_name(f"{folder}/of-{{split}}.csv", "val").size == 2

    def test_names_of_columns(self, table):
        path = table(file=PATHS, breed=list("abcabc"), fold=list("112233"), number=range(7, 13))
        source = ManifestSource(path, "2", path="file", label="breed", splits="fold")
        assert (names(source), source.class_names) == (PATHS[2:4], ["a", "b", "c"])
        features = {"image": "file", "label": "breed", "index": "number"}
        source = from_name(path, ".", features=features)
        assert (source.num_examples, source.class_names) == (13, ["a", "b", "c"])
        defaults = {"image": "image/encoded", "label": "image/class/label", "index": ""}
        assert from_name(table(path=PATHS, label=range(N)), ".", features=defaults).labeled


class TestChanges:
    """What a table's rows are called, so that those of a loss's table go with them."""

    def test_a_row_goes_with_its_path(self, table):
        old = ManifestSource(table(path=PATHS[:3])).example_names()
        new = ManifestSource(table(path=[PATHS[2], PATHS[5], PATHS[0]])).example_names()
        assert new.rows_in(old).tolist() == [2, -1, 0]
        assert new.difference(old).startswith("example 0 was '00000.png' and is '00002.png' now")

    def test_other_splits_and_labels_do_not_matter(self, table):
        old = ManifestSource(table(path=PATHS[:3], split=list("aab")), "a").example_names()
        new = table(path=[PATHS[5], *PATHS[:2]], split=list("baa"), label=list("xyz"))
        assert ManifestSource(new, "a").example_names().fingerprint == old.fingerprint


class TestIds:
    IDS = [5, 0, 17, 3, 2, 9]

    def test_an_id_is_the_index(self, table):
        source = ManifestSource(table(path=PATHS, id=self.IDS, label=range(N)), index="id")
        assert (source.size, source.num_examples) == (N, 18)
        for seed in (None, 3):
            found = {int(e["index"]): int(e["label"]) for e in source.examples(seed)}
            assert found == dict(zip(self.IDS, range(N), strict=True))
        assert source.locate(17).split(" (")[0].endswith(PATHS[2])
        assert names(source) == [f"id {k}" for k in range(18)]

    def test_filters_keep_them(self, table):
        source = ManifestSource(table(path=PATHS, id=self.IDS), index="id")
        some = FilteredSource(source, only=[17, 2])
        assert (some.size, some.num_examples) == (2, 18)
        assert indices(some) == [2, 17]

    def test_without_being_asked_for_they_are_nothing(self, table):
        source = ManifestSource(table(path=PATHS, id=["x"] * N))
        assert source.num_examples == N

    @pytest.mark.parametrize("wrong", ["-1", "1.5", "x", "", "07", str(2**31)])
    def test_no_whole_number(self, wrong, table):
        path = table(path=PATHS, id=[0, 1, wrong, 3, 4, 5])
        with pytest.raises(ValueError, match=f"line 4 of .* has '{wrong}' as its id: expected a"):
            ManifestSource(path, index="id")

    def test_large_ones_cost_memory(self, table, caplog):
        with caplog.at_level(logging.WARNING, logger="sogclr_tf"):
            ManifestSource(table(path=PATHS, id=[0, 1, 2, 3, 4, 20_000_000]), index="id")
        assert "largest id is 20000000 for 6 images" in caplog.text

    def test_one_that_is_there_twice(self, table):
        path = table(path=PATHS, id=[0, 1, 2, 1, 4, 5])
        with pytest.raises(ValueError, match=r"line 5 of .* has the id 1 of line 3 of .* again"):
            ManifestSource(path, index="id")


class TestLabels:
    @pytest.mark.parametrize(
        ("given", "labels", "class_names"),
        [
            ([3, 1, 0, 10, 3, 1], [3, 1, 0, 10, 3, 1], None),
            (["3", "1", "x", "10", "3", "1"], [2, 0, 3, 1, 2, 0], ["1", "10", "3", "x"]),
            (["007", "01", "1", "01", "1", "1"], [0, 1, 2, 1, 2, 2], ["007", "01", "1"]),
        ],
    )
    def test_numbers_and_names(self, given, labels, class_names, table):
        source = ManifestSource(table(path=PATHS, label=given))
        assert source.images_and_labels()[1].tolist() == labels
        assert source.class_names == class_names

    def test_classes_of_ones_own(self, table):
        classes = ["emu", "cat", "dog"]
        source = ManifestSource(table(path=PATHS, label=["cat", "dog"] * 3), class_names=classes)
        assert source.class_names == classes
        assert source.images_and_labels()[1].tolist() == [1, 2] * 3
        with pytest.raises(ValueError, match="line 3 of .* the label 'gnu': expected one of emu"):
            ManifestSource(table(path=PATHS, label=["cat", "gnu"] * 3), class_names=classes)

    @pytest.mark.parametrize(
        ("label", "told"),
        [
            (["a", "", "b", "", "a", "b"], r"line 3 of .* has no label \(2 such in all, 4 have o"),
            ([0, 1, -1, 0, 1, 1], "line 4 of .* the label '-1': expected a number from 0"),
            ([0.5, 1, 2, 0, 1, 1], "line 2 of .* the label '0.5': expected whole numbers from 0, "),
            ([2**31, 1, 2, 0, 1, 1], "line 2 of .* the label '2147483648': expected a number"),
            (["a\nb", "c"] * 3, r"a class of .* is 'a\\nb', which is no UTF-8 or has control"),
        ],
    )
    def test_wrong_ones(self, label, told, table):
        with pytest.raises(ValueError, match=told):
            ManifestSource(table(path=PATHS, label=label))

    def test_all_empty(self, table):
        path = table(path=PATHS, label=[" "] * N)
        assert not ManifestSource(path).labeled
        with pytest.raises(ValueError, match="has no labels"):
            labeled_views(ManifestSource(path), 2, POLICY)

    def test_left_out(self, table):
        path = table(path=PATHS, label=["a", "", "b", "", "a", "b"])
        assert not ManifestSource(path, label=None).labeled


class TestCaptions:
    def test_pairs(self, table, folder, monkeypatch):
        captions = [f"number {k}" for k in range(N)]
        path = table(path=PATHS, caption=captions)
        monkeypatch.chdir(folder)
        for given in (
            [ManifestSource(path)],
            [path],
            [PATHS, captions],
            [from_name(path, ".", text="caption")],
        ):
            pairs = training_pairs(*given, batch_size=2, policy=POLICY)
            assert pairs.source.texts() == captions
        for example in pairs.examples().take(N):
            assert example["text"] == captions[example["index"]]

    def test_several_of_an_image(self, table):
        """Rows of one path are one image; what they say of it must agree."""
        paths = [PATHS[0], PATHS[1], f"./{PATHS[0]}"]
        columns = {"path": paths, "caption": [*"abc"], "label": [*"xyx"], "id": [7, 3, 7]}
        path = table(**columns)
        source = ManifestSource(path, index="id")
        assert [e["text"].numpy().tolist() for e in source.examples()] == [[b"a", b"c"], [b"b"]]
        assert [int(e["index"]) for e in source.examples()] == [7, 3]
        np.testing.assert_array_equal(source.caption_offsets, [0, 1, 2, 3, 4, 5, 6, 7, 9])
        assert names(ManifestSource(path)) == PATHS[:2]
        assert ManifestSource(path).locate(1).endswith(f"{PATHS[1]} (line 3 of {path})")
        for changed, told in (
            ({"label": [*"xyz"]}, "line 4 of .* has the label 'z', but line 2 of .* 'x': rows of"),
            ({"id": [7, 3, 8]}, "line 4 of .* has the id '8', but line 2 of .*, of the same im"),
            ({"id": [7, 7, 7]}, "line 3 of .* has the id 7 of line 2 of"),
        ):
            with pytest.raises(ValueError, match=told):
                ManifestSource(table(**{**columns, **changed}), index="id")
        with pytest.raises(ValueError, match="line 4 of .* has the path of line 2 of .* again"):
            training_views(path, batch_size=2, policy=POLICY)
        with pytest.raises(ValueError, match="line 3 .* path and caption of line 2"):
            ManifestSource(table(path=[PATHS[0]] * 2, caption=["a", "a"]))

    def test_lists(self, table):
        source = ManifestSource(table(".jsonl", path=PATHS[:2], captions=[["a", "b "], ["c"]]))
        assert [e["text"].numpy().tolist() for e in source.examples()] == [[b"a", b"b"], [b"c"]]
        with pytest.raises(ValueError, match="line 2 of .* has text as its captions, unlike rows"):
            ManifestSource(table(".jsonl", path=PATHS[:2], captions=[["a"], "b"]))
        with pytest.raises(ValueError, match="line 2 of .* has a list as text in captions: give"):
            ManifestSource(table(".csv", path=PATHS[:1], captions=['["a", "b"]']))
        with pytest.raises(ValueError, match="has the columns caption and captions: leave one out"):
            ManifestSource(table(path=PATHS[:1], caption=["a"], captions=["b"]))

    def test_some_are_empty(self, table):
        source = ManifestSource(table(path=PATHS, caption=["a", ""] * 3))
        told = r"00001.png \(line 3 of .*\) \(index 1\) cannot be used: it has no caption \(3 such"
        with pytest.raises(ValueError, match=told):
            usable(source)
        several = ManifestSource(table(".jsonl", path=PATHS[:3], captions=[["a", ""], [], ["b"]]))
        assert [*several.faults] == [0, 1]

    def test_beside_a_table(self, table):
        with pytest.raises(ValueError, match="texts belong inside the source, the table"):
            training_pairs(table(path=PATHS), ["a"] * N, batch_size=2)


class TestBrokenTables:
    @pytest.mark.parametrize(
        ("name", "text", "told"),
        [
            ("a.csv", b"", "a.csv is empty: give"),
            ("a.csv", b"\n\n", "a.csv is empty: give"),
            ("a.jsonl", b"\n", "a.jsonl is empty: give"),
            ("a.csv", b"path,label\n", "a.csv has no rows: give"),
            ("a.csv", b"file,label\na,b\n", "a.csv has no column 'path', only file, label: rename"),
            ("a.csv", b"path;label\na;b\n", "a.csv has no column 'path', only path;label: "),
            ("a.csv", b"path,path\na,b\n", "a.csv has two columns 'path': rename one"),
            (
                "a.csv",
                b"path,label\na,b\nc\n",
                "line 3 of .*a.csv has 1 values, expected 2: path",
            ),
            ("a.csv", b"path,label\na,b,c\n", "line 2 of .*a.csv has 3 values, expected 2: path"),
            ("a.csv", b'path,label\na,"b\nc,d\n', "line 3 of .*a.csv cannot be read: unexpected e"),
            ("a.csv", b"path\na\ncaf\xe9\n", "a.csv is no UTF-8: line 3 holds the byte 0xe9: save"),
            ("a.csv", b"path,label\na,1\n,2\n", "line 3 of .*a.csv has nothing as its path: "),
            ("a.csv", b"path\na\nb\n./a\n", "line 4 of .* the path of line 2 of .* again, './a'"),
            ("a.jsonl", b'{"path": "a"}\n{"path"\n', "line 2 of .*a.jsonl is no JSON: Expecting"),
            ("a.jsonl", b'["a"]\n', "line 1 of .*a.jsonl is no object such as"),
            ("a.jsonl", b'{"path": 3}\n', r"line 1 of .*a.jsonl has 3 \(int\) as its path: exp"),
            ("a.txt", b"a\n", "a.txt' is no table: expected one of .csv, .tsv, .jsonl, .ndjson"),
        ],
    )
    def test_one_line_says_what_is_wrong(self, name, text, told, tmp_path):
        (tmp_path / name).write_bytes(text)
        with pytest.raises(ValueError, match=told) as raised:
            ManifestSource(tmp_path / name)
        assert "\n" not in str(raised.value)

    def test_no_table(self, tmp_path):
        for open_it in (ManifestSource, from_path, lambda path: from_name(path, "train")):
            with pytest.raises(FileNotFoundError, match="there is no file '.*a.csv': give a table"):
                open_it(tmp_path / "a.csv")

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"path": []}, "the table has no rows"),
            ({}, "the table has no rows"),
            ({"path": ["a", "b"], "label": [1]}, r"columns of the table differ in length: .*2, "),
            ({"image": ["a"]}, "the table has no column 'path', only image"),
            (["a", 3], r"row 1 of the list of paths has 3 \(int\) as its path"),
            (["a", None], "row 1 of the list of paths has nothing as its path"),
            ({"path": ["a", float("nan")]}, "row 1 of the table has nothing as its path"),
            (["a", "a"], "row 1 of the list of paths has the path of row 0 of the list"),
        ],
    )
    def test_columns(self, given, told):
        with pytest.raises(ValueError, match=told):
            as_source(given)

    def test_a_column_that_somebody_named(self, table):
        for name in ("label", "caption", "path"):
            with pytest.raises(ValueError, match="no column 'breed', only path: rename one, or"):
                ManifestSource(table(path=PATHS), **{name: "breed"})


class TestMissingFiles:
    def columns(self):
        return {"path": [*PATHS[:3], "gone.png", *PATHS[3:], "sub/gone.png"]}

    def test_named_before_the_training(self, table):
        path = table(**self.columns())
        told = r"line 5 of .* names an image that cannot .* no file '.*/gone.png' \(2 such in all\)"
        for images in (path, ManifestSource(path)):
            with pytest.raises(FileNotFoundError, match=told):
                training_views(images, batch_size=2, policy=POLICY)
        # Of those that are chosen.
        some = FilteredSource(ManifestSource(path), only=[0, 1])
        assert training_views(some, batch_size=2, policy=POLICY).steps_per_epoch == 1

    def test_skipped(self, table):
        path = table(**self.columns(), id=[3, 4, 9, 7, 0, 1, 2, 8])
        views = training_views(path, batch_size=2, policy=POLICY, on_error="skip")
        assert sorted(views.source.skipped) == [3, 7]
        assert "gone.png" in views.source.skipped[3]
        assert indices(views.source) == [0, 1, 2, 4, 5, 6]
        by_id = readable(ManifestSource(path, index="id"))
        assert sorted(by_id.skipped) == [7, 8]
        assert indices(by_id) == [0, 1, 2, 3, 4, 9]
        assert training_views(by_id, batch_size=2, policy=POLICY).num_examples == 10

    def test_told_when_it_goes_later(self, table, folder):
        (folder / "late.png").write_bytes((folder / PATHS[0]).read_bytes())
        source = ManifestSource(table(path=[*PATHS, "late.png"]))
        source.check_files()
        (folder / "late.png").unlink()
        with (
            pytest.raises(ValueError, match=r"late.png \(line 8 of .*\) \(index 6\) cannot be dec"),
            clear_errors(source),
        ):
            list(source.images_and_labels()[0])

    def test_a_folder_is_no_file(self, folder, tmp_path):
        with pytest.raises(FileNotFoundError, match=f"row 1 of .*'{tmp_path}' is no file"):
            ManifestSource([str(folder / PATHS[0]), str(tmp_path)]).check_files()

    def test_the_time_is_bounded(self, caplog, monkeypatch):
        """What was not asked for is left to those who read."""
        monkeypatch.setattr(missing_files, "_SECONDS", -1.0)
        paths = [f"/nowhere/{k}".encode() for k in range(100_000)]
        with caplog.at_level(logging.INFO, logger="sogclr_tf"):
            found = missing_files.missing("these", paths)
        assert 0 < len(found) < len(paths)
        assert f"these: looked for {len(found)} of 100000 files" in caplog.text

    def test_a_file_system_that_nobody_knows(self):
        with pytest.raises(FileNotFoundError, match=r"row 0 .*'nfs3://b/1.png' cannot be read \(F"):
            ManifestSource(["nfs3://b/1.png"]).check_files()
