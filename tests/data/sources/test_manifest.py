"""Tables that name images: CSV, TSV, JSON lines, frames, columns and lists of paths."""

import logging
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_table
from support.manifests import PATHS, POLICY, Frame, N, names

from sogclr_tf import ManifestSource, training_views
from sogclr_tf.data.sources.open import as_source, from_name, from_path, is_path


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
