import numpy as np
import pytest

from sogclr_tf.data import labeled
from sogclr_tf.data.sources.arrays import digits


@pytest.fixture(scope="module")
def source():
    return digits("train")


def batches(dataset, count):
    return list(dataset.take(count).as_numpy_iterator())


def test_a_view_comes_with_the_label_of_its_image(source):
    plain = labeled.crops_and_flips(8, min_area=1, flip=0)
    plain = type(plain)(**{**vars(plain), "max_aspect": 1.0})
    views = labeled.labeled_views(source, 100, plain)
    assert views.steps_per_epoch == 11
    images, labels = source.images_and_labels()
    images = np.stack(list(images.as_numpy_iterator()))
    for batch in batches(views.epoch(0), 11):
        assert {key: value.dtype.name for key, value in batch.items()} == {
            "image": "uint8",
            "label": "int32",
            "index": "int32",
        }
        np.testing.assert_array_equal(batch["label"], labels[batch["index"]])
        np.testing.assert_array_equal(batch["image"], images[batch["index"]])


def test_a_stream_goes_on_where_it_was_left(source):
    views = labeled.labeled_views(source, 400, labeled.crops_and_flips(8), seed=3)
    whole = batches(views.stream(), 5)
    for expected, batch in zip(whole[3:], batches(views.stream(3), 2), strict=True):
        for key in views.keys:
            np.testing.assert_array_equal(batch[key], expected[key])
    other = batches(labeled.labeled_views(source, 400, views.policy, seed=4).stream(), 1)
    assert (other[0]["index"] != whole[0]["index"]).any()


def test_samples_are_images_to_look_at(source):
    views = labeled.labeled_views(source, 10, labeled.crops_and_flips(12))
    originals, first, second = views.samples(3)
    assert [image.shape for image in originals] == [(8, 8, 3)] * 3
    assert [view.shape for view in first + second] == [(12, 12, 3)] * 6
    assert any((a != b).any() for a, b in zip(first, second, strict=True))


def test_crops_and_flips_change_no_color():
    policy = labeled.crops_and_flips(32, flip=0.25)
    assert (policy.size, policy.min_area, policy.flip) == (32, 0.08, 0.25)
    assert (policy.jitter, policy.grayscale, policy.blur, policy.solarize) == (0, 0, 0, 0)


def test_a_source_without_labels_is_refused():
    images = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="the array has no labels: give one for each image"):
        labeled.labeled_views(images, 2, labeled.crops_and_flips(8))
