"""Files that are decoded at a fraction of their size."""

import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.photographs import FILES, blocks, photograph

import sogclr_tf
from sogclr_tf.data import reduced
from sogclr_tf.data.files import decoding
from sogclr_tf.data.reduced import RATIOS

HEIGHT, WIDTH = 427, 640
SCALED = RATIOS[1:]
# Of photographs as they are: an eighth is made of means, a half and a quarter of parts of blocks.
MEAN_LEVELS = {2: 2.0, 4: 2.0, 8: 1.5}

SLOW = pytest.mark.slow(reason="the same of other files")


def some(of, quick):
    """All of them, of which the quick part of the tests takes those in `quick`."""
    return [name if name in quick else pytest.param(name, marks=SLOW) for name in of]


@functools.cache
def _traced():
    specs = [tf.TensorSpec(shape, kind) for shape, kind in (([], tf.string), ([4], tf.int32))]
    return tf.function(
        decoding.decode_reduced, input_signature=[*specs, tf.TensorSpec([], tf.int32)]
    )


def traced(*arguments):
    return _traced()(*arguments)


class TestDecoding:
    @pytest.mark.parametrize("name", some(FILES, ["4:2:0", "gray"]))
    @pytest.mark.parametrize("ratio", SCALED)
    def test_pixels_are_the_means_of_blocks(self, name, ratio):
        found = decoding.decode_reduced(FILES[name], None, ratio)
        want = blocks(decoding.decode(FILES[name]), ratio)
        assert found.pixels.shape == want.shape
        assert found.corner.numpy().tolist() == [0, 0]
        # Not at the last, of which the file holds what lies outside of the image.
        distance = np.abs(found.pixels.numpy() - want)[:-1, :-1]
        assert distance.mean() < MEAN_LEVELS[ratio]

    @pytest.mark.parametrize("name", some(FILES, ["4:2:0", "4:1:1", "with a tail"]))
    @pytest.mark.parametrize(
        ("read", "count"),
        [
            (decoding.decode_reduced, 1),
            pytest.param(traced, 40, marks=pytest.mark.slow(reason="decoding traced")),
        ],
    )
    def test_a_part_is_that_of_the_whole(self, name, read, count):
        rng = np.random.default_rng(0)
        for ratio in SCALED:
            whole = decoding.decode_reduced(FILES[name], None, ratio).pixels.numpy()
            for _ in range(count):
                sides = rng.integers(1, [HEIGHT + 1, WIDTH + 1])
                start = rng.integers(0, np.array([HEIGHT, WIDTH]) - sides + 1)
                box = tf.constant([*start, *sides], tf.int32)
                found = read(FILES[name], box, ratio)
                (top, left), (bottom, right) = start // ratio, -((start + sides) // -ratio)
                np.testing.assert_array_equal(found.pixels, whole[top:bottom, left:right])
                assert found.corner.numpy().tolist() == [top * ratio, left * ratio]
                assert found.ratio == ratio

    @pytest.mark.parametrize("shown", some(range(1, 9), [3, 6]))
    def test_turned(self, shown):
        """As of the image that was turned before: 427 is no multiple of any ratio."""
        file = photograph(shown=shown)
        whole = decoding.decode(file).numpy()
        box = np.array([101, 67, 150, 201], np.int32)
        for ratio in SCALED:
            found = decoding.decode_reduced(file, box, ratio)
            pixels, corner = found.pixels.numpy(), found.corner.numpy()
            assert (corner <= box[:2]).all()
            assert (corner > box[:2] - ratio).all()
            end = corner + ratio * np.array(pixels.shape[:2])
            assert (end >= box[:2] + box[2:]).all()
            want = blocks(whole[corner[0] : end[0], corner[1] : end[1]], ratio)
            assert np.abs(pixels - want).mean() < MEAN_LEVELS[ratio] + 1

    @pytest.mark.parametrize("name", some(["PNG", "WEBP", "BMP", "GIF"], ["PNG"]))
    def test_other_formats_stay_as_they_are(self, name):
        file = io.BytesIO()
        Image.open(io.BytesIO(photograph())).save(file, name)
        found = decoding.decode_reduced(file.getvalue(), [11, 5, 400, 600], 4)
        assert found.ratio == 1
        assert found.corner.numpy().tolist() == [11, 5]
        whole = decoding.decode(file.getvalue())
        np.testing.assert_array_equal(found.pixels, whole[11:411, 5:605])

    def test_one_channel_and_floats(self):
        for channels, deep in ((1, False), (3, True), (1, True)):
            kind = sogclr_tf.PixelFormat(channels, value_range=(0, 255) if deep else None)
            found = decoding.decode_reduced(FILES["4:2:0"], None, 4, pixel_format=kind).pixels
            assert found.shape == (107, 160, channels)
            want = blocks(decoding.decode(FILES["4:2:0"], pixel_format=kind), 4)
            assert np.abs(found.numpy() - want)[:-1, :-1].mean() < 2 / (255 if deep else 1)

    @pytest.mark.parametrize("name", ["4:2:0", "progressive"])
    @pytest.mark.parametrize("kept", [0.999, 0.5])
    @pytest.mark.parametrize("box", [None, [100, 200, 90, 90]])
    def test_truncated(self, name, kept, box):
        file = FILES[name][: min(int(kept * len(FILES[name])), len(FILES[name]) - 2)]
        for ratio in SCALED:
            with pytest.raises(tf.errors.InvalidArgumentError):
                decoding.decode_reduced(file, box, ratio)

    def test_the_limit_is_that_of_the_whole(self):
        with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)image too large"):
            decoding.decode_reduced(FILES["4:2:0"], None, 8, max_pixels=HEIGHT * WIDTH - 1)


class TestRatio:
    @pytest.mark.parametrize(
        ("sides", "sizes", "want"),
        [
            ([(447, 900)], [(224, 224)], 1),
            ([(448, 448)], [(224, 224)], 2),
            ([(895, 1000)], [(224, 224)], 2),
            ([(896, 1792)], [(224, 224)], 4),
            ([(9000, 9000)], [(224, 224)], 8),
            ([(9000, 9000), (448, 448)], [(224, 224), (224, 224)], 2),
            ([(9000, 9000), (448, 448)], [(224, 224), (96, 96)], 4),
            ([(100, 100)], [(224, 224)], 1),
            ([(400, 900)], [(100, 300)], 2),
        ],
    )
    def test_no_view_is_enlarged_by_it(self, sides, sizes, want):
        boxes = tf.constant([[3, 5, *pair] for pair in sides])
        assert reduced.ratio(tf.constant([9010, 9010]), boxes, sizes) == want
        # A small image is decoded sooner as it is.
        assert reduced.ratio(tf.constant([999, 1000]), boxes, sizes) == 1
