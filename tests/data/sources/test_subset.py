import numpy as np
import pytest
from support.files import write_folder

import sogclr_tf
from sogclr_tf.data import labeled
from sogclr_tf.data.sources import subset
from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.data.sources.filtered import FilteredSource


def test_every_class_gives_the_same_share():
    labels = np.repeat([0, 1, 5], [100, 40, 10])
    rows = subset.balanced_subset(labels, 10)
    assert rows.dtype == np.int64
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert np.bincount(labels[rows]).tolist() == [10, 4, 0, 0, 0, 1]
    assert subset.balanced_subset(labels, 100).tolist() == list(range(150))


def test_subsets_of_one_seed_nest_and_never_change():
    labels = np.arange(3000) % 3
    shares = [subset.balanced_subset(labels, percent) for percent in (1, 2.5, 10, 50)]
    for smaller, larger in zip(shares, shares[1:], strict=False):
        assert set(smaller) < set(larger)
    assert (subset.balanced_subset(labels, 10, seed=1) != shares[2]).any()
    # What is published as the 1% of a set must be that tomorrow.
    assert subset.balanced_subset(np.zeros(8, int), 50).tolist() == [1, 2, 3, 6]


def test_another_class_changes_nothing():
    labels = np.repeat([0, 1], 50)
    alone = subset.balanced_subset(labels[:50], 20)
    both = subset.balanced_subset(labels, 20)
    assert both[both < 50].tolist() == alone.tolist()


@pytest.mark.parametrize(
    ("labels", "percent", "message"),
    [
        (np.repeat([0, 7], [100, 10]), 1, "1% of the 10 examples of class 7 is none: .* than 5%"),
        ([0, 1], 0, r"percent is 0: give a share of the labels in \(0, 100\]"),
        ([0, 1], 101, "percent is 101"),
        ([0, -1], 10, "labels must be classes from 0, got -1"),
    ],
)
def test_balanced_subset_refuses(labels, percent, message):
    with pytest.raises(ValueError, match=message):
        subset.balanced_subset(labels, percent)


def test_a_class_is_kept_from_the_share_that_the_error_names():
    assert len(subset.balanced_subset(np.zeros(10, int), 5.1)) == 1


def test_a_subset_of_a_source_keeps_indices_and_images():
    source = digits("train")
    tenth = subset.subset(source, 10, seed=2)
    labels = source.images_and_labels()[1]
    rows = subset.balanced_subset(labels, 10, seed=2)
    assert (tenth.size, tenth.num_examples) == (len(rows), source.num_examples)
    assert tenth.name == "10% of digits[train]"
    found = list(tenth.examples().as_numpy_iterator())
    assert [example["index"] for example in found] == rows.tolist()
    assert tenth.images_and_labels()[1].tolist() == labels[rows].tolist()
    shuffled = [x["index"] for x in tenth.examples(seed=5).as_numpy_iterator()]
    assert sorted(shuffled) == rows.tolist() != shuffled
    later = [x["index"] for x in tenth.examples(seed=5, first=7).as_numpy_iterator()]
    assert later == shuffled[7:]
    assert subset.subset(source, 100) is source


def test_a_subset_of_a_source_makes_labeled_views():
    source = digits("train")
    tenth = subset.subset(source, 10)
    views = labeled.labeled_views(tenth, tenth.size, labeled.crops_and_flips(8))
    labels = source.images_and_labels()[1]
    for batch in views.stream().take(2).as_numpy_iterator():
        assert set(batch["index"]) == set(subset.balanced_subset(labels, 10))
        np.testing.assert_array_equal(batch["label"], labels[batch["index"]])


def test_a_source_without_labels_has_no_subset():
    source = sogclr_tf.ArraySource(np.zeros((4, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="the array has no labels"):
        subset.subset(source, 50)


def test_the_order_of_filters_does_not_matter(tmp_path):
    """A broken file left out of a share, and a share taken of what is left."""
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), np.uint8)
    source = sogclr_tf.FolderSource(write_folder(tmp_path, images, np.arange(12) % 2))
    only, skipped = [0, 1, 2, 5, 7, 9], {5: "cut off"}
    one = FilteredSource(FilteredSource(source, only=only), skipped=skipped)
    other = FilteredSource(FilteredSource(source, skipped=skipped), only=only)
    for made in (one, other):
        assert made.size == 5
        assert made.skipped == skipped
        assert [int(x["index"]) for x in made.examples()] == [0, 1, 2, 7, 9]
    # What is remembered of a collection does not depend on what is left out of it as broken.
    assert one.fingerprint() == other.fingerprint() != source.fingerprint()
    assert FilteredSource(source, skipped=skipped).fingerprint() == source.fingerprint()
