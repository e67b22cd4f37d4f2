"""Tables that cannot be read, and tables of images that are not there."""

import logging

import pytest
from support.manifests import PATHS, POLICY, indices

from sogclr_tf import ManifestSource, training_views
from sogclr_tf.data.sources import missing_files
from sogclr_tf.data.sources.filtered import FilteredSource
from sogclr_tf.data.sources.open import as_source, from_name, from_path
from sogclr_tf.data.sources.readable import clear_errors, readable


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
