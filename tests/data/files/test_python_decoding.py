"""TIFF and .npy files in a pipeline, beside files that TensorFlow decodes."""

import re

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from support.files import write_folder
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import FolderSource, PixelFormat
from sogclr_tf.data.files import decoding, python_decoding
from sogclr_tf.data.policies import bands
from sogclr_tf.data.sources.readable import clear_errors, readable

AGAIN = pytest.mark.slow(reason="the same of another file, traced anew")

N = 6


def stored(dtype, channels, high=None, low=0):
    random = np.random.default_rng(channels)
    high = np.iinfo(dtype).max if high is None else high
    return random.uniform(low, high, (N, 20, 24, channels)).astype(dtype)


def write(folder, images, suffix=".tif", first=0, **options):
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images, first):
        path = folder / f"{number:02}{suffix}"
        if suffix == ".npy":
            np.save(path, image)
        else:
            tifffile.imwrite(
                path, image, photometric="minisblack", planarconfig="contig", **options
            )
    return folder


def pixels(source):
    return np.stack(list(source.images_and_labels()[0].as_numpy_iterator()))


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
class TestValues:
    def test_bytes_stay_bytes(self, tmp_path, suffix):
        images = stored(np.uint8, 4)
        source = FolderSource(write(tmp_path, images, suffix))
        assert source.pixel_format == PixelFormat(4)
        np.testing.assert_array_equal(pixels(source), images)

    @pytest.mark.parametrize(
        ("dtype", "low", "high", "stated"),
        [
            (np.uint16, 0, 65_535, None),
            (np.uint16, 0, 4_095, (0, 4_095)),
            (np.int16, -1_000, 3_000, (-1_024, 3_071)),
            (np.float32, 0, 1, None),
            (np.float32, -30, 5, (-30, 5)),
        ],
    )
    def test_all_levels(self, tmp_path, suffix, dtype, low, high, stated):
        images = stored(dtype, 13, high, low)
        source = FolderSource(write(tmp_path, images, suffix), value_range=stated)
        black, white = stated or (0, 1 if dtype == np.float32 else 65_535)
        expected = (images.astype(np.float64) - black) / (white - black)
        assert_close(pixels(source), expected, terms=4)

    def test_gray_is_repeated_unless_1_was_stated(self, tmp_path, suffix):
        images = stored(np.uint8, 1)
        write(tmp_path, images[..., 0], suffix)
        np.testing.assert_array_equal(pixels(FolderSource(tmp_path)), images.repeat(3, axis=-1))
        np.testing.assert_array_equal(pixels(FolderSource(tmp_path, channels=1)), images)


class TestPipeline:
    def test_a_crop_is_a_part(self, tmp_path):
        images = stored(np.uint16, 5)
        source = FolderSource(write(tmp_path, images, tile=(16, 16), compression="zlib"))
        box = tf.constant([3, 2, 15, 20])

        def crop(example):
            return source.crop(source.read(example["image"]), box)

        got = np.stack(list(source.examples().map(crop).as_numpy_iterator()))
        np.testing.assert_array_equal(got, pixels(source)[:, 3:18, 2:22])
        data = (tmp_path / "00.tif").read_bytes()
        np.testing.assert_array_equal(source.crop(tf.constant(data), box), got[0])
        assert source.shape(tf.constant(data)).numpy().tolist() == [20, 24]

    @pytest.mark.slow(reason="both kinds of decoding traced")
    def test_beside_files_of_tensorflow(self, tmp_path):
        images = stored(np.uint8, 3)
        write(tmp_path, images[:3], compression="lzw")
        write_folder(tmp_path / "more", images[3:])
        source = FolderSource(tmp_path)
        np.testing.assert_array_equal(pixels(source), images)
        views = sogclr_tf.training_views(source, batch_size=3, policy=sogclr_tf.Policy(8))
        assert next(iter(views.epoch(0)))["view_a"].dtype == tf.uint8

    @pytest.mark.slow(reason="views traced twice")
    def test_views_are_those_of_an_array(self, tmp_path):
        images = stored(np.uint16, 13)
        arrays = sogclr_tf.training_views(images, batch_size=3, policy=bands(8)[0])
        files = sogclr_tf.training_views(write(tmp_path, images), batch_size=3, policy=bands(8)[0])
        for one, other in zip(arrays.epoch(1), files.epoch(1), strict=True):
            for key in ("index", "view_a", "view_b"):
                np.testing.assert_array_equal(one[key], other[key])

    def test_a_service_cannot(self, tmp_path):
        source = FolderSource(write(tmp_path, stored(np.uint8, 3)))
        with pytest.raises(
            ValueError, match="holds TIFF, .npy, AVIF or HEIC files, which the work"
        ):
            sogclr_tf.data.data_service.check_source(source)


class TestRefusals:
    """Of the first files before a training, of any other by its name when it comes."""

    @pytest.mark.parametrize(
        ("images", "options", "message"),
        [
            (stored(np.uint16, 2, 4_000), {}, r"no value above \d+: .*value_range=\(0, 4095\)"),
            (stored(np.int16, 2), {}, "are int16, of which no range is usual"),
            (stored(np.uint8, 13), {"channels": 3}, "have 13 channels: expected 3; state how many"),
            (stored(np.uint8, 3), {"channels": 1}, "have 3 channels: expected 1; state how many"),
        ],
    )
    def test_the_first(self, tmp_path, images, options, message):
        with pytest.raises(ValueError, match=message):
            sogclr_tf.training_views(
                write(tmp_path, images), batch_size=2, policy=bands(8)[0], **options
            )

    def test_channels_that_stand_first(self, tmp_path):
        write(tmp_path, stored(np.uint8, 13).transpose(0, 3, 1, 2), ".npy")
        with pytest.raises(
            ValueError, match="which is 13 rows, 20 columns and 24 channels: expected"
        ):
            pixels(FolderSource(tmp_path))

    @pytest.mark.parametrize(
        ("odd", "stated", "message"),
        [
            (stored(np.uint8, 4), None, "it has 4 channels: expected 3"),
            pytest.param(
                *(stored(np.uint16, 3), None),
                "it is uint16 among images of 8 bits: state value_range",
                marks=AGAIN,
            ),
            pytest.param(
                *(stored(np.uint16, 3), (0, 255), r"value \d+, but value_range is \(0, 255\)"),
                marks=AGAIN,
            ),
            pytest.param(
                *(stored(np.uint8, 3), (0, 4_095)),
                r"an image of 8 bits, but value_range is \(0\.0, 409",
                marks=AGAIN,
            ),
        ],
    )
    def test_any_other(self, tmp_path, odd, stated, message):
        """Beyond those that are looked at beforehand."""
        usual = stored(np.uint16 if stated == (0, 4_095) else np.uint8, 3, 255)
        write(tmp_path, [*usual, *usual])
        write(tmp_path, odd[:1], first=77)
        source = FolderSource(tmp_path, value_range=stated)
        with pytest.raises(ValueError, match=message) as caught, clear_errors(source):
            pixels(source)
        assert "77" in str(caught.value) or "example 12" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_damaged_ones_are_left_out_with_the_reason(self, tmp_path):
        write(tmp_path, stored(np.uint8, 13), compression="zlib")
        whole = (tmp_path / "02.tif").read_bytes()
        (tmp_path / "02.tif").write_bytes(whole[: len(whole) // 2])
        kept = readable(FolderSource(tmp_path))
        assert kept.skipped == {2: "its TIFF data is damaged or cut short"}
        assert len(pixels(kept)) == N - 1

    def test_outside_of_a_pipeline(self):
        for wrong in (b"", b"text", b"II*\0" + bytes(9)):
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                python_decoding.decode(tf.constant(wrong), decoding.MAX_PIXELS, PixelFormat(13))
            assert re.search("unreadable image: |no image", str(caught.value))
