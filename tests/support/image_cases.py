"""Collections of images, drawn at random: what they hold, and what is stated of it."""

import math
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from support.image_kinds import FLOATS, KINDS

SHAPES = [(8, 8), (8, 8), (6, 10), (1, 7), (5, 1)]
# Of these a data set is looked at beforehand, and of so many files the format is told.
FIRST_EXAMPLES, FIRST_FILES = 64, 8

# Of each dtype the values that images may fill.
_SPANS = {
    "uint8": [(0, 255), (0, 255), (0, 255), (0, 40)],
    "uint16": [(0, 65_535), (0, 65_535), (0, 40_000), (0, 4_095), (0, 700)],
    "int16": [(-1_024, 3_071), (-32_768, 32_767), (0, 4_095)],
    "float": [(0, 1), (0, 1), (0, 1), (0, 0.2), (-30, 5), (0, 255)],
    "float64": [(0, 1), (0, 1), (0, 10_000), (1e8, 1e8 + 100), (-40, 60)],
}
_NO_CHANNELS = [0, -1, True, 2.5, "3"]
_NO_RANGES = [(1, 0), (5, 5), (0, math.nan), (-math.inf, 1), 255, (0, 1, 2), "ab", (0, 1e39)]
_BEYOND = [math.nan, math.inf, 1.5, -0.3, 255.0]


class Case(NamedTuple):
    """A collection.

    Attributes:
        number: all else is a function of it.
        kind: the name of one of `KINDS`.
        images: of each [H, W, C] or [H, W].
        channels, value_range: as they are stated.
        labels: of each, or None.
    """

    number: int
    kind: str
    images: list[np.ndarray]
    channels: Any
    value_range: Any
    labels: list | None

    def __repr__(self):
        held = ", ".join(sorted({f"{image.dtype}{image.shape}" for image in self.images}))
        return (
            f"case {self.number}: {self.kind} of {len(self.images)} x {held}, "
            f"channels={self.channels!r}, value_range={self.value_range!r}, labels={self.labels}"
        )


def draw(number: int) -> Case:
    """The case of a number."""
    rng = np.random.default_rng([7, number])
    names = [*KINDS]
    weights = np.array([kind.weight for kind in KINDS.values()], float)
    name = names[rng.choice(len(names), p=weights / weights.sum())]
    kind = KINDS[name]
    images = _mixed(rng, kind) if kind.encoded else _alike(rng, kind)
    if rng.random() < 0.25 and images[0].dtype.name in FLOATS:
        _spoil(rng, images)
    return Case(
        number,
        name,
        images,
        _stated_channels(rng, kind, images[0]),
        _stated_range(rng, images, kind),
        _labels(rng, len(images)),
    )


def _pick(rng, values):
    return values[rng.integers(len(values))]


def _span(rng, dtype):
    spans = _SPANS.get(dtype) or (_SPANS["float"] if dtype in FLOATS else [(0, 1)])
    if dtype == "float16":
        spans = [span for span in spans if span[1] < 100]
    return _pick(rng, spans)


def _filled(rng, shape, dtype, span, constant=False, smooth=False):
    """An image of values that fill a span, its ends among them."""
    low, high = span
    if constant:
        share = np.full(shape, rng.integers(0, 5) / 4)
    elif smooth:
        # What JPEG keeps to a step or two.
        slopes = rng.uniform(0, 0.4, (2, *shape[2:]))
        rows, columns = (np.linspace(0, 1, side)[:, np.newaxis] for side in shape[:2])
        share = 0.1 + slopes[0] * rows[:, np.newaxis] + slopes[1] * columns
    else:
        share = rng.random(shape)
        share[(0, 0, 0)[: len(shape)]], share[(-1, -1, 0)[: len(shape)]] = 0, 1
    values = low + share * (high - low)
    if dtype not in FLOATS:
        values = np.round(values)
    return values.astype(getattr(ml_dtypes, dtype, dtype))


def _alike(rng, kind):
    """Images of one dtype and number of channels."""
    dtype = _pick(rng, [name for name in kind.dtypes if name in _SPANS or name in FLOATS])
    if rng.random() < 0.1:
        dtype = _pick(rng, kind.dtypes)
    late = kind.sizes_differ and rng.random() < 0.06
    count = FIRST_EXAMPLES + 4 if late else int(rng.integers(2, 5))
    channels = _pick(rng, [(), (1,), (3,), (3,), (4,), (int(_pick(rng, kind.stored)),)])
    shapes = [_pick(rng, SHAPES)] * count
    if kind.sizes_differ and rng.random() < 0.25:
        shapes = [_pick(rng, SHAPES) for _ in range(count)]
    odd = rng.random()
    if odd < 0.04:
        # The channels first, as in other frameworks.
        shapes, channels = [(int(_pick(rng, [1, 3, 4])), 8)] * count, (8,)
    elif odd < 0.06:
        # The rows of one image.
        shapes, channels = [(9, 3)] * count, ()
    span, constant = _span(rng, dtype), rng.random() < 0.08
    return [_filled(rng, (*shape, *channels), dtype, span, constant) for shape in shapes]


def _mixed(rng, kind):
    """Images whose files may differ in all."""
    many = rng.random() < 0.25
    count = FIRST_FILES + 3 if many else int(rng.integers(2, 5))
    lossy = bool(kind.lossy)

    def style():
        dtype = _pick(rng, kind.dtypes)
        span = (0, 255) if lossy else _span(rng, dtype)
        return (_pick(rng, SHAPES), dtype, span, int(_pick(rng, kind.stored)), rng.random() < 0.08)

    styles = [style()] * count
    odd = rng.random()
    if odd < 0.2:
        styles = [style() for _ in range(count)]
    elif odd < 0.4:
        # Only the last one is another, which no look at the first ones finds.
        styles = [*styles[:-1], style()]
    return [
        _filled(rng, (*shape, channels), dtype, span, constant, smooth=lossy)
        for shape, dtype, span, channels, constant in styles
    ]


def _spoil(rng, images):
    """Puts a value into an image that is none of a float's 0..1."""
    image = images[rng.integers(len(images))]
    image.flat[rng.integers(image.size)] = _pick(rng, _BEYOND)


def _stated_channels(rng, kind, image):
    odd = rng.random()
    if odd < 0.5:
        return None
    if odd < 0.6:
        return int(image.shape[-1]) if image.ndim == 3 else 1
    if odd < 0.94:
        return int(_pick(rng, [1, 3, 3] if kind.encoded else [1, 3, 3, 5]))
    return _pick(rng, _NO_CHANNELS)


def _stated_range(rng, images, kind):
    """None, the range of the values, a wider or a narrower one, or what is no range."""
    odd = rng.random()
    if odd < 0.4 and not (images[0].dtype == np.int16 and odd > 0.1):
        return None
    if odd > 0.95:
        return _pick(rng, _NO_RANGES)
    if images[0].dtype.name in ("bool", "complex64"):
        return (0, 1)
    if kind.encoded and odd > 0.9:
        return (0, 4_095)
    values = np.concatenate([image.astype(np.float64).ravel() for image in images])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    width = (high - low) or 1.0
    if odd > 0.83:
        return (low + 0.3 * width, high - 0.3 * width)
    if odd > 0.65 or kind.lossy:
        return (low - 0.1 * width, high + 0.1 * width)
    return (low, high)


def _labels(rng, count):
    odd = rng.random()
    whole = [int(label) for label in rng.integers(0, 3, count)]
    if odd < 0.4:
        return None
    if odd < 0.75:
        return whole
    if odd < 0.88:
        return [("cat", "dog", "ant")[label] for label in whole]
    last = _pick(rng, [-1, 2**31, 2**32 + 1])
    if odd < 0.94:
        return [*whole[:-1], last]
    return [label + 0.5 for label in whole]
