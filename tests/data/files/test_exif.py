"""Orientation: every tag in every format as Pillow applies it, and no harm by damaged Exif data."""

import functools
import io
import struct
import warnings

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from sogclr_tf.data.files import decoding, exif

HEIGHT, WIDTH = 33, 48
OPTIONS = {"JPEG": {"subsampling": 0}, "PNG": {}, "WEBP": {"lossless": True}}


@functools.cache
def photo(gray=False):
    image = Image.fromarray(load_sample_images().images[0][100 : 100 + HEIGHT, 200 : 200 + WIDTH])
    return image.convert("L") if gray else image


def encoded(image, name, **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def block(*entries, order="<", tail=b""):
    """Exif data of (tag, type, count, value) each; a value is a number, or 4 bytes as they are."""
    packed = b""
    for tag, kind, count, value in entries:
        packed += struct.pack(f"{order}HHI", tag, kind, count)
        short = kind in (3, 8) and count < 3
        if not isinstance(value, bytes):
            value = (
                struct.pack(order + "HH", value, 0) if short else struct.pack(order + "I", value)
            )
        packed += value
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    return b"Exif\0\0" + head + packed + bytes(4) + tail


def tagged(name, data, image=None):
    image = photo() if image is None else image
    return encoded(image, name, exif=data, **OPTIONS[name])


def shown(file):
    """What Pillow shows; the stored image where it refuses the Exif data."""
    image = Image.open(io.BytesIO(file))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = ImageOps.exif_transpose(image)
        except (SyntaxError, struct.error, OSError, ValueError, TypeError):
            image = Image.open(io.BytesIO(file))
    return np.array(image.convert("RGB"))


def tag_of(file):
    """Which of the eight ways to show a file is Pillow's."""
    stored = Image.open(io.BytesIO(file)).convert("RGB")
    want = shown(file)
    for tag in range(1, 9):
        turned = exif.as_shown(tf.constant(np.array(stored)), tf.constant(tag)).numpy()
        if turned.shape == want.shape and (turned == want).all():
            return tag
    raise AssertionError("none of the eight")


@functools.cache
def traced():
    @tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([4], tf.int32)])
    def read(file, box):
        return decoding.shape(file), decoding.decode(file), decoding.decode_crop(file, box)

    return read


class TestTags:
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("name", OPTIONS)
    def test_all_as_pillow_shows_them(self, name, order):
        for tag in range(10):
            image = photo(gray=bool(tag % 2))
            file = tagged(name, block((0x112, 3, 1, tag), order=order), image)
            want = shown(file)
            size, got, crop = traced()(file, [3, 5, 17, 11])
            assert size.numpy().tolist() == [*want.shape[:2]]
            # Decoders of JPEG may round differently.
            assert np.abs(got.numpy().astype(int) - want).max() <= (3 if name == "JPEG" else 0)
            np.testing.assert_array_equal(crop, got[3:20, 5:16])

    def test_every_crop_of_every_tag(self):
        rng = np.random.default_rng(0)
        for tag in range(1, 9):
            file = tagged("JPEG", block((0x112, 3, 1, tag)))
            whole = decoding.decode(file).numpy()
            for _ in range(8):
                sides = rng.integers(1, whole.shape[:2], endpoint=True)
                top, left = rng.integers(0, np.subtract(whole.shape[:2], sides), endpoint=True)
                _, _, got = traced()(file, [top, left, *sides])
                want = whole[top : top + sides[0], left : left + sides[1]]
                np.testing.assert_array_equal(got, want)

    @pytest.mark.parametrize("box", [(0, 0, HEIGHT, WIDTH), (WIDTH, 0, 1, 1), (-1, 0, 5, 5)])
    @pytest.mark.parametrize("name", OPTIONS)
    def test_a_box_outside_of_what_is_shown(self, name, box):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoding.decode_crop(tagged(name, block((0x112, 3, 1, 6))), box)

    def test_a_pipeline(self):
        file = tagged("JPEG", SIX)
        (got,) = tf.data.Dataset.from_tensors(file).map(decoding.decode)
        np.testing.assert_array_equal(got, decoding.decode(file))

    @pytest.mark.slow(reason="saves a model and loads it")
    def test_a_saved_model(self, tmp_path):
        file = tagged("JPEG", SIX)
        module = tf.Module()
        spec = tf.TensorSpec([], tf.string)
        module.decode = tf.function(decoding.decode, input_signature=[spec])
        tf.saved_model.save(module, str(tmp_path / "saved"))
        got = tf.saved_model.load(str(tmp_path / "saved")).decode(file)
        np.testing.assert_array_equal(got, decoding.decode(file))


def segment(code, data):
    return b"\xff" + bytes([code]) + struct.pack(">H", len(data) + 2) + data


SIX = block((0x112, 3, 1, 6))
PLAIN = encoded(photo(), "JPEG")
TABLES = PLAIN.index(b"\xff\xdb")
ICC = segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000))
XMP = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='8'/>")
AROUND = {
    "alone": (segment(0xE1, SIX), 2, 6),
    "after JFIF": (segment(0xE1, SIX), TABLES, 6),
    "after XMP": (XMP + segment(0xE1, SIX), TABLES, 6),
    "after profiles": (ICC * 3 + segment(0xE1, SIX), TABLES, 6),
    "after MPF and a comment": (
        segment(0xE2, b"MPF\0" + SIX) + segment(0xFE, SIX) + segment(0xE1, SIX),
        TABLES,
        6,
    ),
    "before profiles": (segment(0xE1, SIX) + ICC, TABLES, 6),
    "after fill bytes": (b"\xff" * 9 + segment(0xE1, SIX), TABLES, 6),
    "after the tables": (segment(0xE1, SIX), PLAIN.index(b"\xff\xc0"), 6),
    "in another segment": (segment(0xE2, SIX) + segment(0xFE, segment(0xE1, SIX)), TABLES, 1),
    "in XMP alone": (XMP, TABLES, 1),
    "the first of two": (segment(0xE1, SIX) + segment(0xE1, block((0x112, 3, 1, 3))), TABLES, 6),
}


class TestPlaces:
    @pytest.mark.parametrize("name", AROUND)
    def test_segments_of_a_jpeg(self, name):
        inserted, place, tag = AROUND[name]
        assert exif.of_jpeg(PLAIN[:place] + inserted + PLAIN[place:]).numpy() == tag

    def test_chunks_of_a_png(self):
        file = tagged("PNG", SIX)
        start = file.index(b"eXIf") - 4
        length = 12 + struct.unpack(">I", file[start : start + 4])[0]
        chunk, rest = file[start : start + length], file[:start] + file[start + length :]
        moved = rest[:-12] + chunk + rest[-12:]
        for each in (file, moved):
            np.testing.assert_array_equal(decoding.decode(each), shown(each))
            assert decoding.decode(each).shape == (WIDTH, HEIGHT, 3)


ENTRIES = {
    "long": [(0x112, 4, 1, 6)],
    "signed": [(0x112, 8, 1, 6)],
    "a byte": [(0x112, 1, 1, b"\6\0\0\0")],
    "a text": [(0x112, 2, 2, b"6\0\0\0")],
    "unknown type": [(0x112, 14, 1, 6)],
    "no value": [(0x112, 3, 0, 6)],
    "two values": [(0x112, 3, 2, 6)],
    "values outside": [(0x112, 3, 9, 6)],
    "too large": [(0x112, 4, 1, 2**31 + 6)],
    "the first of two": [(0x112, 3, 1, 6), (0x112, 3, 1, 3)],
    "the first that is whole": [(0x112, 14, 1, 3), (0x112, 3, 1, 6)],
    "after a text": [(0x10F, 2, 30, 8), (0x112, 3, 1, 6)],
    "after a text that is missing": [(0x10F, 2, 30, 60), (0x112, 3, 1, 6)],
    "after a text that is too long": [(0x10F, 2, 2**30, 8), (0x112, 3, 1, 6)],
}


class TestDamage:
    @pytest.mark.parametrize("order", "<>")
    @pytest.mark.parametrize("name", ENTRIES)
    def test_entries_as_pillow_reads_them(self, name, order):
        file = tagged("PNG", block(*ENTRIES[name], order=order))
        assert exif.of_png(file).numpy() == tag_of(file)

    def test_random_exif_data(self):
        """Bits flipped, bytes overwritten, ends cut: as Pillow, or as if there were none."""
        rng = np.random.default_rng(0)
        read = tf.function(exif.of_png, input_signature=[tf.TensorSpec([], tf.string)])
        turned = 0
        for _ in range(150):
            data = bytearray(
                block(
                    (0x10F, 2, 6, 60), (0x112, 3, 1, 6), tail=b"camera", order="<>"[rng.integers(2)]
                )
            )
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                data[place] = rng.integers(256)
            del data[rng.integers(8, len(data)) if rng.random() < 0.3 else len(data) :]
            file = tagged("PNG", bytes(data))
            found = read(file).numpy()
            turned += found == 6
            assert found in (1, tag_of(file))
        assert 10 < turned < 140

    @pytest.mark.parametrize("name", OPTIONS)
    def test_noise(self, name):
        rng = np.random.default_rng(1)
        for start in (b"", b"Exif\0\0", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\xff\xff\xff\xff"):
            file = tagged(name, start + rng.bytes(200))
            assert decoding.shape(file).numpy().tolist() == [HEIGHT, WIDTH]

    def test_endless_segments_and_chunks(self):
        spec = tf.TensorSpec([], tf.string)
        of_jpeg, of_png = (
            tf.function(f, input_signature=[spec]) for f in (exif.of_jpeg, exif.of_png)
        )
        for chain in (b"\xff" * 10**6, b"\xff\xfe\0\2" * 10**5, bytes(10**6)):
            assert of_jpeg(b"\xff\xd8" + chain).numpy() == 1
        chain = (bytes(4) + b"none" + bytes(4)) * 10**5
        assert of_png(b"\x89PNG\r\n\x1a\n" + chain + b"eXIf").numpy() == 1
