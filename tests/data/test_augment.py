"""Views: reproducible to the bit, drawn as the policy says, cropped and flipped."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf
from support.drawn_views import COUNT, rows_with
from support.numerics import assert_close

from sogclr_tf import Policy
from sogclr_tf.data import augment, policies, randomness
from sogclr_tf.data.randomness import _DRAWS, draws, seeds

EVERYTHING = Policy(size=24, jitter=0.9, grayscale=0.4, blur=0.5, solarize=0.4)


def images(count, height=20, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def boxes(height, width, rows, policy):
    """(top, left, height, width) of every row's crop: int [n, 4]."""
    return augment.crop_boxes(np.tile([height, width], (len(rows), 1)), rows, policy).numpy()


class TestReproducible:
    @pytest.mark.slow(reason="every stage is traced for many shapes")
    @pytest.mark.parametrize("side", [24, 96])
    def test_neither_the_batch_nor_the_threads_matter(self, side):
        """Each view equals that of its image alone, to the bit."""
        pictures = images(37, side + 6, side + 20)
        rows = draws(3, tf.ones([37], tf.int64), tf.range(37, dtype=tf.int64))[:, 0]
        policy = dataclasses.replace(EVERYTHING, size=side)

        def together(pictures, rows):
            shapes = tf.repeat([pictures.shape[1:3]], len(pictures), axis=0)
            shown = zip(pictures, tf.unstack(augment.crop_boxes(shapes, rows, policy)), strict=True)
            return augment.views([augment.part(*pair) for pair in shown], rows, policy)

        alone = [augment.view(*pair, policy) for pair in zip(pictures, rows, strict=True)]
        backwards = together(pictures[::-1], rows[::-1])
        np.testing.assert_array_equal(together(pictures, rows), alone)
        np.testing.assert_array_equal(backwards[::-1], alone)
        pairs = tf.data.Dataset.from_tensor_slices((pictures, rows))
        mapped = pairs.map(lambda image, row: augment.view(image, row, policy), 4)
        np.testing.assert_array_equal(list(mapped.as_numpy_iterator()), alone)

    def test_draws_of_many_are_those_of_each(self):
        epochs, index = np.array([0, 3, 3, 2**31 - 1]), np.array([5, 5, 2**31 - 1, 0])
        drawn = draws(7, epochs, index)
        for place, (epoch, one) in enumerate(zip(epochs, index, strict=True)):
            np.testing.assert_array_equal(drawn[place], draws(7, epoch, one))

    def test_draws_are_those_of_splitmix64(self):
        """A second writing of the generator, by whole numbers of Python."""
        mask, step = 2**64 - 1, 0x9E3779B97F4A7C15

        def mixed(state):
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                state = (state ^ (state >> shift)) * factor & mask
            return state ^ (state >> 31)

        # The first numbers of the generator started at 0, as published.
        assert [mixed(step * k & mask) for k in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
        state = 0
        for key in (7, 3, 5):
            state = mixed(state + step + key & mask)
        want = [mixed(state + k * step & mask) >> 40 for k in range(1, 2 * _DRAWS + 1)]
        got = draws(7, 3, 5).numpy() * 2**24
        np.testing.assert_array_equal(got.ravel(), want)

    def test_draws_depend_on_every_argument_and_the_view(self):
        base = draws(1, 2, 3).numpy()
        assert base.shape == (2, _DRAWS)
        assert base.dtype == np.float32
        assert base.min() >= 0
        assert base.max() < 1
        np.testing.assert_array_equal(draws(1, 2, 3), base)
        keys = [(2, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3)]
        others = [draws(*key).numpy()[0] for key in keys]
        for one, other in itertools.combinations([*base, *others], 2):
            assert (one != other).mean() > 0.9

    def test_draws_take_the_largest_arguments(self):
        last = 2**31 - 1
        drawn = [draws(*key).numpy() for key in [(last, 0, 0), (0, last, 0), (0, 0, last)]]
        for one, other in itertools.combinations(drawn, 2):
            assert (one != other).mean() > 0.9

    def test_global_seed_and_earlier_draws_do_not_matter(self):
        base = draws(1, 2, 3).numpy()
        tf.random.set_seed(9)
        tf.random.uniform([5])
        np.testing.assert_array_equal(draws(1, 2, 3), base)

    def test_seeds_depend_on_every_argument_and_the_view(self):
        keys = [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3), (2**31 - 1,) * 3]
        found = [seeds(*key).numpy() for key in keys]
        assert {(made.shape, made.dtype) for made in found} == {((2, 2), np.dtype(np.int64))}
        np.testing.assert_array_equal(seeds(1, 2, 3), found[0])
        # No half repeats, so that what reads one half alone varies too.
        assert len(np.unique(found)) == 4 * len(keys)

    def test_draws_are_uniform(self, many_rows):
        """Over examples, each column is uniform and no two columns are correlated."""
        error = 1 / np.sqrt(12 * COUNT)
        assert np.abs(many_rows.mean(axis=0) - 0.5).max() < 5 * error
        correlation = np.corrcoef(many_rows.T) - np.eye(_DRAWS)
        assert np.abs(correlation).max() < 5 / np.sqrt(COUNT)


class TestCrop:
    def test_area_is_uniform_over_the_policy(self, many_rows):
        top, left, height, width = boxes(200, 200, many_rows, Policy(size=8, max_aspect=1)).T
        share = height * width / 200**2
        # Sides are whole pixels.
        assert 0.078 < share.min() < 0.09
        assert 0.99 < share.max() <= 1
        assert share.mean() == pytest.approx(0.54, abs=4 * 0.92 / np.sqrt(12 * COUNT))
        assert share.std() == pytest.approx(0.92 / np.sqrt(12), rel=0.05)
        assert (height == width).all()
        for start, side in ((top, height), (left, width)):
            assert (start >= 0).all()
            assert (start + side <= 200).all()

    def test_aspect_is_log_uniform_over_the_policy(self, many_rows):
        """A quarter of the area at most: every aspect up to 2 fits."""
        rows = many_rows.copy()
        rows[:, randomness.GEOMETRY["area"]] *= 0.2
        _, _, height, width = boxes(400, 400, rows, Policy(size=8, max_aspect=2)).T
        log_aspect = np.log2(width / height)
        assert -1.03 < log_aspect.min() < -0.97
        assert 0.97 < log_aspect.max() < 1.03
        assert log_aspect.mean() == pytest.approx(0, abs=4 * 2 / np.sqrt(12 * COUNT))
        assert log_aspect.std() == pytest.approx(2 / np.sqrt(12), rel=0.05)

    @pytest.mark.parametrize("size", [(8, 24), (21, 7)])
    def test_aspect_is_relative_to_that_of_the_view(self, many_rows, size):
        """A tenth of the area at most: every aspect from 1.5 to 6 fits, and its inverse."""
        rows = many_rows.copy()
        rows[:, randomness.GEOMETRY["area"]] *= 0.02
        _, _, height, width = boxes(600, 600, rows, Policy(size=size, max_aspect=2)).T
        relative = np.log2(width / height * size[0] / size[1])
        assert -1.05 < relative.min() < -0.95
        assert 0.95 < relative.max() < 1.05
        assert relative.mean() == pytest.approx(0, abs=4 * 2 / np.sqrt(12 * COUNT))
        assert relative.std() == pytest.approx(2 / np.sqrt(12), rel=0.05)

    def test_place_is_uniform(self, many_rows):
        """Every place at which the crop fits, the first and the last too."""
        rows = many_rows.copy()
        rows[:, randomness.GEOMETRY["area"]] = 0
        policy = Policy(size=8, min_area=0.25, max_aspect=1)
        top, left, height, width = boxes(10, 10, rows, policy).T
        assert (height == 5).all()
        assert (width == 5).all()
        for start in (top, left):
            counts = np.bincount(start, minlength=6)
            assert counts.shape == (6,)
            expected = COUNT / 6
            assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()

    def test_first_attempt_that_fits_is_taken(self):
        """Widths of 12, 12 and 6 pixels in an image of 10: the third."""
        rows = rows_with()
        rows[0, randomness.GEOMETRY["area"]] = 0.5
        rows[0, randomness.GEOMETRY["aspect"]] = [1, 1, 0.5] + [1] * 13
        policy = Policy(size=8, min_area=1e-9, max_aspect=4)
        assert boxes(10, 10, rows, policy).tolist() == [[0, 0, 7, 7]]

    def test_no_fit_is_cut(self):
        rows = rows_with(area=0.9, aspect=1.0)
        policy = Policy(size=8, min_area=1e-9, max_aspect=4)
        assert boxes(10, 10, rows, policy).tolist() == [[0, 0, 5, 10]]

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (7, 3), (2, 300)])
    def test_stays_inside_any_image(self, many_rows, height, width):
        box = boxes(height, width, many_rows[:200], Policy(size=4))
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] >= 1).all()
        assert (box[:, 0] + box[:, 2] <= height).all()
        assert (box[:, 1] + box[:, 3] <= width).all()
        view = augment.view(images(1, height, width)[0], many_rows[0], Policy(size=4, blur=1))
        assert view.shape == (4, 4, 3)

    @pytest.mark.parametrize("size", [(13, 13), (13, 40)])
    def test_whole_image_of_the_proportions_when_cropping_is_off(self, many_rows, size):
        policy = Policy(size=size, min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)
        image = images(1, *size)[0]
        for row in many_rows[:5]:
            np.testing.assert_array_equal(augment.view(image, row, policy), image)

    def test_the_box_is_what_is_resized(self, many_rows):
        image = images(1, 40, 30)[0]
        policy = Policy(size=8, flip=0, jitter=0, grayscale=0)
        for row, (top, left, height, width) in zip(
            many_rows[:5], boxes(40, 30, many_rows[:5], policy), strict=True
        ):
            crop = image[top : top + height, left : left + width] / np.float32(255)
            want = np.clip(tf.image.resize(crop, [8, 8], method="bicubic"), 0, 1)
            # To the nearest of 256 steps.
            got = augment.view(image, row, policy) / np.float32(255)
            np.testing.assert_allclose(got, want, atol=0.5 / 255 + 1e-6)


class TestFlip:
    def test_rate(self, many_rows):
        flips = self._flipped(many_rows, 0.3)
        assert flips.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / COUNT))
        assert not self._flipped(many_rows[:50], 0).any()
        assert self._flipped(many_rows[:50], 1).all()

    def _flipped(self, rows, probability):
        image = np.zeros((2, 2, 3), np.float32)
        image[:, 0] = 1
        policy = Policy(size=2, flip=probability, jitter=0, grayscale=0)
        return augment.finish(np.stack([image] * len(rows)), rows, policy).numpy()[:, 0, 1, 0] > 0.5


class TestWhole:
    def test_middle_square(self):
        image = images(1, 10, 16)[0]
        want = image[:, 3:13] / 255
        assert_close(augment.whole(image, 10), want, terms=4)
        assert_close(augment.whole(image.transpose(1, 0, 2), 10), want.transpose(1, 0, 2), terms=4)

    @pytest.mark.parametrize("side", [24, 39, 40, 90])
    def test_large_images_give_the_same_numbers(self, side):
        """These are resized as bytes, of which few are read."""
        image = images(1, side, side)[0]
        got = augment.whole(tf.constant(image), 8)
        want = tf.image.resize(tf.cast(image, tf.float32), [8, 8], method="bicubic")
        np.testing.assert_array_equal(got, tf.clip_by_value(want / 255.0, 0, 1))

    def test_as_float(self):
        assert_close(augment.as_float(tf.constant([0, 51, 255], tf.uint8)), [0, 0.2, 1], terms=4)
        same = augment.as_float(tf.constant([0.25, 1], tf.float64))
        assert same.dtype == tf.float32
        np.testing.assert_array_equal(same, [0.25, 1])


class TestPolicy:
    @pytest.mark.parametrize("size", [0, -3, 2.5])
    def test_size(self, size):
        with pytest.raises(ValueError, match=f"size is {size}: .* whole number of pixels"):
            Policy(size=size)

    def test_size_of_numpy(self):
        assert Policy(size=np.int64(8)) == Policy(size=8)
        assert hash(Policy(size=np.array([8, 9]))) == hash(Policy(size=(8, 9)))

    def test_height_and_width(self):
        assert Policy(size=8).image_size == (8, 8)
        assert Policy(size=[8, 9]).image_size == Policy(size=(8, 9)).size == (8, 9)
        assert policies.by_name("byol", (8, 9))[1].image_size == (8, 9)

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, float("nan")])
    def test_area(self, wrong):
        with pytest.raises(ValueError, match=rf"min_area is {wrong}: it must lie in \(0, 1\]"):
            Policy(size=8, min_area=wrong)

    @pytest.mark.parametrize("wrong", [0.9, float("nan"), float("inf")])
    def test_aspect(self, wrong):
        with pytest.raises(ValueError, match=f"max_aspect is {wrong}: it must be a number >= 1"):
            Policy(size=8, max_aspect=wrong)

    @pytest.mark.parametrize("name", ["strength", "saturation"])
    @pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
    def test_strengths(self, name, wrong):
        with pytest.raises(ValueError, match=f"{name} is {wrong}: it must be a number >= 0"):
            Policy(size=8, **{name: wrong})

    @pytest.mark.parametrize("name", ["flip", "jitter", "grayscale", "blur", "solarize"])
    @pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
    def test_probabilities(self, name, wrong):
        with pytest.raises(ValueError, match=rf"{name} is {wrong}: a probability is in \[0, 1\]"):
            Policy(size=8, **{name: wrong})
