"""TFDS sets whose images are arrays, or files of other kinds than 8 bits in three channels."""

import numpy as np
import pytest
import tensorflow as tf

from sogclr_tf import Policy, TfdsSource, training_views

pytestmark = pytest.mark.slow(reason="a set of TFDS is prepared")

N = 4
RANDOM = np.random.default_rng(0)
STORED = {
    "bands": RANDOM.integers(0, 65_536, (N, 16, 16, 13)).astype(np.uint16),
    "gray": RANDOM.integers(0, 65_536, (N, 8, 6, 1)).astype(np.uint16),
    "alpha": RANDOM.integers(0, 256, (N, 8, 6, 4)).astype(np.uint8),
    "signed": RANDOM.integers(-1_024, 3_072, (N, 8, 6, 2)).astype(np.int16),
    "floats": RANDOM.uniform(0, 1, (N, 8, 6, 2)).astype(np.float32),
    "flat": RANDOM.integers(0, 256, (N, 8, 6)).astype(np.uint8),
    "dark": RANDOM.integers(0, 4_096, (N, 8, 6, 2)).astype(np.uint16),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import tensorflow_datasets as tfds

    class PixelsOfManyKinds(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        # It has no files beside its code.
        url_infos, code_path, pkg_dir_path = {}, None, None  # noqa: RUF012

        def _info(self):
            arrays = ("bands", "signed", "floats", "flat", "dark")
            features = {
                name: tfds.features.Tensor(shape=STORED[name].shape[1:], dtype=STORED[name].dtype)
                for name in arrays
            }
            for name in ("gray", "alpha"):
                features[name] = tfds.features.Image(
                    shape=STORED[name].shape[1:], dtype=STORED[name].dtype, encoding_format="png"
                )
            features["place"] = tfds.features.Scalar(np.int64)
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, _):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for place in range(N):
                yield place, {"place": place} | {k: v[place] for k, v in STORED.items()}

    folder = tmp_path_factory.mktemp("tfds")
    PixelsOfManyKinds(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def source(folder):
    return lambda image, **options: TfdsSource(
        "pixels_of_many_kinds", "train", folder, image=image, **options
    )


def pixels(found):
    """In the order in which they were written."""
    places = [int(e["place"]) for e in found._builder.as_dataset("train")]
    images = np.stack(list(found.images_and_labels()[0].as_numpy_iterator()))
    return images[np.argsort(places)]


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        ("bands", {}, STORED["bands"] / np.float32(65_535)),
        ("gray", {"channels": 1}, STORED["gray"] / np.float32(65_535)),
        ("gray", {}, STORED["gray"].repeat(3, axis=-1) / np.float32(65_535)),
        ("alpha", {}, STORED["alpha"][..., :3]),
        (
            "signed",
            {"value_range": (-1_024, 3_071)},
            (STORED["signed"] + np.float32(1_024)) / np.float32(4_095),
        ),
        ("floats", {}, STORED["floats"]),
        ("flat", {"channels": 1}, STORED["flat"][..., np.newaxis]),
    ],
)
def test_every_value_is_kept(source, image, options, expected):
    found = source(image, **options)
    got = pixels(found)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == expected.dtype
    assert found.image_size == expected.shape[1:3]
    image = found.read(next(iter(found.examples()))["image"])
    part = found.crop(image, tf.constant([1, 2, 4, 3]))
    np.testing.assert_array_equal(part, found.decode(image)[1:5, 2:5])
    np.testing.assert_array_equal(found.shape(image), expected.shape[1:3])


def test_views_of_bands(source):
    policy = Policy(8, jitter=0, grayscale=0)
    batch = next(iter(training_views(source("bands"), batch_size=2, policy=policy).epoch(0)))
    assert (batch["view_a"].shape, batch["view_a"].dtype) == ((2, 8, 8, 13), tf.float32)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        ("signed", {}, "are int16, of which no range is usual"),
        ("image", {}, "has no feature 'image', only .*bands.*: name the one that holds images"),
        ("place", {}, "feature 'place' of .* expected images, or arrays"),
        ("bands", {"channels": 3}, "have 13 channels: expected 3"),
        ("alpha", {"channels": 4}, "channels is 4 for .*files give 1 or 3"),
        ("dark", {}, r"no value above 40..: state .* such as value_range=\(0, 4095\)"),
    ],
)
def test_what_does_not_fit_is_refused(source, image, options, message):
    with pytest.raises(ValueError, match=message):
        assert source(image, **options).pixel_format
