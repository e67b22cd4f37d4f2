"""Decoding: every format to the pixels that Pillow reads, nothing broken and nothing huge."""

import functools
import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from sogclr_tf.data.files import decoding

HEIGHT, WIDTH = 61, 90


@functools.cache
def photo(height=HEIGHT, width=WIDTH):
    return Image.fromarray(load_sample_images().images[0][100 : 100 + height, 200 : 200 + width])


def encoded(image, name, **options):
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


def with_alpha(image):
    alpha = np.random.default_rng(0).integers(1, 256, image.size[::-1], dtype=np.uint8)
    return Image.fromarray(np.dstack([np.array(image), alpha]))


PALETTE = photo().convert("P", palette=Image.Palette.ADAPTIVE)


def smaller_frame():
    """A GIF whose only frame lies inside of a larger screen."""
    data = bytearray(encoded(PALETTE, "GIF"))
    data[6:10] = struct.pack("<HH", 200, 150)
    place = data.index(b"," + struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT))
    data[place + 1 : place + 5] = struct.pack("<HH", 40, 30)
    return bytes(data)


TURNED = photo().rotate(180)
SIXTEEN = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH), dtype=np.uint16)
EXACT = {
    "png": (encoded(photo(), "PNG"), photo()),
    "png gray": (encoded(photo().convert("L"), "PNG"), photo().convert("L")),
    "png gray and alpha": (encoded(photo().convert("LA"), "PNG"), photo().convert("L")),
    "png alpha": (encoded(with_alpha(photo()), "PNG"), photo()),
    "png palette": (encoded(PALETTE, "PNG"), PALETTE),
    "png palette, transparent": (encoded(PALETTE, "PNG", transparency=3), PALETTE),
    "png black and white": (encoded(photo().convert("1"), "PNG"), photo().convert("1")),
    "png 16": (
        encoded(Image.fromarray(SIXTEEN), "PNG"),
        Image.fromarray((SIXTEEN >> 8).astype(np.uint8)),
    ),
    "webp lossless": (encoded(photo(), "WEBP", lossless=True), photo()),
    "webp lossless alpha": (encoded(with_alpha(photo()), "WEBP", lossless=True), photo()),
    "webp with metadata": (encoded(photo(), "WEBP", lossless=True, exif=b"Exif\0\0x"), photo()),
    "bmp": (encoded(photo(), "BMP"), photo()),
    "bmp gray": (encoded(photo().convert("L"), "BMP"), photo().convert("L")),
    "bmp palette": (encoded(PALETTE, "BMP"), PALETTE),
    "bmp alpha": (encoded(with_alpha(photo()), "BMP"), photo()),
    "gif": (encoded(PALETTE, "GIF"), PALETTE),
    "gif with a comment": (encoded(PALETTE, "GIF", comment=b"c" * 700), PALETTE),
    "gif animated": (
        encoded(PALETTE, "GIF", save_all=True, append_images=[TURNED, photo()], loop=0),
        PALETTE,
    ),
    "gif in a larger screen": (smaller_frame(), PALETTE),
}
LOSSY = {
    "jpeg": encoded(photo(), "JPEG"),
    "jpeg 4:2:2": encoded(photo(), "JPEG", subsampling=1),
    "jpeg 4:4:4": encoded(photo(), "JPEG", subsampling=0),
    "jpeg 4:1:1": encoded(photo(), "JPEG", subsampling="4:1:1"),
    "jpeg progressive": encoded(photo(), "JPEG", progressive=True),
    "jpeg gray": encoded(photo().convert("L"), "JPEG"),
    "jpeg cmyk": encoded(photo().convert("CMYK"), "JPEG"),
    "jpeg with a tail": encoded(photo(), "JPEG") + b"made by a camera",
    "webp": encoded(photo(), "WEBP"),
    "webp alpha": encoded(with_alpha(photo()), "WEBP"),
}
FILES = {name: file for name, (file, _) in EXACT.items()} | LOSSY


def bomb(width, height):
    """A PNG of a few bytes whose header claims any size."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def claims(file, width, height):
    """The file with another size in its header."""
    data = bytearray(file)
    if file[:2] == b"BM":
        data[18:26] = struct.pack("<ii", width, height)
    elif file[:3] == b"GIF":
        place = data.index(b"," + struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT))
        data[place + 5 : place + 9] = struct.pack("<HH", width, height)
    elif file[:2] == b"\xff\xd8":
        place = data.index(struct.pack(">HH", HEIGHT, WIDTH))
        data[place : place + 4] = struct.pack(">HH", height, width)
    else:
        data[26:30] = struct.pack("<HH", width, height)
    return bytes(data)


def corner(file):
    return decoding.decode_crop(file, [0, 0, 2, 2])


@functools.cache
def traced(function):
    return tf.function(function, input_signature=[tf.TensorSpec([], tf.string)])


@functools.cache
def traced_crop():
    specs = [tf.TensorSpec([], tf.string), tf.TensorSpec([4], tf.int32)]
    return tf.function(decoding.decode_crop, input_signature=specs)


READ = {
    "decode": decoding.decode,
    "crop": corner,
    "decode, traced": lambda file: traced(decoding.decode)(file),
    "crop, traced": lambda file: traced(corner)(file),
}


@pytest.fixture(params=READ)
def read(request):
    """Each way to read the pixels of a file."""
    return READ[request.param]


class TestDecode:
    @pytest.mark.parametrize("name", EXACT)
    def test_lossless_files_to_the_bit(self, name):
        file, image = EXACT[name]
        got = decoding.decode(file)
        assert got.dtype == tf.uint8
        np.testing.assert_array_equal(got, np.array(image.convert("RGB")))

    @pytest.mark.parametrize("name", LOSSY)
    def test_lossy_files_nearly(self, name):
        """Pillow's decoders may round differently."""
        got = decoding.decode(LOSSY[name]).numpy()
        want = np.array(Image.open(io.BytesIO(LOSSY[name])).convert("RGB"))
        assert got.shape == want.shape
        assert np.abs(got.astype(int) - want).mean() < 1

    @pytest.mark.slow(reason="every decoder is traced")
    def test_all_formats_in_one_pipeline(self):
        files = tf.data.Dataset.from_tensor_slices(list(FILES.values()))
        got = files.map(decoding.decode, num_parallel_calls=4)
        assert got.element_spec == tf.TensorSpec([None, None, 3], tf.uint8)
        for pixels, file in zip(got, FILES.values(), strict=True):
            np.testing.assert_array_equal(pixels, decoding.decode(file))

    @pytest.mark.parametrize("name", FILES)
    def test_shape_without_decoding(self, name):
        got = decoding.shape(FILES[name])
        assert got.dtype == tf.int32
        assert got.numpy().tolist() == [HEIGHT, WIDTH]

    @pytest.mark.parametrize("size", [(1, 1), (1, 7), (300, 2)])
    @pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
    def test_small_and_narrow_images(self, name, size):
        file = encoded(photo(*size), name)
        assert decoding.shape(file).numpy().tolist() == list(size)
        assert decoding.decode(file).shape == (*size, 3)


class TestCrop:
    @pytest.mark.parametrize("name", FILES)
    def test_equals_a_part_of_the_whole(self, name):
        whole = decoding.decode(FILES[name]).numpy()
        rng = np.random.default_rng(0)
        for most in (8, HEIGHT):
            for _ in range(15):
                height, width = rng.integers(1, most + 1, 2)
                top = rng.integers(0, HEIGHT - height + 1)
                left = rng.integers(0, WIDTH - width + 1)
                got = traced_crop()(FILES[name], [top, left, height, width])
                np.testing.assert_array_equal(got, whole[top : top + height, left : left + width])

    @pytest.mark.parametrize("size", [(1, 1), (3, 2), (300, 3)])
    def test_whole_small_images(self, size):
        file = encoded(photo(*size), "JPEG")
        np.testing.assert_array_equal(
            decoding.decode_crop(file, [0, 0, *size]), decoding.decode(file)
        )

    @pytest.mark.parametrize("name", ["jpeg", "jpeg with a tail", "png"])
    @pytest.mark.parametrize("box", [(0, 0, 10, WIDTH + 1), (HEIGHT, 0, 1, 1), (-1, 0, 5, 5)])
    def test_a_box_outside_of_the_image(self, name, box):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoding.decode_crop(FILES[name], box)


class TestBadFiles:
    @pytest.mark.parametrize(
        "file",
        [b"", b"\xff", b"no image at all", b"<svg></svg>", b"\0" * 100, b"RIFF1234WAVE"],
        ids=range(6),
    )
    def test_no_image(self, read, file):
        why = "(?s)no image: .*JPEG, PNG" if file else "the file is empty: no image"
        with pytest.raises(tf.errors.InvalidArgumentError, match=why):
            read(file)

    @pytest.mark.parametrize("name", ["jpeg", "jpeg progressive", "png", "webp", "bmp", "gif"])
    @pytest.mark.parametrize("kept", [0.999, 0.9, 0.5, 0.1, 20, 12, 4])
    def test_truncated(self, read, name, kept):
        file = FILES[name]
        length = kept if kept > 1 else min(int(kept * len(file)), len(file) - 2)
        with pytest.raises(tf.errors.InvalidArgumentError):
            read(file[:length])

    def test_damaged_header(self, read):
        for file in (bomb(0, 5), bomb(5, 2**31 + 5)):
            with pytest.raises(tf.errors.InvalidArgumentError, match="damaged header"):
                read(file)

    def test_damaged_pixels(self, read):
        file = bytearray(FILES["png"])
        file[len(file) // 2] ^= 1
        with pytest.raises(tf.errors.InvalidArgumentError, match="PNG"):
            read(bytes(file))

    def test_animated_webp(self, read):
        """Which TensorFlow's decoder would crash on."""
        file = encoded(photo(), "WEBP", save_all=True, append_images=[TURNED])
        with pytest.raises(tf.errors.InvalidArgumentError, match="animated WebP cannot be read"):
            read(file)

    def test_kinds_of_bmp(self, read):
        file = encoded(photo().convert("1"), "BMP")
        with pytest.raises(tf.errors.InvalidArgumentError, match="not of 8, 24 or 32 bits"):
            read(file)


class TestLimit:
    def test_an_image_bomb_is_not_decoded(self, read):
        """7.5 GB, if it were: its pixels are missing, which decoding would tell instead."""
        with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)image too large"):
            read(bomb(50_000, 50_000))

    @pytest.mark.parametrize("name", ["jpeg", "webp", "bmp", "gif"])
    def test_every_format(self, name):
        """Within what the format can tell."""
        file = claims(FILES[name], 16_000, 15_000)
        assert decoding.shape(file).numpy().tolist() == [15_000, 16_000]
        with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)image too large"):
            decoding.decode(file)

    @pytest.mark.parametrize("name", ["jpeg", "png", "webp", "bmp", "gif"])
    def test_the_limit_is_the_callers(self, name):
        assert decoding.decode(FILES[name], max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)image too large"):
            decoding.decode(FILES[name], max_pixels=HEIGHT * WIDTH - 1)
        with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)image too large"):
            decoding.decode_crop(FILES[name], [0, 0, 1, 1], max_pixels=HEIGHT * WIDTH - 1)
