"""What must become of a collection of images, by the documentation alone: no code of the library.

The images are float64 0..1, each with how far a float32 result may lie from it; or there are the
reasons for which the collection must be refused, each with the indices that it may name.
"""

import dataclasses
import math
import numbers

import numpy as np
from support.image_cases import FIRST_FILES
from support.image_kinds import FLOATS, KINDS, USABLE

# What a refusal says.
REASONS = {
    "channels that are none": r"channels is .*: expected a whole number >= 1",
    "channels of no file": r"channels is \d+ for .*: .*files give 1 or 3",
    "other channels": r"have \d+ channels: expected \d+; state how many",
    "channels first": r"which is \d+ rows, .* \d+ channels: expected the channels last",
    "one image": r"which is images without channels, of 3 columns: give",
    "dtype": r"( are \w+( \(.*\))?|^dtype is .*): expected .*uint8, uint16, int16",
    "range that is none": r"value_range is .*: expected \(low, high\)",
    "signed": r"are int16, of which no range is usual: state the values",
    "dark": r"16 bits, but no value (is )?above \d+.*state",
    "8 bits": r"an image of 8 bits, but value_range is",
    "outside": r"example (\d+) of .* has the value .*, but (floats are in 0..1|value_range is)",
    "labels": r"label",
}
_WEIGHTS = np.array([0.299, 0.587, 0.114])
# Of float32, with room for the two roundings of a difference and a quotient.
_ROUNDING = 2.0**-22
_LARGEST_LABEL = 2**31 - 2


@dataclasses.dataclass
class Expected:
    """What must come out.

    Attributes:
        images: float64 [H, W, C] each; None where there is no result.
        tolerances: of each image, in parts of 1.
        whole: whether pixels are uint8.
        labels: of each image, or None.
        refusals: {a key of `REASONS`: places of the images that it may name, or None}.
        unsure: whether rounding decides between the result and the refusal.
    """

    images: list | None
    tolerances: list
    whole: bool
    labels: list | None
    refusals: dict
    unsure: bool = False


def expected(case):
    """`Expected` of a case."""
    refusals, value_range = _misstated(case), _range(case)
    result = Expected(None, [], False, None, {})
    if not {*refusals} - {"one image", "channels first"}:
        result = (_of_files if KINDS[case.kind].encoded else _of_memory)(case, value_range)
    result.refusals.update(refusals)
    result.labels = _labels(case)
    if case.labels is not None and result.labels is None:
        result.refusals["labels"] = None
    return result


def order(case):
    """Which image of the case each index is: a folder's are sorted by their paths."""
    places = range(len(case.images))
    if not KINDS[case.kind].names_classes or case.labels is None:
        return [*places]
    return sorted(places, key=lambda place: f"{case.labels[place]}/{place:03}".encode())


def _labels(case):
    """A whole number of each image; None where there are none, or some that must be refused."""
    labels, kind = case.labels, KINDS[case.kind]
    if labels is None:
        return None
    if kind.names_classes or (kind.numbers_names and isinstance(labels[0], str)):
        names = sorted({str(label) for label in labels})
        return [names.index(str(label)) for label in labels]
    good = all(isinstance(label, int) and 0 <= label <= _LARGEST_LABEL for label in labels)
    return labels if good else None


def _misstated(case):
    found = {}
    channels = case.channels
    if channels is not None and (type(channels) is not int or channels < 1):
        found["channels that are none"] = None
    elif KINDS[case.kind].encoded and channels not in (None, 1, 3):
        found["channels of no file"] = None
    if case.value_range is not None and _range(case) is None:
        found["range that is none"] = None
    if KINDS[case.kind].encoded:
        return found
    return {**found, **_misfit(case)}


def _misfit(case):
    """What of images in memory does not fit what is stated."""
    found = {}
    image, channels = case.images[0], case.channels
    if image.dtype.name not in USABLE:
        found["dtype"] = None
    if image.dtype == np.int16 and case.value_range is None:
        found["signed"] = None
    stored = 1 if image.ndim == 2 else image.shape[-1]
    if type(channels) is int and channels != stored and (stored, channels) != (1, 3):
        found["other channels"] = None
    sides = {image.shape[:2] for image in case.images}
    if len(sides) == 1 and not KINDS[case.kind].axes_known:
        ((height, width),) = sides
        if image.ndim == 3 and channels is None and stored > 4 and height < min(width, stored):
            found["channels first"] = None
        if image.ndim == 2 and width in (3, 4) and height > width:
            found["one image"] = None
    return found


def _range(case):
    given = case.value_range
    pair = isinstance(given, tuple) and len(given) == 2
    if not pair or not all(isinstance(value, numbers.Real) for value in given):
        return None
    largest = float(np.finfo(np.float32).max)
    good = all(math.isfinite(value) and abs(value) <= largest for value in given)
    return given if good and given[0] < given[1] else None


def _of_memory(case, value_range):
    dtype = case.images[0].dtype
    images = [image.astype(np.float64) for image in case.images]
    images = [image[..., np.newaxis] if image.ndim == 2 else image for image in images]
    channels = case.channels or (3 if images[0].shape[-1] == 1 else images[0].shape[-1])
    images = [_in_channels(image, channels) for image in images]
    floating = dtype.name in FLOATS
    low, high = value_range or (0, 1 if floating else np.iinfo(dtype).max)
    result = Expected([(image - low) / (high - low) for image in images], [], False, None, {})
    result.whole = dtype == np.uint8 and value_range is None
    rounding = _ROUNDING if dtype == np.float64 else _rounding(low, high)
    result.tolerances = [rounding] * len(images)
    if dtype == np.uint16 and value_range is None and max(map(np.max, images)) < 65_535 / 2:
        result.refusals["dark"] = None
    slack = 1e-6 * (high - low) if value_range else 1e-3
    if KINDS[case.kind].sees_bits and dtype == np.uint8 and value_range and high > 255:
        result.refusals["8 bits"] = None
    if outside := _outside(images, low - slack, high + slack):
        result.refusals["outside"] = outside
    return result


def _rounding(low, high):
    """Of a quotient whose ends are rounded to float32."""
    return _ROUNDING * (1 + max(abs(low), abs(high)) / (high - low))


def _outside(images, low, high):
    return {
        place for place, image in enumerate(images) if not np.all((image >= low) & (image <= high))
    }


def _of_files(case, value_range):
    colors = [_colors(image) for image in case.images]
    first = [colors[place] for place in order(case)[:FIRST_FILES]]
    first = [image.max() for image in first if image.dtype == np.uint16]
    result = Expected([], [], value_range is None and not first, None, {})
    if value_range is None and first and max(first) < 65_535 / 2:
        result.refusals["dark"] = None
    for place, image in enumerate(colors):
        _add_file(result, case, place, image, value_range)
    return result


def _add_file(result, case, place, image, value_range):
    lossy, deep = KINDS[case.kind].lossy, image.dtype == np.uint16
    channels = case.channels or 3
    white = 65_535 if deep else 255
    # Of weighted colors a whole number is made, by weights of 15 bits.
    error = lossy + (1 + 3 * white / 2**16) * (image.shape[-1] > channels)
    image = _in_channels(image.astype(np.float64), channels)
    low, high = value_range or (0, white)
    if result.whole and deep:
        if image.max() < 2**15:
            result.refusals["dark"] = None
        image, low, high = image // 256, 0, 255
    if not deep and value_range and high > 255:
        result.refusals["8 bits"] = None
    slack = 1e-6 * (high - low)
    if value_range and _outside([image], low - slack - error, high + slack + error):
        result.refusals.setdefault("outside", set()).add(place)
    elif value_range and _outside([image], low - slack + error, high + slack - error):
        result.unsure = result.unsure or error > 0
    result.images.append((image - low) / (high - low))
    result.tolerances.append(error / (high - low) + _rounding(low, high))


def _colors(image):
    """An image without its alpha, which is the last of 2 and of 4 channels."""
    return image[..., : 1 if image.shape[-1] < 3 else 3]


def _in_channels(image, channels):
    """Gray repeated for 3, colors weighted for 1."""
    if image.shape[-1] == channels:
        return image
    return image.repeat(3, -1) if channels == 3 else image @ _WEIGHTS[:, np.newaxis]
