"""Operations on colors, each by its definition."""

import colorsys
import dataclasses
import itertools

import numpy as np
import pytest
import scipy.ndimage
from support.drawn_views import COUNT, floats, rows_with
from support.numerics import assert_close

from sogclr_tf import Policy
from sogclr_tf.data import augment, policies, randomness


def color(pictures, rows, policy):
    """What a policy does after the flip."""
    return augment.finish(pictures, rows, dataclasses.replace(policy, flip=0)).numpy()


def contrast(image, factor):
    mean = image.mean(axis=(0, 1))
    return np.clip(mean + factor * (image - mean), 0, 1)


def by_pixel(image, change):
    flat = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*p))) for p in image.reshape(-1, 3)]
    return np.reshape(flat, image.shape)


def saturation(image, factor):
    return by_pixel(image, lambda h, s, v: (h, min(1, s * factor), v))


def hue(image, turn):
    return by_pixel(image, lambda h, s, v: ((h + turn) % 1, s, v))


REFERENCE = {
    "brightness": lambda image, factor: np.clip(image * factor, 0, 1),
    "contrast": contrast,
    "saturation": saturation,
    "hue": hue,
}
NEUTRAL = dict.fromkeys(REFERENCE, 0.5)


def blurred(image, sigma, radius):
    return scipy.ndimage.gaussian_filter(
        image.astype(np.float64), (sigma, sigma, 0), mode="mirror", radius=(radius,) * 3
    )


class TestJitter:
    @pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize("draw", [0.0, 0.3, 0.999])
    @pytest.mark.parametrize("name", REFERENCE)
    def test_each_operation_alone(self, name, draw, strength):
        """From the least to the greatest amount; the other three draw their neutral middle."""
        rows = rows_with(2, **{**NEUTRAL, name: draw})
        policy = Policy(size=6, jitter=1, strength=strength, grayscale=0)
        pictures = floats(2)
        got = color(pictures, rows, policy)
        if name == "hue":
            amount = 0.2 * strength * (2 * draw - 1)
        else:
            amount = max(0, 1 + 0.8 * strength * (2 * draw - 1))
        for picture, result in zip(pictures, got, strict=True):
            assert_close(result, REFERENCE[name](picture, amount))

    @pytest.mark.parametrize("draw", [0.0, 0.3, 0.999])
    def test_saturation_has_a_reach_of_its_own(self, draw):
        """BYOL's: within 1 +- 0.2, where brightness and contrast stay within 1 +- 0.4."""
        rows = rows_with(1, **{**NEUTRAL, "saturation": draw, "brightness": 0.0})
        # Neither runs into its borders, so that their order does not matter.
        picture = 0.1 + floats(1) / 2
        policy = Policy(size=6, jitter=1, strength=0.5, saturation=0.4, grayscale=0)
        got = color(picture, rows, policy)[0]
        want = 0.6 * saturation(picture[0], 1 + 0.2 * (2 * draw - 1))
        assert_close(got, want)

    def test_all_orders_occur_and_matter(self, many_rows):
        """24 permutations, each as often as another, each applied in its order."""
        draw = {"brightness": 0.9, "contrast": 0.1, "saturation": 0.95, "hue": 0.9}
        amounts = {name: 1 + 0.8 * (2 * draw[name] - 1) for name in draw}
        amounts["hue"] = 0.2 * (2 * draw["hue"] - 1)
        permutations = list(itertools.permutations(range(4)))
        rows = rows_with(24, **draw)
        for row, permutation in zip(rows, permutations, strict=True):
            row[randomness.COLOR["order"]][list(permutation)] = [0.1, 0.2, 0.3, 0.4]
        pictures = np.repeat(floats(1), 24, axis=0)
        got = color(pictures, rows, Policy(size=6, jitter=1, grayscale=0))
        for result, permutation in zip(got, permutations, strict=True):
            want = pictures[0]
            for name in (list(REFERENCE)[place] for place in permutation):
                want = REFERENCE[name](want, amounts[name])
            assert_close(result, want)
        assert len({result.round(3).tobytes() for result in got}) > 6

        drawn = np.argsort(many_rows[:, randomness.COLOR["order"]], axis=1)
        _, counts = np.unique(drawn, axis=0, return_counts=True)
        assert len(counts) == 24
        assert (np.abs(counts - COUNT / 24) < 5 * np.sqrt(COUNT / 24)).all()

    def test_rate(self, many_rows):
        pictures = np.repeat(floats(1, 2, 2), COUNT, axis=0)
        got = color(pictures, many_rows, Policy(size=2, jitter=0.8, grayscale=0))
        changed = (got != pictures).any(axis=(1, 2, 3))
        assert changed.mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / COUNT))


class TestOtherColors:
    def test_gray_is_luma_at_its_rate(self, many_rows):
        pictures = floats(COUNT, 2, 2)
        got = color(pictures, many_rows, Policy(size=2, jitter=0, grayscale=0.2))
        gray = (got == got[..., :1]).all(axis=(1, 2, 3))
        assert gray.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / COUNT))
        luma = pictures @ np.array([0.2989, 0.587, 0.114])
        assert_close(got[gray][..., 0], luma[gray], terms=4)
        np.testing.assert_array_equal(got[~gray], pictures[~gray])

    def test_solarize_inverts_the_bright_at_its_rate(self, many_rows):
        pictures = floats(COUNT, 2, 2)
        pictures[:, 0, 0, 0] = 0.5
        policy = Policy(size=2, jitter=0, grayscale=0, solarize=0.2)
        got = color(pictures, many_rows, policy)
        inverted = np.where(pictures < 0.5, pictures, 1 - pictures)
        changed = (got != pictures).any(axis=(1, 2, 3))
        assert changed.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / COUNT))
        np.testing.assert_array_equal(got[changed], inverted[changed])

    def test_blur_draws_its_sigma_at_its_rate(self, many_rows):
        pictures = floats(COUNT, 6, 6)
        policy = Policy(size=6, jitter=0, grayscale=0, blur=0.5)
        got = color(pictures, many_rows, policy)
        chosen = many_rows[:, randomness.COLOR["blur"]] < 0.5
        assert chosen.mean() == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / COUNT))
        np.testing.assert_array_equal(got[~chosen], pictures[~chosen])
        sigma = 0.1 + 1.9 * many_rows[:, randomness.COLOR["sigma"]]
        for place in np.flatnonzero(chosen)[:20]:
            want = blurred(pictures[place], sigma[place], radius=1)
            assert_close(got[place], want)

    def test_a_probability_of_one_always_applies(self, many_rows):
        pictures = floats(50, 6, 6)
        for name in ("jitter", "grayscale", "blur", "solarize"):
            policy = Policy(size=6, **{"jitter": 0, "grayscale": 0, name: 1})
            got = color(pictures, many_rows[:50], policy)
            # The least blur, of sigma 0.1, changes nothing.
            assert (got != pictures).any(axis=(1, 2, 3)).mean() > 0.9

    def test_a_probability_of_zero_changes_no_bit(self, many_rows):
        pictures = floats(50, 6, 6)
        for off in ({"jitter": 0}, {"strength": 0}):
            policy = Policy(size=6, grayscale=0, **off)
            got = color(pictures, many_rows[:50], policy)
            np.testing.assert_array_equal(got, pictures)

    @pytest.mark.parametrize("extreme", [0.0, 1.0])
    def test_values_stay_in_range(self, many_rows, extreme):
        policy = Policy(size=24, strength=2, blur=0.9, solarize=0.5)
        pictures = np.random.default_rng(0).choice([extreme, 0.5], (100, 24, 24, 3), p=[0.9, 0.1])
        for picture in (pictures, np.full_like(pictures, extreme)):
            got = color(picture.astype(np.float32), many_rows[:100], policy)
            assert got.min() >= 0
            assert got.max() <= 1

    def test_bicubic_overshoot_is_cut(self, many_rows):
        image = np.random.default_rng(0).choice([0, 255], (9, 9, 3)).astype(np.uint8)
        for row in many_rows[:5]:
            view = augment.view(image, row, Policy(size=32, jitter=0, grayscale=0)).numpy()
            assert view.min() == 0
            assert view.max() == 255


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.parametrize("name", policies._NAMES)
class TestPublished:
    """What views of a published method show, against what its paper says."""

    RATES = {
        "simclr": {"jitter": [0.8, 0.8], "grayscale": [0.2, 0.2], "blur": [0.5, 0.5]},
        "simclr-cifar": {"jitter": [0.8, 0.8], "grayscale": [0.2, 0.2]},
        "byol": {
            "jitter": [0.8, 0.8],
            "grayscale": [0.2, 0.2],
            "blur": [1.0, 0.1],
            "solarize": [0.0, 0.2],
        },
        "bands": {"jitter": [0.8, 0.8]},
    }
    # Brightness is scaled within 1 +- it.
    REACH = {"simclr": 0.8, "simclr-cifar": 0.4, "byol": 0.4, "bands": 0.8}

    @pytest.mark.parametrize("operation", ["jitter", "grayscale", "blur", "solarize"])
    def test_rates(self, name, view, operation, many_rows):
        off = dict.fromkeys({"jitter", "grayscale", "blur", "solarize"} - {operation}, 0)
        policy = dataclasses.replace(policies.by_name(name, 3)[view], **off)
        rows = many_rows.copy()
        # The least blurs change nothing.
        rows[:, randomness.COLOR["sigma"]] = 0.5
        pictures = floats(COUNT, 3, 3)
        got = color(pictures, rows, policy)
        rate = self.RATES[name].get(operation, [0, 0])[view]
        changed = (np.abs(got - pictures) > 1e-4).any(axis=(1, 2, 3)).mean()
        assert changed == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / COUNT) + 1e-9)

    def test_range_of_brightness(self, name, view, many_rows):
        """Of plain gray, which contrast, saturation and hue leave alone."""
        policy = dataclasses.replace(policies.by_name(name, 2)[view], jitter=1, blur=0, solarize=0)
        pictures = np.full((COUNT, 2, 2, 3), 0.25, np.float32)
        factor = color(pictures, many_rows, policy)[:, 0, 0, 0] / 0.25
        reach = self.REACH[name]
        assert 1 - reach - 1e-3 <= factor.min() < 1 - 0.98 * reach
        assert 1 + 0.98 * reach < factor.max() <= 1 + reach + 1e-3
        assert factor.mean() == pytest.approx(1, abs=4 * 2 * reach / np.sqrt(12 * COUNT))
        assert factor.std() == pytest.approx(2 * reach / np.sqrt(12), rel=0.05)


class TestBlur:
    @pytest.mark.parametrize(("side", "radius"), [(5, 1), (32, 1), (64, 3), (224, 11)])
    def test_equals_scipy_over_the_same_window(self, side, radius):
        sigma = np.array([0.1, 0.7, 2.0], np.float32)
        pictures = floats(3, side, side)
        rows = rows_with(3, sigma=(sigma - 0.1) / 1.9)
        got = color(pictures, rows, Policy(size=side, jitter=0, grayscale=0, blur=1))
        for picture, width, result in zip(pictures, sigma, got, strict=True):
            assert_close(result, blurred(picture, width, radius))

    def test_the_window_is_a_tenth_of_the_shorter_side(self):
        sigma = np.array([0.7, 2.0], np.float32)
        pictures = floats(2, 41, 64)
        rows = rows_with(2, sigma=(sigma - 0.1) / 1.9)
        got = color(pictures, rows, Policy(size=(41, 64), jitter=0, grayscale=0, blur=1))
        for picture, width, result in zip(pictures, sigma, got, strict=True):
            assert_close(result, blurred(picture, width, radius=2))

    @pytest.mark.parametrize("side", [1, 2])
    def test_the_smallest_images(self, side):
        pictures = floats(1, side, side)
        got = color(
            pictures, rows_with(sigma=0.5), Policy(size=side, jitter=0, grayscale=0, blur=1)
        )
        np.testing.assert_allclose(got.mean(), pictures.mean(), atol=0.2)
        assert got.shape == pictures.shape
