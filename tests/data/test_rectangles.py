"""Views and evaluation images that are no squares, beside a reference in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder, write_shards
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import Policy
from sogclr_tf.data import augment, image_text
from sogclr_tf.data.evaluation_images import evaluation_sample, evaluation_set
from sogclr_tf.data.files import decoding
from sogclr_tf.data.randomness import GEOMETRY, draws

N, SEED = 8, 5
TRACED = pytest.mark.slow(reason="the same code on another source, traced anew")
WIDE = Policy(size=(8, 20), jitter=0, grayscale=0)
TALL = Policy(size=(15, 6), min_area=0.3, max_aspect=1.5, jitter=0, grayscale=0)


def images(height=30, width=52):
    """Smooth ones with some noise, as of a camera."""
    random = np.random.default_rng(0)
    coarse = tf.image.resize(random.random((N, 5, 7, 3)), [height, width], "bicubic")
    noisy = 255 * coarse.numpy() + random.normal(0, 4, coarse.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def of_files(folder, suffix):
    """The source of a folder, and what its files hold."""
    write_folder(folder, images(), suffix=suffix)
    files = sorted(folder.glob(f"*{suffix}"))
    return sogclr_tf.FolderSource(folder), [decoding.decode(file.read_bytes()) for file in files]


def of_cifar(folder):
    source = sogclr_tf.TfdsSource("cifar10", f"test[:{N}]", folder)
    by_index = {int(x["index"]): source.pixels(x) for x in source.examples()}
    return source, [by_index[index] for index in range(N)]


MAKE = {
    "array": lambda _: (sogclr_tf.ArraySource(images()), images()),
    "floats": lambda _: (sogclr_tf.ArraySource(images() / 255), images()),
    "large array": lambda _: (sogclr_tf.ArraySource(images(260, 280)), images(260, 280)),
    "dataset": lambda _: (
        sogclr_tf.DatasetSource(tf.data.Dataset.from_tensor_slices(images())),
        images(),
    ),
    "jpeg": lambda folder: of_files(folder, ".jpg"),
    "png": lambda folder: of_files(folder, ".png"),
    "tfrecords": lambda folder: (
        sogclr_tf.TFRecordSource(write_shards(folder, images(), np.zeros(N))),
        images(),
    ),
}


@pytest.fixture(
    params=[
        "array",
        *(pytest.param(name, marks=TRACED) for name in [*MAKE, "tfds"] if name != "array"),
    ]
)
def collection(request, tmp_path):
    """(source, its images in the order of their indices)."""
    if request.param == "tfds":
        return of_cifar(request.getfixturevalue("data_dir"))
    return MAKE[request.param](tmp_path)


def box_of(shape, row, policy):
    """(top, left, height, width) by what `Policy` says, in float64."""
    row = row.astype(np.float64)
    shape = np.array(shape)
    view_height, view_width = policy.image_size
    drawn = []
    for area, place in zip(row[GEOMETRY["area"]], row[GEOMETRY["aspect"]], strict=True):
        aspect = view_width / view_height * policy.max_aspect ** (2 * place - 1)
        pixels = (policy.min_area + (1 - policy.min_area) * area) * math.prod(shape)
        drawn.append(np.round([math.sqrt(pixels / aspect), math.sqrt(pixels * aspect)]))
    fitting = [sides for sides in drawn if (sides <= shape).all()]
    sides = fitting[0] if fitting else np.clip(drawn[0], 1, shape)
    corner = np.floor(row[[GEOMETRY["top"], GEOMETRY["left"]]] * (shape - sides + 1))
    return np.concatenate([corner, sides]).astype(int)


def weights_of(old, new):
    """Keys' cubic interpolation along an axis: float64 [new, old].

    What lies outside is left out, and offsets are whole 1024ths of a pixel, as TensorFlow has them.
    """
    weights = np.zeros((new, old))
    for place in range(new):
        center = (place + 0.5) * old / new - 0.5
        begin = math.floor(center)
        offset = round((center - begin) * 1024) / 1024
        for neighbor in range(begin - 1, begin + 3):
            x = abs(neighbor - begin - offset)
            near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
            if 0 <= neighbor < old:
                weights[place, neighbor] = near if x <= 1 else far
    return weights / weights.sum(axis=1, keepdims=True)


def resized(image, size):
    """In 0..255."""
    rows, columns = (weights_of(*pair) for pair in zip(image.shape[:2], size, strict=True))
    pixels = np.einsum("ih,jw,hwc->ijc", rows, columns, np.asarray(image, np.float64))
    return np.clip(pixels, 0, 255)


def view_of(image, row, policy):
    image = np.asarray(image)
    top, left, height, width = box_of(image.shape[:2], row, policy)
    view = resized(image[top : top + height, left : left + width], policy.image_size)
    return view[:, ::-1] if row[GEOMETRY["flip"]] < policy.flip else view


@pytest.mark.parametrize("policy_b", [WIDE, pytest.param(TALL, marks=TRACED)])
def test_views_are_the_boxes_resized(collection, policy_b):
    source, pictures = collection
    options = {"batch_size": N, "policy": WIDE, "policy_b": policy_b, "seed": SEED}
    stream = sogclr_tf.training_views(source, **options).stream()
    for key, policy in (("view_a", WIDE), ("view_b", policy_b)):
        assert stream.element_spec[key].shape == (N, *policy.size, 3)
    batch = next(stream.as_numpy_iterator())
    assert sorted(batch["index"]) == list(range(N))
    rows = draws(SEED, tf.zeros([N], tf.int64), batch["index"]).numpy()
    for place, index in enumerate(batch["index"]):
        for view, (key, policy) in enumerate((("view_a", WIDE), ("view_b", policy_b))):
            want = view_of(pictures[index], rows[place, view], policy)
            got = batch[key][place]
            if got.dtype == np.uint8:
                # To the nearest of 256 steps.
                assert np.abs(got - want).max() < 0.5 + 1e-3
            else:
                assert_close(got, want / 255, terms=64)


@pytest.mark.parametrize("shape", [(30, 52), (52, 30), (8, 20), (16, 40), (3, 200), (1, 1)])
@pytest.mark.parametrize("size", [(8, 20), (20, 8), (7, 7)])
def test_evaluation_shows_the_largest_part_in_the_middle(shape, size):
    image = images(*shape)[0]
    aspect = size[1] / size[0]
    height, width = min(shape[0], shape[1] / aspect), min(shape[1], shape[0] * aspect)
    # Halves go up; a side is a pixel at least.
    height, width = (max(1, math.floor(side + 0.5)) for side in (height, width))
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    want = resized(image[top : top + height, left : left + width], size) / 255
    assert_close(augment.whole(image, size), want, terms=8)


def test_evaluation_of_huge_images():
    """The product of a side and a size needs more than 32 bits."""
    box = augment.middle(tf.constant([4, 30_000_000]), (96, 224)).numpy()
    assert box.tolist() == [0, (30_000_000 - 9) // 2, 4, 9]


@pytest.mark.slow(reason="decoding traced twice")
def test_evaluation_images_of_a_source(tmp_path):
    """Those of JPEG files whose proportions are the size's are the whole files."""
    source, pictures = of_files(tmp_path, ".jpg")
    for found in (evaluation_set(source, (15, 26)), evaluation_sample(source, (15, 26), N)):
        got = sorted(image.tobytes() for image in found[0].as_numpy_iterator())
        want = [augment.whole(picture, (15, 26)).numpy() for picture in pictures]
        assert got == sorted(image.tobytes() for image in want)
        assert_close(want[0], resized(np.asarray(pictures[0]), (15, 26)) / 255, terms=8)


def test_evaluation_images_of_no_size():
    source = sogclr_tf.ArraySource(images())
    for function, options in ((evaluation_set, ()), (evaluation_sample, (N,))):
        with pytest.raises(ValueError, match=r"^size is \(0, 5\): expected a whole number.*\)$"):
            function(source, (0, 5), *options)


def test_streams_of_one_view():
    source = sogclr_tf.ArraySource(images(), np.zeros(N, int), texts=["a"] * N)
    policy = sogclr_tf.crops_and_flips((8, 20), min_area=0.2, flip=0)
    assert policy == Policy((8, 20), min_area=0.2, flip=0, jitter=0, grayscale=0)
    labeled = sogclr_tf.labeled_views(source, 4, policy)
    pairs = sogclr_tf.training_pairs(source, batch_size=4, policy=image_text.mild((8, 20)))
    for stream in (labeled, pairs):
        assert stream.stream().element_spec["image"].shape == (4, 8, 20, 3)


def test_an_encoder_of_another_size_names_both_ways_out():
    views = sogclr_tf.training_views(images(), batch_size=4)
    encoder = sogclr_tf.small_resnet(widths=(4,), input_shape=(30, 52, 3))
    model = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(N))
    model.compile("sgd")
    with pytest.raises(
        ValueError, match=r"input_shape=\(30, 30, 3\), or make views with size=\(30, 52\)$"
    ):
        model.fit(views, verbose=0)


class TestSquares:
    """Squares as before there were rectangles, but for the rounding of crops to 8 bits."""

    POLICY = Policy(8, jitter=0.9, grayscale=0.4, blur=0.5, solarize=0.4)

    @pytest.mark.parametrize("kind", ["array", pytest.param("png", marks=TRACED)])
    @pytest.mark.parametrize("size", [8, pytest.param((8, 8), marks=TRACED)])
    def test_views(self, golden, tmp_path, kind, size):
        stored = golden("square_views")
        pictures = stored["images"]
        source = pictures if kind == "array" else write_folder(tmp_path, pictures)
        policy = Policy(**{**vars(self.POLICY), "size": size})
        views = sogclr_tf.training_views(source, batch_size=N, policy=policy, seed=3)
        batch = next(views.stream(1).as_numpy_iterator())
        np.testing.assert_array_equal(batch["index"], stored["order"])
        for key in ("view_a", "view_b"):
            off = np.abs(batch[key][np.argsort(batch["index"])].astype(int) - stored[key])
            # Another processor may round the last bit of a float the other way.
            assert off.max() <= 1
            assert (off > 0).mean() < 0.01

    def test_boxes(self, golden):
        stored = golden("square_views")
        rows = draws(3, tf.ones([N], tf.int64), tf.range(N, dtype=tf.int64))
        shapes = [stored["images"].shape[1:3]] * N
        for view in (0, 1):
            boxes = augment.crop_boxes(shapes, rows[:, view], self.POLICY)
            np.testing.assert_array_equal(boxes, stored["boxes"][:, view])

    def test_evaluation(self, golden):
        stored = golden("square_views")
        for size in (7, (7, 7)):
            found, _ = evaluation_set(sogclr_tf.ArraySource(stored["images"]), size)
            assert_close(list(found.as_numpy_iterator()), stored["whole"], terms=4)
