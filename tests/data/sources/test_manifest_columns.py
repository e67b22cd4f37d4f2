"""What a table says of its images: ids, labels and captions."""

import logging

import numpy as np
import pytest
from support.manifests import PATHS, POLICY, N, indices, names

from sogclr_tf import ManifestSource, training_pairs, training_views
from sogclr_tf.data.labeled import labeled_views
from sogclr_tf.data.sources.filtered import FilteredSource
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.data.sources.readable import usable


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
