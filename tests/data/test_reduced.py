"""Views and evaluation images of photographs, beside the whole image and its means of blocks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images
from support.numerics import assert_close
from support.photographs import FILES, blocks, photograph

import sogclr_tf
from sogclr_tf import Policy
from sogclr_tf.data import augment, reduced
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.files import decoding
from sogclr_tf.data.randomness import draws
from sogclr_tf.data.reduced import RATIOS, Reduced
from sogclr_tf.export.signatures import ServedModel

VIEW = Policy(size=24, min_area=0.3, jitter=0, grayscale=0)
TRACED = pytest.mark.slow(reason="an evaluation's images of files, traced")


class TestResized:
    @pytest.mark.parametrize("ratio", RATIOS)
    def test_edges_lie_between_pixels(self, ratio):
        """Of a slope, whose cubic interpolation is exact: the slope at the centers of the view."""
        rows, columns = np.arange(80), np.arange(72)
        centers = ((rows + 0.5) * ratio)[:, None] + 3 * ((columns + 0.5) * ratio)
        corner = np.array([-1, 5], np.int32)
        image = Reduced(tf.constant(centers[..., None], tf.float32), tf.constant(corner), ratio)
        start, sides = np.array([2, 9]) * ratio + [1, 6], np.array([61, 53]) * ratio - 3
        box = tf.constant([*start, *sides], tf.int32)
        got = reduced.resized(image, box, (20, 16))[..., 0].numpy()
        down, right = (
            (np.arange(n) + 0.5) * side / n + begin - first
            for n, side, begin, first in zip((20, 16), sides, start, corner, strict=True)
        )
        want = down[:, None] + 3 * right
        # Border pixels are made of those inside alone.
        assert_close(got[2:-2, 2:-2], want[2:-2, 2:-2], terms=64)

    def test_a_reduced_crop_has_its_size(self):
        pixels = tf.constant(load_sample_images().images[1])
        box = tf.constant([30, 50, 180, 240])
        image = Reduced(pixels, tf.constant([0, 0]), tf.constant(2))
        got = reduced.crop(image, box, (60, 80))
        want = np.clip(reduced.resized(image, box, (60, 80)), 0, 255)
        assert got.dtype == tf.uint8
        assert np.abs(got.numpy() - want).max() <= 0.5
        unreduced = reduced.crop(image._replace(ratio=tf.constant(1)), box, (60, 80))
        np.testing.assert_array_equal(unreduced, pixels[30:210, 50:290])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for place, options in enumerate([{}, {"progressive": True}, {"shown": 6}]):
        (folder / f"{place}.jpg").write_bytes(photograph(enlarged=2, **options))
    Image.open(folder / "0.jpg").save(folder / "3.png")
    return folder


@pytest.mark.slow(reason="training streams of files, traced")
class TestViews:
    def views(self, folder, policy, policy_b=None):
        views = sogclr_tf.training_views(folder, batch_size=4, policy=policy, policy_b=policy_b)
        batch = next(views.stream().as_numpy_iterator())
        order = np.argsort(batch["index"])
        return batch["view_a"][order], batch["view_b"][order], views

    def test_show_what_was_drawn(self, folder):
        """As of the means of the blocks of the whole image, of the same boxes."""
        *views, stream = self.views(folder, VIEW)
        rows = draws(0, tf.zeros([4], tf.int64), tf.range(4))
        for index, file in enumerate(sorted(folder.iterdir())):
            whole = decoding.decode(file.read_bytes())
            boxes = augment.crop_boxes(tf.repeat([whole.shape[:2]], 2, 0), rows[index], VIEW)
            ratio = (
                1
                if file.suffix == ".png"
                else int(reduced.ratio(whole.shape[:2], boxes, [(24, 24)] * 2))
            )
            assert ratio > 1 or file.suffix == ".png"
            corner = [0, -(-whole.shape[1] % ratio)] if index == 2 else [0, 0]
            means = blocks(np.pad(whole, [*((-a, 0) for a in corner), (0, 0)], "edge"), ratio)
            image = Reduced(tf.constant(means, tf.float32), tf.constant(corner), ratio)
            for place in range(2):
                want = np.clip(reduced.resized(image, boxes[place], (24, 24)), 0, 255)
                want = augment.finish(want[None], rows[index, place][None], VIEW, 255.0)[0] * 255
                distance = np.abs(views[place][index] - want)
                assert distance.mean() < 4, (index, place)

    def test_small_files_stay_to_the_bit(self, tmp_path):
        """As in ImageNet: no crop has twice the view's height and width."""
        (tmp_path / "0.jpg").write_bytes(FILES["4:2:0"])
        (tmp_path / "1.jpg").write_bytes(photograph(shown=6))
        policy = Policy(size=224, jitter=0, grayscale=0)
        stream = sogclr_tf.training_views(tmp_path, batch_size=2, policy=policy).stream()
        batch = next(stream.as_numpy_iterator())
        rows = draws(0, tf.zeros([2], tf.int64), batch["index"])
        for place, index in enumerate(batch["index"]):
            whole = decoding.decode((tmp_path / f"{index}.jpg").read_bytes())
            for view, key in enumerate(("view_a", "view_b")):
                want = augment.view(whole, rows[place, view], policy)
                np.testing.assert_array_equal(batch[key][place], want)

    def test_a_function_is_given_the_whole_image(self, folder):
        def corners(image, seed):
            del seed
            return tf.ensure_shape(image[:2, :2], [2, 2, 3])

        views = self.views(folder, corners, VIEW)[0]
        for view, file in zip(views, sorted(folder.iterdir()), strict=True):
            np.testing.assert_array_equal(view, decoding.decode(file.read_bytes())[:2, :2])


@pytest.mark.slow(reason="an evaluation's images of files, traced")
def test_evaluation_and_serving_see_the_same(folder):
    # An encoder whose features are the image.
    encoder = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    files = [file.read_bytes() for file in sorted(folder.iterdir())]
    serve = ServedModel(encoder, (32, 32, 3), image_size=32).signatures["serving_bytes"]
    served = serve(tf.constant(files))["features"].numpy().reshape(-1, 32, 32, 3)
    images, _ = evaluation_set(sogclr_tf.FolderSource(folder), 32)
    for place, image in enumerate(images.as_numpy_iterator()):
        assert_close(image, served[place], terms=4)
        whole = decoding.decode(files[place])
        want = augment.whole(whole, 32)
        if place < 3:
            found = decoding.decode_reduced(files[place], None, 8)
            middle = augment.middle(tf.constant(whole.shape[:2]), (32, 32))
            want = np.clip(reduced.resized(found, middle, (32, 32)) / 255, 0, 1)
        assert_close(image, want, terms=8)


@TRACED
def test_a_source_that_decodes_by_itself_is_asked(folder):
    """Not the decoder that it inherits, which could scale."""

    class Negative(sogclr_tf.FolderSource):
        def decode(self, image):
            return 255 - super().decode(image)

    images, _ = evaluation_set(Negative(folder), 32)
    for image, file in zip(images.as_numpy_iterator(), sorted(folder.iterdir()), strict=True):
        whole = augment.whole(255 - decoding.decode(file.read_bytes()), 32)
        assert_close(image, whole, terms=4)


@TRACED
def test_a_source_may_turn_it_off(folder):
    class Whole(sogclr_tf.FolderSource):
        reduces = False

    images, _ = evaluation_set(Whole(folder), 32)
    for image, file in zip(images.as_numpy_iterator(), sorted(folder.iterdir()), strict=True):
        assert_close(image, augment.whole(decoding.decode(file.read_bytes()), 32), terms=4)
