"""Every level of an image's values reaches the encoder, and what has no usual range is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import ArraySource, DatasetSource, FolderSource, PixelFormat, Policy
from sogclr_tf.data.files import decoding

N = 4
WHOLE = Policy(8, min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)


def stored(low, high, dtype, shape=(N, 8, 8, 2)):
    values = np.random.default_rng(0).uniform(low, high, shape)
    values.flat[:2] = low, high
    return values.astype(dtype)


def as_array(images, **options):
    return ArraySource(images, **options)


def as_dataset(images, **options):
    return DatasetSource(tf.data.Dataset.from_tensor_slices(images), **options)


TWICE = pytest.mark.slow(reason="the same code on images held otherwise")
HOLDERS = pytest.mark.parametrize("holder", [as_array, pytest.param(as_dataset, marks=TWICE)])


def pixels(source):
    return np.stack(list(source.images_and_labels()[0].as_numpy_iterator()))


@HOLDERS
class TestInMemory:
    @pytest.mark.parametrize(
        ("dtype", "low", "high", "stated"),
        [
            (np.uint8, 0, 1, (0, 1)),
            (np.uint8, 16, 235, (16, 235)),
            (np.uint16, 0, 65_535, None),
            (np.uint16, 0, 4_095, (0, 4_095)),
            (np.int16, -1_024, 3_071, (-1_024, 3_071)),
            (np.float32, -30, 5, (-30, 5)),
            (np.float64, 0, 10_000, (0, 10_000)),
            (np.float16, 0, 1, None),
        ],
    )
    def test_the_stated_range_becomes_0_to_1(self, holder, dtype, low, high, stated):
        images = stored(low, high, dtype)
        got = pixels(holder(images, value_range=stated))
        assert got.dtype == np.float32
        assert_close(got, (images.astype(np.float64) - low) / (high - low), terms=4)
        assert (got.min(), got.max()) == (0, 1)

    def test_12_bits_that_nobody_stated(self, holder):
        with pytest.raises(ValueError, match=r"above 4095: .* such as value_range=\(0, 4095\), or"):
            holder(stored(0, 4_095, np.uint16))

    def test_bits_that_are_mostly_used(self, holder):
        assert pixels(holder(stored(0, 40_000, np.uint16))).max() == np.float32(40_000 / 65_535)

    def test_signed_values_that_nobody_stated(self, holder):
        with pytest.raises(
            ValueError, match="are int16, of which no range is usual: state the val"
        ):
            holder(stored(-1_024, 3_071, np.int16))

    def test_gray_of_16_bits_is_repeated(self, holder):
        images = stored(0, 65_535, np.uint16, (N, 8, 8))
        expected = np.stack([images / 65_535] * 3, axis=-1)
        assert_close(pixels(holder(images)), expected, terms=4)

    def test_levels_far_from_0(self, holder):
        """Closer than those of float32 are there."""
        images = 1e8 + np.linspace(0, 100, N * 8 * 8 * 2).reshape(N, 8, 8, 2)
        got = pixels(holder(images, value_range=(1e8, 1e8 + 100)))
        assert_close(got, (images - 1e8) / 100, terms=4)

    @pytest.mark.parametrize(
        ("shape", "line"),
        [
            ((N, 3, 8, 9), r"are \[3, 8, 9\], which is 3 rows, .* expected the channels last"),
            ((N, 9, 3), r"are \[9, 3\], which is images without channels, of 3 columns: give \[N"),
        ],
    )
    def test_axes_in_another_order(self, holder, shape, line):
        images = stored(0, 255, np.uint8, shape)
        with pytest.raises(ValueError, match=line):
            holder(images)
        stated = holder(images, channels=9) if len(shape) == 4 else holder(images[..., None])
        assert stated.image_size == shape[1:3]

    @pytest.mark.parametrize("beyond", [-1, 4_096])
    def test_a_value_outside(self, holder, beyond):
        images = stored(0, 4_095, np.int16)
        images[2, 1, 1] = beyond
        with pytest.raises(
            ValueError, match=rf"example 2 of .* value {beyond}, but value_range is \(0, 4095\): st"
        ):
            holder(images, value_range=(0, 4_095))


@pytest.mark.parametrize(
    "stated",
    [5, (1, 1), (4_095, 0), (0, np.inf), (0, np.nan), (0, 1, 2), "ab", (None, 1)]
    + [(0, 1e39), (-3e38, 3e38), (0, 1e-40)],
)
def test_a_range_that_is_none(stated):
    with pytest.raises(ValueError, match=r"value_range is .*: expected \(low, high\)"):
        ArraySource(stored(0, 1, np.float32), value_range=stated)


@pytest.mark.parametrize("last", [5, 6])
def test_floats_of_differing_sizes_in_a_stated_range(last):
    """Beyond the first of a data set each is checked as it is seen, in its own values."""
    images = [np.full((8, 8 + place % 2, 3), -30, np.float32) for place in range(66)]
    images[65][0, 0] = last
    spec = tf.TensorSpec([None, None, 3], tf.float32)
    data = tf.data.Dataset.from_generator(lambda: iter(images), output_signature=spec)
    source = DatasetSource(data, value_range=(-30, 5))

    def corner(image, seed):  # noqa: ARG001
        return tf.ensure_shape(image[:8, :8], [8, 8, 3])

    views = sogclr_tf.training_views(source, batch_size=66, policy=corner).epoch(0)
    if last > 5:
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="example 65 .* value 6, but value"
        ):
            list(views)
    else:
        got = next(iter(views))["view_a"].numpy()
        assert sorted(got.max(axis=(1, 2, 3))) == [0] * 65 + [1]


class TestFiles:
    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("stated", [None, (0, 50_000), pytest.param((0, 65_535), marks=TWICE)])
    def test_all_16_bits(self, tmp_path, channels, stated):
        images = stored(0, 50_000, np.uint16, (N, 6, 7, channels))
        write_folder(tmp_path, images)
        source = FolderSource(tmp_path, channels=channels, value_range=stated)
        got = pixels(source)
        white = stated[1] if stated else 65_535
        np.testing.assert_array_equal(got, images.astype(np.float32) / np.float32(white))
        box = tf.constant([1, 2, 4, 3])
        part = source.crop((tmp_path / "00001.png").read_bytes(), box)
        np.testing.assert_array_equal(part, got[1, 1:5, 2:5])

    def test_12_bits_that_nobody_stated(self, tmp_path):
        write_folder(tmp_path, stored(0, 4_095, np.uint16, (N, 6, 7, 1)))
        for use in (
            lambda: sogclr_tf.training_views(tmp_path, batch_size=2, policy=WHOLE),
            lambda: sogclr_tf.evaluation_set(FolderSource(tmp_path), 8),
        ):
            with pytest.raises(
                ValueError, match=r"^images .* above 4095: .*value_range=\(0, 4095\)"
            ):
                use()

    def test_a_dark_one_among_those_of_8_bits(self):
        """Beyond the first files, which tell what a collection holds."""
        dark = tf.io.encode_png(stored(0, 4_095, np.uint16, (6, 7, 1)))
        with pytest.raises(tf.errors.InvalidArgumentError, match="16 bits, but no value is above"):
            decoding.decode(dark)
        bright = stored(0, 65_535, np.uint16, (6, 7, 3))
        got = decoding.decode(tf.io.encode_png(bright))
        np.testing.assert_array_equal(got, bright // 256)

    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_one_of_8_bits_where_12_were_stated(self, tmp_path, suffix):
        write_folder(tmp_path, stored(0, 255, np.uint8, (N, 6, 7, 3)), suffix=suffix)
        source = FolderSource(tmp_path, value_range=(0, 4_095))
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="an image of 8 bits, but value_ra"
        ):
            pixels(source)
        assert pixels(FolderSource(tmp_path, value_range=(0, 255))).dtype == np.float32

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
    def test_colors_as_gray(self, suffix):
        """By the weights of JPEG; what is gray stays what it is, to the bit."""
        from io import BytesIO

        from PIL import Image

        kind = {".jpg": "JPEG"}.get(suffix, suffix[1:].upper())
        options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
        options |= {"lossless": True} if kind == "WEBP" else {}
        gray = np.repeat(stored(0, 255, np.uint8, (16, 16, 1)), 3, axis=-1)
        colors = stored(0, 255, np.uint8, (16, 16, 3))
        for image, slack in ((gray, kind == "JPEG"), (colors, 3 if kind == "JPEG" else 1)):
            file = BytesIO()
            Image.fromarray(image).save(file, kind, **options)
            got = decoding.decode(file.getvalue(), pixel_format=PixelFormat(1)).numpy()
            assert got.shape == (16, 16, 1)
            expected = image @ [0.299, 0.587, 0.114]
            assert np.abs(got[..., 0] - expected).max() <= slack + 0.01

    def test_channels_that_files_have_not(self, tmp_path):
        write_folder(tmp_path, stored(0, 255, np.uint8, (N, 6, 7, 3)))
        with pytest.raises(ValueError, match="channels is 13 for .*: JPEG, PNG, WebP, BMP and GIF"):
            pixels(FolderSource(tmp_path, channels=13))


class TestLevels:
    """4,096 values that differ stay so, wherever they go."""

    RAMP = np.arange(4_096, dtype=np.uint16).reshape(1, 64, 64, 1).repeat(2, axis=0)
    POLICY = Policy(64, min_area=1, max_aspect=1, flip=0, jitter=0, saturation=0, grayscale=0)

    @pytest.fixture(
        params=[*(pytest.param(x, marks=TWICE) for x in ("array", "dataset")), "folder"]
    )
    def source(self, request, tmp_path):
        options = {"channels": 1, "value_range": (0, 4_095)}
        if request.param == "folder":
            return FolderSource(write_folder(tmp_path, self.RAMP), **options)
        return (as_array if request.param == "array" else as_dataset)(self.RAMP, **options)

    def test_source_view_and_evaluation(self, source):
        for image in (
            pixels(source)[0],
            next(iter(sogclr_tf.training_views(source, batch_size=2, policy=self.POLICY).epoch(0)))[
                "view_a"
            ][0],
            next(iter(sogclr_tf.evaluation_set(source, 64)[0])),
        ):
            assert len(np.unique(image)) == 4_096

    @pytest.mark.slow(reason="an export with its decoding")
    def test_encoder_and_export(self, source, tmp_path):
        encoder = sogclr_tf.small_resnet(widths=(4,), input_shape=(64, 64, 1))
        seen = []
        watched = keras.Sequential([keras.layers.Lambda(lambda x: seen.append(x) or x), encoder])
        model = sogclr_tf.SogCLR(watched, sogclr_tf.GlobalContrastiveLoss(2))
        batch = next(
            iter(sogclr_tf.training_views(source, batch_size=2, policy=self.POLICY).epoch(0))
        )
        model(batch["view_a"])
        assert len(np.unique(seen[-1][0])) == 4_096
        path = sogclr_tf.export_encoder(
            encoder, tmp_path / "served", pixel_format=source.pixel_format
        )
        served = tf.saved_model.load(str(path)).signatures
        images = np.stack(list(sogclr_tf.evaluation_set(source, 64)[0].as_numpy_iterator()))
        expected = encoder(images, training=False)
        assert_close(served["serving_default"](images=images)["features"], expected)
        files = [tf.io.encode_png(image).numpy() for image in self.RAMP]
        assert_close(served["serving_bytes"](image_bytes=tf.constant(files))["features"], expected)
        beyond = tf.io.encode_png(self.RAMP[0] + np.uint16(1))
        with pytest.raises(tf.errors.InvalidArgumentError, match="values outside value_range"):
            served["serving_bytes"](image_bytes=beyond[tf.newaxis])


class TestPolicies:
    def test_the_default_has_no_colors_to_change(self):
        views = sogclr_tf.training_views(stored(0, 1, np.float32, (N, 8, 8, 13)), batch_size=2)
        batch = next(iter(views.epoch(0)))
        assert batch["view_a"].shape == (2, 8, 8, 13)
        assert batch["view_a"].dtype == tf.float32

    @pytest.mark.parametrize("channels", [1, 2, 13])
    def test_what_needs_colors_is_refused_by_name(self, channels):
        images = stored(0, 255, np.uint8, (N, 8, 8, channels))
        with pytest.raises(
            ValueError,
            match=rf"has saturation, hue, grayscale, .* {channels} channels .*saturation=0, hue=0",
        ):
            sogclr_tf.training_views(images, batch_size=2, channels=channels, policy=Policy(8))

    def test_gray_can_be_solarized(self):
        images = stored(0, 255, np.uint8, (N, 8, 8, 1))
        policy = Policy(8, jitter=0, grayscale=0, solarize=0.5)
        assert sogclr_tf.training_views(images, batch_size=2, channels=1, policy=policy)
        with pytest.raises(ValueError, match="the policy has solarize, which"):
            sogclr_tf.training_views(images.repeat(2, axis=-1), batch_size=2, policy=policy)

    def test_every_channel_is_changed_as_gray_is(self):
        """Of equal channels each is what a view of one is."""
        gray = stored(0, 255, np.uint8, (N, 12, 12, 1))
        policy = sogclr_tf.data.policies.bands(8)[0]
        one, many = (
            next(
                iter(sogclr_tf.training_views(x, batch_size=N, channels=c, policy=policy).epoch(0))
            )
            for x, c in ((gray, 1), (gray.repeat(5, axis=-1), 5))
        )
        for key in ("view_a", "view_b"):
            np.testing.assert_array_equal(many[key], np.repeat(one[key], 5, axis=-1))
