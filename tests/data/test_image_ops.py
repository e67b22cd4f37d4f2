"""The operations of tensorflow-addons: its own numbers, in every form that images come in."""

import colorsys

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from support.numerics import assert_close

from sogclr_tf.data.image_ops import adjust_hsv_in_yiq, gaussian_filter2d


def floats(*shape):
    return np.random.default_rng(0).random(shape, dtype=np.float32)


OPERATIONS = {
    "hsv": lambda images: adjust_hsv_in_yiq(images, 0.7, 1.3, 0.9),
    "blur": lambda images: gaussian_filter2d(images, (5, 3), (1.5, 0.6)),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
class TestBoth:
    def test_one_image_equals_its_place_in_a_batch(self, operation):
        images = floats(3, 9, 8, 3)
        together = operation(images).numpy()
        assert together.shape == images.shape
        for image, want in zip(images, together, strict=True):
            assert_close(operation(image), want, terms=4)

    def test_a_pipeline_of_images_of_unknown_size(self, operation):
        pictures = [floats(9 + k, 8, 3) for k in range(3)]
        data = tf.data.Dataset.from_generator(
            lambda: iter(pictures), output_signature=tf.TensorSpec([None, None, 3])
        )
        for picture, got in zip(pictures, data.map(operation), strict=True):
            assert_close(got, operation(picture), terms=4)

    def test_uint8_is_rounded_and_clipped(self, operation):
        images = np.random.default_rng(0).choice([0, 255], (2, 9, 8, 3)).astype(np.uint8)
        got = operation(images)
        assert got.dtype == tf.uint8
        exact = operation(images.astype(np.float32)).numpy()
        assert (np.abs(got.numpy() - np.clip(exact, 0, 255)) <= 0.5 + 1e-3).all()

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_other_floats_keep_their_dtype(self, operation, dtype):
        images = floats(1, 9, 8, 3)
        got = operation(images.astype(dtype))
        assert got.dtype == dtype
        assert_close(got, operation(images), terms=1, dtype="float16")

    def test_gradients_flow(self, operation):
        images = tf.constant(floats(2, 9, 8, 3))
        with tf.GradientTape() as tape:
            tape.watch(images)
            total = tf.reduce_sum(operation(images))
        assert np.isfinite(tape.gradient(total, images)).all()

    @pytest.mark.parametrize("wrong", [(8, 8), (8,), (1, 2, 8, 8, 3)])
    def test_wrong_shapes_are_told(self, operation, wrong):
        with pytest.raises(ValueError, match=r"images have shape \(.*\): expected \[H, W, "):
            operation(np.zeros(wrong, np.float32))

    def test_wrong_dtype_is_told(self, operation):
        with pytest.raises(ValueError, match="images are of int32: expected floats or uint8"):
            operation(np.zeros((8, 8, 3), np.int32))


class TestHsv:
    @pytest.mark.parametrize("case", range(4))
    def test_equals_tensorflow_addons(self, golden, case):
        want = golden("tensorflow_addons")
        got = adjust_hsv_in_yiq(want["images"], *want["hsv_params"][case])
        assert_close(got, want["hsv"][case], terms=4)

    def test_numbers_per_image(self, golden):
        want = golden("tensorflow_addons")
        got = adjust_hsv_in_yiq(want["images"], *want["hsv_params"].T)
        for place in range(4):
            assert_close(got[place], want["hsv"][place, place], terms=4)

    def test_one_of_the_numbers_per_image(self):
        images = floats(2, 4, 4, 3)
        got = adjust_hsv_in_yiq(images, scale_value=[1.0, 0.5])
        assert_close(got, images * np.reshape([1, 0.5], [2, 1, 1, 1]), terms=4)

    def test_without_saturation_all_channels_are_the_brightness(self):
        images = floats(4, 4, 3)
        got = adjust_hsv_in_yiq(images, scale_saturation=0.0).numpy()
        luma = images @ np.array([0.299, 0.587, 0.114])
        assert_close(got, np.repeat(luma[..., np.newaxis], 3, axis=-1), terms=4)

    def test_turns_undo_each_other_and_keep_brightness(self):
        images = floats(4, 4, 3)
        turned = adjust_hsv_in_yiq(images, 0.8)
        weights = np.array([0.299, 0.587, 0.114])
        assert_close(turned.numpy() @ weights, images @ weights, terms=4)
        assert_close(adjust_hsv_in_yiq(turned, -0.8), images)

    def test_the_direction_of_a_turn(self):
        """Red goes by way of magenta: down the circle of HSV, from 1 toward 2/3."""
        hues = [
            colorsys.rgb_to_hsv(*np.clip(adjust_hsv_in_yiq([[[0.6, 0.2, 0.2]]], turn)[0, 0], 0, 1))[
                0
            ]
            for turn in (0.3, 0.6, 0.9)
        ]
        assert 1 > hues[0] > hues[1] > hues[2] > 2 / 3

    def test_wrong_channels_are_told(self):
        with pytest.raises(ValueError, match=r"shape \(4, 4, 4\): expected \[H, W, 3\] or"):
            adjust_hsv_in_yiq(floats(4, 4, 4))


class TestBlur:
    @pytest.mark.parametrize("case", range(4))
    def test_equals_tensorflow_addons(self, golden, case):
        want = golden("tensorflow_addons")
        got = gaussian_filter2d(
            want["images"], want["blur_filter"].tolist(), want["blur_sigma"][case], "REFLECT"
        )
        assert_close(got, want["blur"][case], terms=4)

    @pytest.mark.parametrize(
        ("padding", "mode"),
        [("REFLECT", "mirror"), ("SYMMETRIC", "reflect"), ("CONSTANT", "constant")],
    )
    def test_equals_scipy(self, padding, mode):
        image = floats(11, 9, 2)
        got = gaussian_filter2d(image, (7, 3), (2.0, 0.8), padding, constant_values=0.3)
        want = scipy.ndimage.gaussian_filter(
            image.astype(np.float64), (2, 0.8, 0), mode=mode, cval=0.3, radius=(3, 1, 0)
        )
        assert_close(got, want)

    def test_window_of_even_length_reaches_further_down_and_right(self):
        image = np.zeros((7, 7, 1), np.float32)
        image[3, 3] = 1
        got = gaussian_filter2d(image, 4, 1e3).numpy()[..., 0]
        want = np.zeros((7, 7))
        # A pixel sees what lies below it, so the point shows up above.
        want[1:5, 1:5] = 1 / 16
        assert_close(got, want, terms=16)

    def test_one_pixel_changes_nothing(self):
        image = floats(3, 4, 3)
        assert_close(gaussian_filter2d(image, 1), image, terms=4)

    def test_sigma_may_be_drawn_in_the_pipeline(self):
        image = floats(6, 6, 3)
        blur = tf.function(lambda sigma: gaussian_filter2d(image, 3, sigma))
        for sigma in (0.4, 2.0):
            want = gaussian_filter2d(image, 3, sigma)
            assert_close(blur(tf.constant(sigma)), want, terms=4)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"padding": "reflect"}, "padding is 'reflect': choose one of REFLECT, CONSTANT"),
            ({"filter_shape": 0}, "filter_shape is 0: expected whole numbers >= 1"),
            ({"filter_shape": (3, 2.5)}, r"filter_shape is \(3, 2.5\): expected whole"),
            ({"filter_shape": (3, 3, 3)}, r"filter_shape is \(3, 3, 3\): expected one number or a"),
            ({"sigma": 0}, "sigma is 0: a width in pixels is > 0"),
            ({"sigma": (1, -1.0)}, r"sigma is \(1, -1.0\): a width"),
            ({"sigma": float("nan")}, "sigma is nan: a width"),
            ({"filter_shape": 8}, "filter_shape is 8 along a side of 4: .* at most 7"),
            ({"filter_shape": 10, "padding": "SYMMETRIC"}, "is 10 along a side of 4: .* at most 9"),
        ],
    )
    def test_wrong_arguments_are_told(self, options, message):
        with pytest.raises(ValueError, match=message):
            gaussian_filter2d(floats(4, 4, 3), **options)

    @pytest.mark.parametrize(("padding", "widest"), [("REFLECT", 7), ("SYMMETRIC", 9)])
    def test_the_widest_window(self, padding, widest):
        got = gaussian_filter2d(floats(4, 4, 3), widest, 2.0, padding)
        assert got.shape == (4, 4, 3)
