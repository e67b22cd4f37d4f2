"""Why an image cannot be decoded: in plain words, through every door that Python keeps."""

import io
import re
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.files import write_folder

import sogclr_tf
from sogclr_tf.data.sources.readable import clear_errors, readable


def encoded(name, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, name, **options)
    return buffer.getvalue()


def changed_jpeg(**parts):
    """A JPEG with another precision, or height and width, in its header."""
    file = bytearray(encoded("JPEG"))
    start = file.index(b"\xff\xc0")
    if "bits" in parts:
        file[start + 1], file[start + 4] = 0xC1, parts["bits"]
    if "size" in parts:
        file[start + 5 : start + 9] = struct.pack(">HH", *parts["size"])
    return bytes(file)


DAMAGED = "data is damaged or cut short"
BAD = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello", "no image: not one of JPEG, PNG, WebP, BMP, GIF"),
    "half a JPEG": (encoded("JPEG")[:500], f"its JPEG {DAMAGED}"),
    "start of a JPEG": (encoded("JPEG")[:100], f"its JPEG {DAMAGED}"),
    "JPEG of 12 bits": (changed_jpeg(bits=12), f"its JPEG {DAMAGED}, or .*12 bits"),
    "large": (changed_jpeg(size=(16000, 15000)), "image too large: .* 16000,? 15000"),
    "half a PNG": (encoded("PNG")[:200], f"its PNG {DAMAGED}"),
    "half a GIF": (encoded("GIF")[:1000], f"(its GIF {DAMAGED}|truncated GIF)"),
    "half a BMP": (encoded("BMP")[:500], f"its BMP {DAMAGED}"),
    "half a WebP": (encoded("WEBP")[:60], f"its WebP {DAMAGED}"),
    "animation": (
        encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (24, 24))]),
        "animated WebP cannot be read",
    ),
}


@pytest.fixture
def source(tmp_path, monkeypatch):
    """One image that can be decoded, and those of `BAD`."""
    monkeypatch.setenv("SOGCLR_TF_CACHE", str(tmp_path / "cache"))
    folder = write_folder(tmp_path / "images", np.zeros((1, 24, 24, 3), np.uint8))
    for place, (file, _) in enumerate(BAD.values()):
        (folder / f"{place + 1:05}.png").write_bytes(file)
    return sogclr_tf.FolderSource(folder)


def test_all_that_is_left_out_says_why(source):
    skipped = readable(source).skipped
    assert [*skipped] == [*range(1, len(BAD) + 1)]
    for why, (_, expected) in zip(skipped.values(), BAD.values(), strict=True):
        assert re.match(expected, why), why


@pytest.mark.slow(reason="a pipeline traced for each kind of damage")
@pytest.mark.parametrize("place", range(len(BAD)), ids=BAD)
def test_pipelines_say_why(source, place):
    _, expected = BAD[[*BAD][place]]
    images = tf.data.Dataset.from_tensors(tf.io.read_file(source.locate(place + 1)))
    images = images.map(source.decode)
    message = f"one of the images from number 0 on cannot be decoded: {expected}"
    with pytest.raises(ValueError, match=message) as error:
        sogclr_tf.extract_features(tf.identity, images)
    assert "\n" not in str(error.value)


def test_the_file_is_named_where_its_source_is_known(source):
    with (
        pytest.raises(ValueError, match=r"00001\.png \(index 1\) cannot be decoded: the file is"),
        clear_errors(source),
    ):
        sogclr_tf.extract_features(tf.identity, source.images_and_labels()[0])


def test_an_error_of_something_else_stays():
    images = tf.data.Dataset.from_tensors(np.zeros((4, 4, 3), np.float32))
    images = images.map(lambda image: tf.debugging.check_numerics(image / 0.0, "a png of mine"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="a png of mine"):
        sogclr_tf.extract_features(tf.identity, images)
