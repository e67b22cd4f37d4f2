"""Names of examples: what differs, and which row goes where."""

import numpy as np
import pytest

from sogclr_tf.example_names import ExampleNames

OLD = ["b", "c", "d", "d", "e"]
# What happened to OLD, and where each example was in it.
CHANGES = {
    "added before and behind": (["a", *OLD, "f"], [-1, 0, 1, 2, 3, 4, -1]),
    "removed": (["b", "d", "d", "e"], [0, 2, 3, 4]),
    "renamed": (["a", "c", "d", "d", "e"], [-1, 1, 2, 3, 4]),
    "sorted anew": (["e", "d", "c", "d", "b"], [4, 2, 1, 3, 0]),
    "one of two alike removed": (["b", "c", "d", "e"], [0, 1, 2, 4]),
    "the same": (OLD, [0, 1, 2, 3, 4]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_go_by_name(change):
    names, rows = CHANGES[change]
    old, new = ExampleNames.of(OLD), ExampleNames.of(names)
    assert new.rows_in(old).tolist() == rows
    assert (new.fingerprint == old.fingerprint) == (names == OLD)
    assert (new.difference(old) is None) == (names == OLD)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", *OLD], "example 0 was 'b' and is 'a' now (1 new, 0 gone, 5 at another place)"),
        ([*OLD, "f"], "example 5, 'f', is new (1 new, 0 gone, 0 at another place)"),
        (OLD[:4], "example 4, 'e', is gone (0 new, 1 gone, 0 at another place)"),
    ],
)
def test_the_first_example_that_differs_is_named(names, message):
    assert ExampleNames.of(names).difference(ExampleNames.of(OLD)) == message


def test_numbered_names_are_those_that_they_spell():
    numbered = ExampleNames.numbered(["x_", "y", "z"], [11, 0, 2])
    spelled = ExampleNames.of([*(f"x_{k}" for k in range(11)), "z0", "z1"])
    assert len(numbered) == len(spelled) == 13
    assert [numbered[k] for k in range(13)] == [spelled[k] for k in range(13)]
    assert numbered.difference(spelled) is None
    assert numbered.rows_in(spelled).tolist() == list(range(13))


def test_the_fingerprint_depends_on_where_names_end():
    texts = (["ab", "c"], ["a", "bc"], ["abc"], ["ab", "c", ""])
    names = [ExampleNames.of(text) for text in texts]
    names += [ExampleNames.numbered(["ab", "c"], counts) for counts in ([1, 1], [2, 1], [1, 2])]
    found = {each.fingerprint for each in names}
    assert len(found) == len(names)
    assert all(0 < number < 2**63 for number in found)


@pytest.mark.parametrize(
    "names",
    [ExampleNames.of([b"caf\xe9.jpg", "日本.png", "", "a b"]), ExampleNames.numbered(["s"], [7])],
    ids=["listed", "numbered"],
)
def test_a_file_keeps_them(tmp_path, names):
    names.save(tmp_path / "names.npz")
    again = ExampleNames.load(tmp_path / "names.npz")
    assert again.fingerprint == names.fingerprint
    assert [again[k] for k in range(len(again))] == [names[k] for k in range(len(names))]
    assert [path.name for path in tmp_path.iterdir()] == ["names.npz"]


def test_a_file_that_cannot_be_read_holds_none(tmp_path):
    path = tmp_path / "names.npz"
    assert ExampleNames.load(path) is None
    ExampleNames.of(OLD).save(path)
    path.write_bytes(path.read_bytes()[:-30])
    assert ExampleNames.load(path) is None
    np.savez(path, other=1)
    assert ExampleNames.load(path) is None
