"""TFRecords of raw pixels: every value as it was written, and what does not fit is named."""

import re

import numpy as np
import pytest
import tensorflow as tf
from support.files import example, write_records

from sogclr_tf import Policy, TFRecordSource, training_views
from sogclr_tf.data.sources.open import from_path
from sogclr_tf.data.sources.readable import readable

N = 12
SHAPE = (6, 5, 2)
POLICY = Policy(4, jitter=0, grayscale=0)
SLOW = pytest.mark.slow(reason="the same code on records of other kinds")
RANGE = {"int16": (-1_024, 3_071)}


def stored(dtype="uint16", shape=SHAPE, count=N):
    low, high = {"uint8": (0, 255), "uint16": (0, 65_535), "int16": (-1_024, 3_071)}.get(
        dtype, (0, 1)
    )
    images = np.random.default_rng(0).uniform(low, high, (count, *shape))
    images.flat[:2] = low, high
    return images.astype(np.dtype(dtype))


def raw(images, **others):
    """Records of images, which may differ in size, with the sizes and `others` beside the bytes."""
    return [
        example(
            image=image.tobytes(),
            height=image.shape[0],
            width=image.shape[1],
            depth=image.shape[-1],
            label=place % 3,
            **others,
        )
        for place, image in enumerate(images)
    ]


def write(folder, records, shards=3, compression=""):
    for shard, part in enumerate(np.array_split(np.array(records, object), shards)):
        write_records(folder / f"raw-{shard}", part, compression)
    return str(folder / "raw-*")


def pixels(source):
    """In the order of the indices."""
    return list(source.images_and_labels()[0].as_numpy_iterator())


class TestValues:
    @pytest.mark.parametrize(
        "dtype",
        ["uint8", "uint16", "int16", "float32"]
        + [pytest.param(x, marks=SLOW) for x in ("float16", "bfloat16", "float64")],
    )
    def test_are_those_that_were_written(self, tmp_path, dtype):
        images = stored(dtype)
        files = write(tmp_path, raw(images))
        stated = RANGE.get(dtype)
        source = TFRecordSource(files, "image", dtype=dtype, shape=SHAPE, value_range=stated)
        got = pixels(source)
        low, high = stated or ((0, 65_535) if dtype == "uint16" else (0, 1))
        expected = images
        if dtype != "uint8":
            expected = (images.astype(np.float32) - np.float32(low)) / np.float32(high - low)
        np.testing.assert_array_equal(got, expected)
        assert got[0].dtype == expected.dtype
        assert (source.image_size, source.pixel_format.channels) == (SHAPE[:2], 2)

    @pytest.mark.parametrize("dtype", [">u2", np.dtype(">f4"), ">i2"])
    def test_with_the_highest_byte_first(self, tmp_path, dtype):
        native = np.dtype(dtype).newbyteorder("=").name
        images = stored(native)
        options = {"shape": SHAPE, "value_range": RANGE.get(native)}
        one = TFRecordSource(
            write(tmp_path, raw(images.astype(dtype))), "image", dtype=dtype, **options
        )
        (tmp_path / "low").mkdir()
        other = TFRecordSource(
            write(tmp_path / "low", raw(images)), "image", dtype=native, **options
        )
        np.testing.assert_array_equal(pixels(one), pixels(other))

    @pytest.mark.parametrize("dtype", [np.uint16, np.dtype("uint16"), tf.uint16, "<u2"])
    def test_a_dtype_by_other_names(self, tmp_path, dtype):
        images = stored()
        source = TFRecordSource(write(tmp_path, raw(images)), "image", dtype=dtype, shape=SHAPE)
        np.testing.assert_array_equal(pixels(source), images / np.float32(65_535))

    def test_sizes_that_each_record_says(self, tmp_path):
        images = [stored("uint8", shape, 1)[0] for shape in [(6, 5, 2), (1, 9, 2), (40, 3, 2)]]
        files = write(tmp_path, raw(images))
        for shape in [("height", "width", 2), ("height", "width", "depth")]:
            source = TFRecordSource(files, "image", dtype="uint8", shape=shape)
            assert source.image_size is None
            for got, expected in zip(pixels(source), images, strict=True):
                np.testing.assert_array_equal(got, expected)
            # As a run's config gives what the command was given.
            config = {"image": "image", "label": "", "index": "", "dtype": "uint8"}
            named = ",".join(map(str, shape))
            assert len(pixels(from_path(files, {**config, "shape": (named,)}))) == 3

    @pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
    @pytest.mark.parametrize("channels", [None, 1])
    def test_gray(self, tmp_path, shape, channels):
        images = stored("uint8", (6, 5, 1))
        source = TFRecordSource(
            write(tmp_path, raw(images)), "image", dtype="uint8", shape=shape, channels=channels
        )
        np.testing.assert_array_equal(pixels(source), images.repeat(channels or 3, axis=-1))

    def test_crops_are_parts_of_the_whole(self, tmp_path):
        source = TFRecordSource(
            write(tmp_path, raw(stored())), "image", dtype="uint16", shape=SHAPE
        )
        image = source.read(next(iter(source.examples()))["image"])
        whole = source.decode(image)
        np.testing.assert_array_equal(source.shape(image), SHAPE[:2])
        part = source.crop(image, tf.constant([1, 2, 4, 3]))
        np.testing.assert_array_equal(part, whole[1:5, 2:5])

    def test_encoded_records_stay_what_they_were(self, tmp_path):
        images = stored("uint8", (6, 5, 3))
        records = [example(image=tf.io.encode_png(image).numpy()) for image in images]
        files = write(tmp_path, records)
        for none in ({}, {"dtype": "", "shape": ()}):
            np.testing.assert_array_equal(pixels(TFRecordSource(files, "image", **none)), images)


class TestViews:
    @pytest.fixture(
        params=[
            pytest.param(("", SHAPE), id="fixed", marks=SLOW),
            pytest.param(("GZIP", ("height", "width", 2)), id="named"),
        ]
    )
    def source(self, request, tmp_path):
        compression, shape = request.param
        files = write(tmp_path, raw(stored()), compression=compression)
        return TFRecordSource(files, "image", "label", dtype="uint16", shape=shape)

    @SLOW
    def test_are_those_of_the_same_array(self, source):
        """Whichever way they are drawn, one at a time or many together."""
        views = training_views(source, batch_size=4, policy=POLICY)
        array = training_views(stored(), batch_size=4, policy=POLICY)
        seen = {}
        for batches in (views, array):
            found = {}
            for batch in batches.epoch(0):
                found |= dict(zip(batch["index"].numpy(), batch["view_a"].numpy(), strict=True))
            seen[batches] = found
        assert [sorted(found) for found in seen.values()] == [list(range(N))] * 2
        for index in range(N):
            np.testing.assert_allclose(seen[views][index], seen[array][index], atol=1e-6)

    @pytest.mark.slow(reason="streams traced several times")
    def test_go_on_where_they_stopped(self, source):
        views = training_views(source, batch_size=4, policy=POLICY)
        whole = list(views.stream().take(5))
        again = list(views.stream(first_step=2).take(3))
        for one, other in zip(whole[2:], again, strict=True):
            for key in one:
                np.testing.assert_array_equal(one[key], other[key])


def test_floats_of_a_stated_range_are_drawn_one_at_a_time(tmp_path):
    """They lie outside 0..1 until they are scaled."""
    images = stored("float32") * 35 - 30
    options = {"dtype": "float32", "shape": ("height", "width", 2)}
    source = TFRecordSource(write(tmp_path, raw(images)), "image", value_range=(-31, 6), **options)
    whole = Policy((6, 5), min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)
    batch = next(iter(training_views(source, batch_size=4, policy=whole).epoch(0)))
    expected = (images[batch["index"].numpy()] + 31) / 37
    np.testing.assert_allclose(batch["view_a"], expected, atol=1e-6)
    source = TFRecordSource(write(tmp_path, raw(images)), "image", value_range=(-20, 6), **options)
    views = training_views(source, batch_size=4, policy=whole)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"value_range is \(-20, 6\): state a"):
        next(iter(views.epoch(0)))


class TestRefused:
    def source(self, folder, images=None, **options):
        images = stored() if images is None else images
        options = {"dtype": "uint16", "shape": SHAPE, **options}
        return TFRecordSource(write(folder, raw(images)), "image", **options)

    def test_12_bits_that_nobody_stated(self, tmp_path):
        images = stored() // 16
        with pytest.raises(ValueError, match=r"no value above 4095: .*value_range=\(0, 4095\)"):
            training_views(self.source(tmp_path, images), batch_size=4, policy=POLICY)
        assert np.max(pixels(self.source(tmp_path, images, value_range=(0, 4_095)))) == 1

    def test_signed_values_that_nobody_stated(self, tmp_path):
        with pytest.raises(ValueError, match="are int16, of which no range is usual"):
            self.source(tmp_path, stored("int16"), dtype="int16")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dtype": None}, "shape is (6, 5, 2), but no dtype is stated"),
            ({"shape": ()}, "dtype is uint16, but no shape is stated: state (height, width, ch"),
            ({"dtype": "unit16"}, "dtype is 'unit16': expected one of uint8, uint16, int16, fl"),
            ({"dtype": "int64"}, "dtype is 'int64': expected one of uint8, uint16, int16, fl"),
            ({"shape": (6,)}, "shape is (6,): expected (height, width, channels), each a nu"),
            ({"shape": (6, 0, 2)}, "shape is (6, 0, 2): expected (height, width, channels)"),
            ({"shape": (6, 5.0, 2)}, "shape is (6, 5.0, 2): expected (height, width, channels)"),
            ({"shape": ("", 5, 2)}, "shape is ('', 5, 2): expected (height, width, channels)"),
            ({"shape": 60}, "shape is 60: expected (height, width, channels)"),
            ({"channels": 3}, "have 2 channels: expected 3; state how many"),
            (
                {"shape": ("rows", "width", 2)},
                "no whole number in 'rows': name the feature of the height, one int64, among "
                "depth, height, image, label, width, or state the number",
            ),
            ({"shape": ("image", 5, 2)}, "no whole number in 'image': name the feature of the h"),
            ({"shape": (6, 5, "label")}, "has 0 in 'label': name the feature of the channels"),
        ],
    )
    def test_a_statement_that_is_none(self, tmp_path, options, message):
        with pytest.raises(ValueError, match=re.escape(message)) as told:
            self.source(tmp_path, **options)
        assert "\n" not in str(told.value)

    def test_lists_of_numbers(self, tmp_path):
        files = write(tmp_path, [example(image=[1, 2, 3])], shards=1)
        with pytest.raises(ValueError, match=r"have int64 in 'image'.*as bytes \(array.tobytes"):
            TFRecordSource(files, "image", dtype="uint8", shape=(1, 3))


class TestDamaged:
    CASES = {
        "short": (
            {"image": stored()[0].tobytes()[:-1]},
            "raw pixels: uint16 of height, width and channels 6, 5, 2 take 120 bytes, but there "
            "are 119",
        ),
        "none": ({"image": b""}, "6, 5, 2 take 120 bytes, but there are 0"),
        "missing": ({}, "6, 5, 2 take 120 bytes, but there are 0"),
        "other channels": ({"image": bytes(180), "depth": 3}, "take 120 bytes, but there are 180"),
        "no height": (
            {"image": bytes(120), "height": None},
            "raw pixels: height, width and channels are -1, 5, 2 (-1 where none is there)",
        ),
        "no pixels": ({"image": b"", "height": 0}, "height, width and channels are 0, 5, 2"),
        "heights": ({"image": bytes(120), "height": [6, 6]}, "Key: height"),
    }

    @pytest.mark.parametrize(
        "name",
        ["short", "no height"]
        + [
            pytest.param(x, marks=SLOW)
            for x in ("none", "missing", "other channels", "no pixels", "heights")
        ],
    )
    def test_is_named_or_left_out(self, tmp_path, name):
        features, message = self.CASES[name]
        features = {"height": 6, "width": 5, "depth": 2, **features}
        features = {key: value for key, value in features.items() if value is not None}
        records = raw(stored())
        records[7] = example(**features)
        source = TFRecordSource(
            write(tmp_path, records), "image", dtype="uint16", shape=("height", "width", "depth")
        )
        left = readable(source)
        assert list(left.skipped) == [7]
        assert message in left.skipped[7]
        assert len(pixels(left)) == N - 1
        views = training_views(source, batch_size=4, policy=POLICY)
        with pytest.raises(ValueError, match=r"record 3 of .*raw-1 \(index 7\) cannot be dec") as e:
            views.samples(N)
        assert message in str(e.value)

    def test_what_was_found_belongs_to_the_shape(self, tmp_path):
        files = write(tmp_path, raw(stored()))
        with pytest.raises(ValueError, match="none of the 12 images .* can be decoded; record 0"):
            readable(TFRecordSource(files, "image", dtype="uint16", shape=(6, 5, 3)))
        right = TFRecordSource(files, "image", dtype="uint16", shape=SHAPE)
        assert readable(right) is right
